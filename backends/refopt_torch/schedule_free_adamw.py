"""Schedule-free AdamW: `schedule_free`, whose gradient is divided by sqrt(v) + eps, v averaging g*g."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, STATE, Axes, Port
from refopt_torch.host import in_turns
from refopt_torch.pairs import add_squares_
from refopt_torch.schedule_free import WEIGHT, average, mix_, numbers, share_


def schedule_free_adamw_(
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
    power: float,
    r: float,
    lr_next: float,
    wd: float,
) -> None:
    v, x, z = slots["v"], slots["x"], slots["z"]
    torch._foreach_mul_(v, in_turns(beta2, t, v[0].dtype))
    add_squares_(axes, v, g, 1 - beta2)

    c2 = 1 - beta2**t
    in_rate = axes["bias"] == "rate"
    rate = lr * math.sqrt(c2) if in_rate else lr
    d = torch._foreach_sqrt(v if in_rate else torch._foreach_div(v, c2))
    torch._foreach_add_(d, eps)
    u = list(torch._foreach_div(g, d))

    if axes["decay"] == "at_x":
        torch._foreach_add_(x, w, alpha=-lr * wd / beta1)
    else:
        torch._foreach_add_(u, z if axes["decay"] == "at_z" else w, alpha=wd)
    torch._foreach_add_(z, u, alpha=-rate)
    mix_(w, slots, share_(axes, slots, rate=rate, t=t, power=power, r=r, lr_next=lr_next), beta1)


SCHEDULE_FREE_ADAMW = Port(
    choices={"decay": ("at_y", "at_z", "at_x"), "bias": ("rate", "v"), **WEIGHT, **STATE, **COMPLEX},
    slots=lambda axes: {"v": "zeros", "x": "params", "z": "params", **numbers(axes)},
    update=schedule_free_adamw_,
    average=average,
)
