"""Adagrad: v sums the squares of the gradients, w = w - lr * g / (sqrt(v) + eps)."""

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
from refopt_torch.pairs import add_squares_


def adagrad_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    eps: float,
    start: float,
    lr_decay: float,
    wd: float,
) -> None:
    v = slots["v"]
    g = decayed_gradient(axes, g, w, wd)
    if t == 1 and axes["init"] == "value":
        for x in v:
            x.fill_(start)
    add_squares_(axes, v, g, 1.0)
    d = list(torch._foreach_add(v, eps if axes["eps_at"] == "inside" else 0.0))
    torch._foreach_sqrt_(d)
    if axes["eps_at"] == "outside":
        torch._foreach_add_(d, eps)
    if axes["zero_sum"] == "no_step":
        torch._foreach_reciprocal_(d)
        step = [x * torch.where(total > 0, scale, 0.0) for x, total, scale in zip(g, v, d, strict=True)]
    else:
        step = list(torch._foreach_div(g, d))
    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_add_(w, step, alpha=-lr / (1 + (t - 1) * lr_decay) if axes["rate"] == "falling" else -lr)
    decay_after_(axes, w, lr=lr, wd=wd)


ADAGRAD = Port(
    choices={
        "decay": DECAY,
        "init": ("zeros", "value"),
        "eps_at": ("outside", "inside", "none"),
        "zero_sum": ("divides", "no_step"),
        "rate": ("constant", "falling"),
        **STATE,
        **COMPLEX,
    },
    slots=element_slots("v"),
    update=adagrad_,
)
