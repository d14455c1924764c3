"""Schedule-free SGD: z = z - lr*(g + wd*w), x averages z, and w = (1 - beta1)*z + beta1*x, where gradients are taken.

The sum of the weights, and the largest rate so far, are Python floats: one of each for the whole model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import STATE, Axes, Port

WEIGHT = {"weight": ("lr", "lr_max", "lr_next", "lr_max_t", "equal", "equal_steps")}


def schedule_free_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    beta1: float,
    power: float,
    r: float,
    lr_next: float,
    wd: float,
) -> None:
    u = torch._foreach_add(g, slots["z"] if axes["decay"] == "at_z" else w, alpha=wd)
    torch._foreach_add_(slots["z"], list(u), alpha=-lr)
    mix_(w, slots, share_(axes, slots, rate=lr, t=t, power=power, r=r, lr_next=lr_next), beta1)


def share_(axes: Axes, slots: dict[str, Any], *, rate: float, t: int, power: float, r: float, lr_next: float) -> float:
    """The share of the new iterate in the average. Its weight joins the sum of the weights."""
    choice = axes["weight"]
    if choice in ("equal", "equal_steps"):
        return 1 / (t + 1 if choice == "equal" else t)
    if choice == "lr":
        weight = rate * rate
    else:
        slots["lr_max"] = max(slots["lr_max"], lr_next if choice == "lr_next" else rate)
        largest = slots["lr_max"] ** power
        weight = t**r * largest if choice == "lr_max_t" else largest
    slots["s"] += weight
    return weight / slots["s"] if slots["s"] else 0.0


def mix_(w: list[Tensor], slots: dict[str, Any], share: float, beta1: float) -> None:
    """The average takes its share of the iterate; w goes to where the next gradient is taken."""
    x, z = slots["x"], slots["z"]
    # Not lerp_: x + share * (z - x) is NaN where x and z are the same infinity.
    torch._foreach_mul_(x, 1 - share)
    torch._foreach_add_(x, z, alpha=share)
    torch._foreach_copy_(w, torch._foreach_add(torch._foreach_mul(z, 1 - beta1), x, alpha=beta1))


def numbers(axes: Axes) -> dict[str, float]:
    """The slots that are one number."""
    if axes["weight"] in ("equal", "equal_steps"):
        return {}
    return {"s": 0.0} if axes["weight"] == "lr" else {"s": 0.0, "lr_max": 0.0}


def average(slots: dict[str, Any], **unread: Any) -> list[Tensor]:
    """What to evaluate with, in new tensors."""
    return [x.clone() for x in slots["x"]]


SCHEDULE_FREE = Port(
    choices={"decay": ("at_y", "at_z"), **WEIGHT, **STATE},
    slots=lambda axes: {"x": "params", "z": "params", **numbers(axes)},
    update=schedule_free_,
    average=average,
)
