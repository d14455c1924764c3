"""Adadelta: v and s are mean squares of gradients and of steps, h = sqrt(s + eps)/sqrt(v + eps) * g, w = w - lr*h."""

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
    split_rate,
    times,
)
from refopt_torch.host import in_turns
from refopt_torch.pairs import add_squares_


def adadelta_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    rho: float,
    eps: float,
    wd: float,
) -> None:
    v, s = slots["v"], slots["s"]
    entering, leaving = split_rate(axes, lr)
    g = decayed_gradient(axes, g, w, wd)
    average_square_(axes, v, g, rho, t)
    h = root_mean_square(axes, s, eps)
    torch._foreach_div_(h, root_mean_square(axes, v, eps))
    torch._foreach_mul_(h, g)
    h = times(h, entering)
    average_square_(axes, s, h, rho, t)

    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_add_(w, h, alpha=-leaving)
    decay_after_(axes, w, lr=lr, wd=wd)


def average_square_(axes: Axes, average: list[Tensor], x: list[Tensor], rho: float, t: int) -> None:
    torch._foreach_mul_(average, in_turns(rho, t, average[0].dtype))
    add_squares_(axes, average, x, 1 - rho)


def root_mean_square(axes: Axes, mean_square: list[Tensor], eps: float) -> list[Tensor]:
    """A new list, with epsilon inside or outside the root."""
    if axes["eps_at"] == "outside":
        root = list(torch._foreach_sqrt(mean_square))
        torch._foreach_add_(root, eps)
        return root
    root = list(torch._foreach_add(mean_square, eps))
    torch._foreach_sqrt_(root)
    return root


ADADELTA = Port(
    choices={
        "decay": DECAY,
        "eps_at": ("inside", "outside"),
        "lr_at": ("outside", "inside"),
        **STATE,
        **COMPLEX,
    },
    slots=element_slots("v", "s"),
    update=adadelta_,
)
