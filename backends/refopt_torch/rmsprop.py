"""RMSprop: v averages the squares of the gradients, w = w - lr * g / (sqrt(v) + eps)."""

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
    ride_,
    split_rate,
    times,
)
from refopt_torch.host import divide, in_turns
from refopt_torch.pairs import add_squares_


def rmsprop_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    rho: float,
    eps: float,
    start: float,
    mu: float,
    wd: float,
) -> None:
    v = slots["v"]
    g = decayed_gradient(axes, g, w, wd)
    if t == 1 and axes["init"] != "zeros":
        for x in v:
            x.fill_(1.0 if axes["init"] == "ones" else start)
    decaying = in_turns(rho, t, v[0].dtype)
    torch._foreach_mul_(v, decaying)
    add_squares_(axes, v, g, 1 - rho)
    if axes["centered"] == "yes":
        m = slots["m"]
        torch._foreach_mul_(m, decaying)
        torch._foreach_add_(m, g, alpha=1 - rho)
        d = [x.clone() for x in v]
        add_squares_(axes, d, m, -1.0)
    else:
        d = list(torch._foreach_mul(v, divide(1.0, 1 - rho**t) if axes["bias"] == "corrected" else 1.0))
    if axes["eps_at"] == "inside":
        torch._foreach_add_(d, eps)
    torch._foreach_sqrt_(d)
    if axes["eps_at"] == "outside":
        torch._foreach_add_(d, eps)

    entering, leaving = split_rate(axes, lr)
    step = times(list(torch._foreach_div(g, d)), entering)
    if axes["velocity"] != "none":
        step = ride_({"nesterov": "yes" if axes["velocity"] == "nesterov" else "no"}, slots["u"], step, t=t, mu=mu)
    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_add_(w, step, alpha=-leaving)
    decay_after_(axes, w, lr=lr, wd=wd)


def slots(axes: Axes) -> dict[str, str | float]:
    found: dict[str, str | float] = {"v": "zeros"}
    found |= {"m": "zeros"} if axes["centered"] == "yes" else {}
    return found | ({} if axes["velocity"] == "none" else {"u": "zeros"})


RMSPROP = Port(
    choices={
        "decay": DECAY,
        "init": ("zeros", "ones", "value"),
        "eps_at": ("outside", "inside"),
        "centered": ("no", "yes"),
        "bias": ("none", "corrected"),
        "velocity": ("none", "heavy_ball", "nesterov"),
        "lr_at": ("outside", "inside"),
        **STATE,
        **COMPLEX,
    },
    slots=slots,
    update=rmsprop_,
)
