"""Gradient descent with momentum: u = mu*u + g, w = w - lr*u."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import (
    DECAY,
    FIRST_STEP,
    NESTEROV,
    Axes,
    Port,
    accumulate_,
    decay_after_,
    decay_before_,
    decayed_gradient,
    element_slots,
    look_ahead,
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
    dampening: float = 0.0,
    wd: float = 0.0,
) -> None:
    inside = axes["lr_at"] == "inside"
    g = decayed_gradient(axes, g, w, wd)
    if inside:  # the velocity accumulates steps, not gradients
        g = list(torch._foreach_mul(g, lr))
    scale = {"one": 1.0, "dampening": 1 - dampening, "ema": 1 - mu}[axes["gradient_scale"]]
    accumulate_(axes, slots["u"], g, t=t, mu=mu, scale=scale)
    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_add_(w, look_ahead(axes, g, slots["u"], mu), alpha=-1.0 if inside else -lr)
    decay_after_(axes, w, lr=lr, wd=wd)


MOMENTUM = Port(
    choices={
        "decay": DECAY,
        "gradient_scale": ("one", "dampening", "ema"),
        "lr_at": ("outside", "inside"),
        "first_step": FIRST_STEP,
        "nesterov": NESTEROV,
    },
    slots=element_slots("u"),
    update=momentum_,
)
