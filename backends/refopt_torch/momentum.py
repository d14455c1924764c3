"""Gradient descent with momentum: u = mu*u + g, w = w - lr*u."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import (
    DECAY,
    NESTEROV,
    STATE,
    Axes,
    Port,
    decay_after_,
    decay_before_,
    decayed_gradient,
    element_slots,
    ride_,
    split_rate,
    times,
)


def momentum_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    mu: float,
    dampening: float,
    wd: float,
) -> None:
    entering, leaving = split_rate(axes, lr)
    g = times(decayed_gradient(axes, g, w, wd), entering)
    scale = {"one": 1.0, "dampening": 1 - dampening, "ema": 1 - mu}[axes["gradient_scale"]]
    direction = ride_(axes, slots["u"], g, t=t, mu=mu, scale=scale)
    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_add_(w, direction, alpha=-leaving)
    decay_after_(axes, w, lr=lr, wd=wd)


MOMENTUM = Port(
    choices={
        "decay": DECAY,
        "gradient_scale": ("one", "dampening", "ema"),
        "lr_at": ("outside", "inside"),
        "first_step": ("zeros", "copy_gradient"),
        **NESTEROV,
        **STATE,
    },
    slots=element_slots("u"),
    update=momentum_,
)
