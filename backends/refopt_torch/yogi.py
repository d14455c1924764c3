"""Yogi: m averages the gradient, v moves towards its square by a share of it; w = w - lr * m / (sqrt(v) + eps).

The step is one addcdiv. As in Adam only the power of two of its rate multiplies it; the rest divides the denominator.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import (
    COMPLEX,
    DECAY,
    STATE,
    Axes,
    Port,
    decay_after_,
    decay_before_,
    decayed_gradient,
    element_slots,
)
from refopt_torch.host import divide, in_turns, split_power
from refopt_torch.pairs import squares

FIXED = 1e-6  # what both moments start from, where that is no number of the user's


def yogi_(
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
    start: float,
    wd: float,
) -> None:
    m, v = slots["m"], slots["v"]
    g = decayed_gradient(axes, g, w, wd)
    square = squares(axes, g)
    if t == 1:
        begin_(axes, m, v, square, start)
    torch._foreach_mul_(m, in_turns(beta1, t, m[0].dtype))
    torch._foreach_add_(m, g, alpha=1 - beta1)
    # The sign of NaN is 0 here, but then v or the square is NaN or infinite, and 0 times either is NaN too.
    away = list(torch._foreach_sub(v, square))
    torch._foreach_sign_(away)
    torch._foreach_mul_(away, square)
    torch._foreach_add_(v, away, alpha=-(1 - beta2))

    c1 = 1 - beta1**t if axes["bias"] == "both" else 1.0
    c2 = 1.0 if axes["bias"] == "none" else 1 - beta2**t
    power, rest = split_power(divide(lr, c1))
    d = list(torch._foreach_div(v, c2 * rest**2))
    if axes["eps_at"] == "both" and eps_root:
        torch._foreach_add_(d, eps_root / rest**2)
    torch._foreach_sqrt_(d)
    outside = divide(eps, math.sqrt(c2)) if axes["eps_at"] == "outside_raw" else eps
    if outside:
        torch._foreach_add_(d, outside / rest)

    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_addcdiv_(w, m, d, value=-power)
    decay_after_(axes, w, lr=lr, wd=wd)


def begin_(axes: Axes, m: list[Tensor], v: list[Tensor], square: list[Tensor], start: float) -> None:
    """What the moments are before the first step."""
    if axes["starts_at"] == "gradient":
        torch._foreach_copy_(v, square)
    for slot in {"v": v, "both": [*m, *v], "fixed": [*m, *v]}.get(axes["starts_at"], []):
        slot.fill_(FIXED if axes["starts_at"] == "fixed" else start)
    if axes["complex"] == "modulus":  # a real number has no imaginary part
        for slot in m:
            slot[..., 1].zero_()


YOGI = Port(
    choices={
        "decay": DECAY,
        "starts_at": ("zero", "v", "both", "fixed", "gradient"),
        "eps_at": ("outside", "outside_raw", "both"),
        "bias": ("none", "both", "v_only"),
        **STATE,
        **COMPLEX,
    },
    slots=element_slots("m", "v"),
    update=yogi_,
)
