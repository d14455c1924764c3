"""AdaBelief: m averages the gradient, s the square of its deviation from m, w = w - lr * m_hat / (sqrt(s_hat) + eps).

The step is one addcdiv. As in Adam only the power of two of its rate multiplies it; the rest divides the denominator.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, DECAY, STATE, Axes, Port, decay_after_, decay_before_, decayed_gradient
from refopt_torch.host import divide, in_turns, split_power
from refopt_torch.pairs import add_squares_


def adabelief_(
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
    wd: float,
) -> None:
    m, s = slots["m"], slots["s"]
    g = decayed_gradient(axes, g, w, wd)
    r = list(torch._foreach_sub(g, m))  # of this, beta1 is left once m has the gradient in it
    torch._foreach_mul_(m, in_turns(beta1, t, m[0].dtype))
    torch._foreach_add_(m, g, alpha=1 - beta1)
    left = beta1 if axes["belief"] == "new" else 1.0
    torch._foreach_mul_(s, in_turns(beta2, t, s[0].dtype))
    add_squares_(axes, s, r, (1 - beta2) * left**2)
    kept = {"kept": eps, "kept_root": eps_root}.get(axes["eps_in"], 0.0)
    if kept:
        torch._foreach_add_(s, kept)
    if axes["amsgrad"] == "raw":
        s = slots["s_max"]
        torch._foreach_maximum_(s, slots["s"])

    c1, c2 = (1 - beta1**t, 1 - beta2**t) if axes["bias"] == "both" else (1.0, 1.0)
    scale = None if axes["rectified"] == "no" else rectification(beta2, t)
    decay_before_(axes, w, lr=lr, wd=wd)
    if scale is not None or axes["rectified"] == "no":
        power, rest = split_power(divide(lr * (1.0 if scale is None else scale), c1))
        d = list(torch._foreach_div(s, c2 * rest**2))
        if axes["eps_in"] == "used" and eps:
            torch._foreach_add_(d, divide(eps, c2 * rest**2))
        torch._foreach_sqrt_(d)
        outside = eps if axes["eps_out"] == "hat" else divide(eps, math.sqrt(c2))
        if outside:
            torch._foreach_add_(d, outside / rest)
        torch._foreach_addcdiv_(w, direction(axes, m, g, beta1=beta1, t=t), d, value=-power)
    elif axes["rectified"] == "plain":
        torch._foreach_add_(w, m, alpha=-divide(lr, c1))
    decay_after_(axes, w, lr=lr, wd=wd)


def rectification(beta2: float, t: int) -> float | None:
    """What the step is multiplied with, or None while the average is too short for its variance to be trusted."""
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * beta2**t / (1 - beta2**t)
    if length < 5:
        return None
    return math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))


def direction(axes: Axes, m: list[Tensor], g: list[Tensor], *, beta1: float, t: int) -> list[Tensor]:
    """The first moment, or that of a next step with the same gradient: both are yet to be divided by 1 - beta1**t."""
    if axes["nesterov"] == "no":
        return m
    ahead = beta1 * (1 - beta1**t) / (1 - beta1 ** (t + 1))
    return list(torch._foreach_add(torch._foreach_mul(m, ahead), g, alpha=1 - beta1))


def slots(axes: Axes) -> dict[str, str | float]:
    found: dict[str, str | float] = {"m": "zeros", "s": "zeros"}
    return found | ({"s_max": "zeros"} if axes["amsgrad"] == "raw" else {})


ADABELIEF = Port(
    choices={
        "decay": DECAY,
        "eps_in": ("kept", "kept_root", "used", "none"),
        "eps_out": ("hat", "raw"),
        "rectified": ("no", "plain", "skip"),
        "belief": ("new", "old"),
        "bias": ("both", "none"),
        "nesterov": ("no", "yes"),
        "amsgrad": ("no", "raw"),
        **STATE,
        **COMPLEX,
    },
    slots=slots,
    update=adabelief_,
)
