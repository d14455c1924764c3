"""LAMB: Adam's direction with the decay, u = m_hat / (sqrt(v_hat) + eps) + wd*w, scaled by lr * |w| / |u|.

Norms, trust ratios and the norm of the model are float64 on the device, as in `lars`: the host reads none of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, STATE, Axes, Port, decay_before_, decayed_gradient, element_slots, times
from refopt_torch.host import divide, in_turns, two_parts
from refopt_torch.pairs import add_squares_


def lamb_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    norms: Callable[[list[Tensor]], Tensor],
    sums: Callable[[list[Tensor]], Tensor],
    t: int,
    axes: Axes,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    eps_root: float,
    max_norm: float,
    wd: float,
) -> Generator[Tensor, Tensor, None]:
    m, v = slots["m"], slots["v"]
    if axes["grad_clip"] != "no":
        n = (yield (norms(g) ** 2).sum()).sqrt()
        over, below = (n / max_norm).clamp(min=1), (max_norm / (n + eps)).clamp(max=1)
        factor = 1 / over if axes["grad_clip"] == "max" else below
        g = list(torch._foreach_mul(g, factor.to(g[0].dtype)))
    g = decayed_gradient(axes, g, w, wd)
    carry_(m, beta1, times(g, 1 - beta1 if axes["grad_averaging"] == "yes" else 1.0))
    torch._foreach_mul_(v, in_turns(beta2, t, v[0].dtype))
    add_squares_(axes, v, g, 1 - beta2)

    c1, c2 = 1 - beta1**t, 1 - beta2**t
    rate = {"rate": divide(lr * math.sqrt(c2), c1), "rate_m": divide(lr, c1)}.get(axes["bias"], lr)
    u = direction(m, v, *((c1, c2) if axes["bias"] == "both" else (1.0, 1.0)), eps=eps, eps_root=eps_root, axes=axes)
    if axes["decay"] == "inside":
        torch._foreach_add_(u, w, alpha=wd)
    decay_before_(axes, w, lr=lr, wd=wd)

    factors = rate * trust_ratios(axes, norms(w), norms(u), eps=eps, wd=wd)
    torch._foreach_mul_(u, list(factors.to(u[0].dtype).unbind()))
    torch._foreach_sub_(w, u)


def carry_(m: list[Tensor], beta: float, arriving: list[Tensor]) -> None:
    """m becomes beta*m + arriving, beta in two parts: what little is left where these cancel still makes a step.

    (Not `in_turns`: of a tensor of small weights, the trust makes steps of moments as small.)
    """
    head, rest = two_parts(beta, m[0].dtype)
    if rest:
        arriving = list(torch._foreach_add(arriving, m, alpha=rest))
    torch._foreach_copy_(m, torch._foreach_add(arriving, m, alpha=head))


def direction(
    m: list[Tensor], v: list[Tensor], c1: float, c2: float, *, eps: float, eps_root: float, axes: Axes
) -> list[Tensor]:
    """m/c1 / (sqrt(v/c2) + eps), in new tensors."""
    d = torch._foreach_div(v, c2)
    if axes["eps_at"] == "both":
        torch._foreach_add_(d, eps_root)
    torch._foreach_sqrt_(d)
    torch._foreach_add_(d, eps)
    u = list(torch._foreach_div(m, c1))
    torch._foreach_div_(u, d)
    return u


def trust_ratios(axes: Axes, w_norm: Tensor, u_norm: Tensor, *, eps: float, wd: float) -> Tensor:
    """How much longer each parameter is than its direction; 1 where one of them is zero."""
    if axes["when"] == "decay" and wd == 0:
        return torch.ones_like(w_norm)
    if axes["clamp"] == "ten":
        w_norm = w_norm.clamp(max=10)
    ratio = w_norm / (u_norm + eps if axes["ratio_eps"] == "yes" else u_norm)
    if axes["clip"] == "one":
        ratio = ratio.clamp(max=1)
    if axes["zero_norm"] == "positive":  # 1 of NaN too
        return torch.where((w_norm > 0) & (u_norm > 0), ratio, 1.0)
    return torch.where((w_norm == 0) | (u_norm == 0), 1.0, ratio)


LAMB = Port(
    choices={
        "grad_clip": ("no", "max", "min"),
        "decay": ("inside", "l2", "decoupled"),
        "bias": ("both", "none", "rate", "rate_m"),
        "grad_averaging": ("yes", "no"),
        "eps_at": ("outside_hat", "both"),
        "clamp": ("no", "ten"),
        "ratio_eps": ("no", "yes"),
        "clip": ("no", "one"),
        "zero_norm": ("one", "positive"),
        "when": ("always", "decay"),
        **STATE,
        **COMPLEX,
    },
    slots=element_slots("m", "v"),
    update=lamb_,
    takes_norms=True,
    takes_totals=True,
)
