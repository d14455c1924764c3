"""LARS: each tensor's step is scaled by trust = tc*|w| / (|g| + wd*|w|), u = mu*u + lr*trust*(g + wd*w), w = w - u.

Norms are `vector_norm(dtype=float64)`: every element is widened before it is squared, so that a norm is good to a few
units of float64 whatever the dtype. (Of a tensor of one element the CPU takes the absolute value, which neither
overflows nor underflows where the root of the square does: beyond 1e154 and below 1e-162.) Of a sharded tensor the
processes add up the squares of what each has.

Trust ratios are a float64 vector on the device, one element per tensor, and are rounded once to the dtype of the tensor
that they scale. The host reads none of them, so that nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import NESTEROV, STATE, Axes, Port, element_slots, ride_, split_rate, times


def lars_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    norms: Callable[[list[Tensor]], Tensor],
    t: int,
    axes: Axes,
    lr: float,
    mu: float,
    wd: float,
    tc: float,
    eps: float,
) -> None:
    u = slots["u"]
    entering, leaving = split_rate(axes, lr)
    p = list(torch._foreach_add(g, w, alpha=wd))

    if axes["trust_of"] == "velocity":
        direction = ride_(axes, u, times(p, entering), t=t, mu=mu)
        trust, _ = trust_ratios(axes, norms(w), norms(u), lr=lr, wd=wd, tc=tc, eps=eps)
        torch._foreach_sub_(w, scaled(axes, times(direction, leaving), trust, 1.0, w))
        return

    measured = p if axes["denominator"] == "joint" else g
    trust, zero = trust_ratios(axes, norms(w), norms(measured), lr=lr, wd=wd, tc=tc, eps=eps)
    if axes["zero_norm"] == "raw_no_decay":
        decays = torch.where(zero, torch.zeros_like(trust), wd).to(p[0].dtype)
        p = list(torch._foreach_add(g, torch._foreach_mul(w, decays.unbind())))
    direction = ride_(axes, u, scaled(axes, p, trust, entering, w), t=t, mu=mu)
    torch._foreach_add_(w, direction, alpha=-leaving)


def trust_ratios(
    axes: Axes, w_norm: Tensor, g_norm: Tensor, *, lr: float, wd: float, tc: float, eps: float
) -> tuple[Tensor, Tensor]:
    """The trust of each tensor, and where one of its norms is zero."""
    d = g_norm if axes["denominator"] == "joint" else g_norm + wd * w_norm
    if axes["eps_at"] == "denominator":
        d = d + eps
    ratio = tc * w_norm / d
    if axes["clip"] == "min":
        ratio = (ratio / lr).clamp(max=1)
    zero = (w_norm == 0) | (g_norm == 0)
    if axes["when"] == "decay" and wd == 0:
        return torch.ones_like(ratio), zero
    if axes["zero_norm"] == "max":
        return torch.where(zero, ratio.clamp(min=1), ratio), zero
    return torch.where(d == 0 if axes["zero_norm"] == "denominator_only" else zero, 1.0, ratio), zero


def scaled(axes: Axes, x: list[Tensor], trust: Tensor, rate: float, w: list[Tensor]) -> list[Tensor]:
    """rate * trust * x, tensor by tensor; `when="matrices"` trusts every w of fewer than two dimensions."""
    factors = list((rate * trust).to(x[0].dtype).unbind())
    if axes["when"] == "matrices":
        trusted = torch.full_like(factors[0], rate)
        factors = [trusted if tensor.ndim < 2 else factor for tensor, factor in zip(w, factors, strict=True)]
    return list(torch._foreach_mul(x, factors))


LARS = Port(
    choices={
        "denominator": ("split", "joint"),
        "eps_at": ("none", "denominator"),
        "clip": ("no", "min"),
        "zero_norm": ("one", "max", "raw_no_decay", "denominator_only"),
        "when": ("always", "decay", "matrices"),
        "trust_of": ("gradient", "velocity"),
        "lr_at": ("inside", "outside"),
        **NESTEROV,
        **STATE,
    },
    slots=element_slots("u"),
    update=lars_,
    takes_norms=True,
)
