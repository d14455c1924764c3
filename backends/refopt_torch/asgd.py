"""ASGD: gradient descent at a rate that falls, lr / (1 + lambd*lr*t)**alpha, and the mean of the parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import STATE, Axes, Port, decayed_gradient


def asgd_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    lambd: float,
    alpha: float,
    t0: float,
    wd: float,
) -> None:
    def rate(step: int) -> float:
        return lr / (1 + lambd * lr * step) ** alpha

    if axes["rate"] == "kept":  # made when the step before ended
        eta = lr if t == 1 else slots["eta_next"]
        slots["eta_next"] = rate(t)
    else:
        eta = rate(t if axes["rate"] == "from_1" else t - 1)
    averaged = (t if axes["mean"] == "all" else t - 1) - t0
    g = decayed_gradient(axes, g, w, wd)
    if axes["mean_of"] == "before":
        average_(slots["ax"], w, averaged)
    if axes["lambd_at"] == "both":
        torch._foreach_mul_(w, 1 - lambd * eta)
    torch._foreach_add_(w, g, alpha=-eta)
    if axes["mean_of"] == "after":
        average_(slots["ax"], w, averaged)


def average_(mean: list[Tensor], w: list[Tensor], steps: float) -> None:
    """The mean goes on to that of so many steps; of one or fewer, it is w."""
    if steps <= 1:
        torch._foreach_copy_(mean, w)
    else:
        torch._foreach_add_(mean, torch._foreach_sub(w, mean), alpha=1 / steps)


def average(slots: dict[str, Any], **unread: Any) -> list[Tensor]:
    """The mean, as new tensors."""
    return [mean.clone() for mean in slots["ax"]]


def slots(axes: Axes) -> dict[str, str | float]:
    return {"ax": "zeros"} | ({"eta_next": 0.0} if axes["rate"] == "kept" else {})


ASGD = Port(
    choices={
        "decay": ("none", "l2"),
        "lambd_at": ("rate", "both"),
        "rate": ("from_1", "from_0", "kept"),
        "mean": ("all", "but_one"),
        "mean_of": ("after", "before"),
        **STATE,
    },
    slots=slots,
    update=asgd_,
    average=average,
)
