"""Lion: w = w - lr*sign(c), c being the momentum moved beta1 of the way; the momentum itself moves with beta2."""

from __future__ import annotations

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
from refopt_torch.host import in_turns
from refopt_torch.pairs import directions


def lion_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    beta1: float,
    beta2: float,
    wd: float,
) -> None:
    m = slots["m"]
    g = decayed_gradient(axes, g, w, wd)
    step = list(torch._foreach_mul(m, beta1))
    torch._foreach_add_(step, g, alpha=1 - beta1)
    if axes["direction"] == "clipped":
        torch._foreach_clamp_max_(step, 1)
        torch._foreach_clamp_min_(step, -1)
    elif axes["direction"] == "sign_nan_zero":
        torch._foreach_sign_(step)  # of either zero 0.0, of NaN too
    else:
        step = directions(axes, step)
    # Not lerp_: m + (1 - beta2)*(g - m) is NaN where m and g are the same infinity.
    torch._foreach_mul_(m, in_turns(beta2, t, m[0].dtype))
    torch._foreach_add_(m, g, alpha=1 - beta2)

    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_add_(w, step, alpha=-lr)
    decay_after_(axes, w, lr=lr, wd=wd)


LION = Port(
    choices={"decay": DECAY, "direction": ("sign", "sign_nan_zero", "clipped"), **STATE, **COMPLEX},
    slots=element_slots("m"),
    update=lion_,
)
