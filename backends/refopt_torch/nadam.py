"""Nadam: Adam whose step looks ahead. It is made of the moment as the next step will weigh it, and of the gradient.

Each of the two has its own correction: one minus the product of the momenta up to the next step, and up to this one.
On the host both are folded into what the moment and the gradient are multiplied with; one addcdiv then makes the step.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, DECAY, STATE, Axes, Port, decay_after_, decay_before_, decayed_gradient
from refopt_torch.host import in_turns
from refopt_torch.pairs import add_squares_


def nadam_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    eps_root: float,
    psi: float,
    wd: float,
) -> None:
    m, v = slots["m"], slots["v"]
    g = decayed_gradient(axes, g, w, wd)
    mu, mu_next = (momentum(axes, step, beta1=beta1, psi=psi) for step in (t, t + 1))
    decay = beta1 if axes["m_decay"] == "beta1" else mu
    torch._foreach_mul_(m, in_turns(decay, t, m[0].dtype))
    torch._foreach_add_(m, g, alpha=1 - decay)
    torch._foreach_mul_(v, in_turns(beta2, t, v[0].dtype))
    add_squares_(axes, v, g, 1 - beta2)

    c1, c1_next = corrections(axes, slots, t, mu, mu_next)
    step = torch._foreach_mul(m, mu_next / c1_next)
    torch._foreach_add_(step, g, alpha=(1 - mu) / c1)

    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_addcdiv_(w, step, denominator(axes, v, t, beta2=beta2, eps=eps, eps_root=eps_root), value=-lr)
    decay_after_(axes, w, lr=lr, wd=wd)


def momentum(axes: Axes, t: int, *, beta1: float, psi: float) -> float:
    """The momentum of step t: beta1, or on its way to it from half of that."""
    if axes["schedule"] == "constant":
        return beta1
    return beta1 * (1 - 0.5 * 0.96 ** (t * psi if axes["schedule"] == "warm_up" else t))


def corrections(axes: Axes, slots: dict[str, Any], t: int, mu: float, mu_next: float) -> tuple[float, float]:
    """What the gradient and the moment are divided by; the product that is kept moves on."""
    if axes["schedule"] == "constant":
        now, following = 1 - mu**t, 1 - mu ** (t + 1)
    else:
        slots["p"] *= mu
        now, following = 1 - slots["p"], 1 - slots["p"] * mu_next
    return now, now if axes["m_correction"] == "same" else following


def denominator(axes: Axes, v: list[Tensor], t: int, *, beta2: float, eps: float, eps_root: float) -> list[Tensor]:
    """The root of the corrected second moment, and epsilon: new tensors."""
    c2 = 1 - beta2**t
    inside, outside = {
        "outside_hat": (0.0, eps),
        "outside_raw": (0.0, eps / math.sqrt(c2)),
        "inside_hat": (eps, 0.0),
        "both": (eps_root, eps),
    }[axes["eps_at"]]
    d = torch._foreach_mul(v, (beta2 if axes["v_scale"] == "beta2" else 1) / c2)
    if inside:  # adding a zero to a square, or to its root, changes nothing
        torch._foreach_add_(d, inside)
    torch._foreach_sqrt_(d)
    if outside:
        torch._foreach_add_(d, outside)
    return list(d)


NADAM = Port(
    choices={
        "decay": DECAY,
        "schedule": ("warm_up", "fast_warm_up", "constant"),
        "m_decay": ("momentum", "beta1"),
        "m_correction": ("next", "same"),
        "v_scale": ("beta2", "one"),
        "eps_at": ("outside_hat", "outside_raw", "inside_hat", "both"),
        **STATE,
        **COMPLEX,
    },
    slots=lambda axes: {"m": "zeros", "v": "zeros"} | ({} if axes["schedule"] == "constant" else {"p": 1.0}),
    update=nadam_,
)
