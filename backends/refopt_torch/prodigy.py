"""Prodigy: Adam on gradients times d, an estimate of the distance from the start to a solution, from below.

    rate = d * lr, or corrected for the moments' start at zero
    r = sqrt(beta2) * r + rate * d/d0 * <g, w0 - w>
    s = sqrt(beta2) * s + rate * d/d0 * g
    w = w - rate * m / (sqrt(v) + d * eps),  and d is at least d_coef * r / |s|_1

The products and magnitudes are added over the whole model, in float64. d and r are numbers of the host, which reads the
two totals at each step: it waits for the device there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, STATE, Axes, Port, decayed_gradient, element_slots
from refopt_torch.host import divide, in_turns, on_host
from refopt_torch.pairs import add_squares_, once, sizes


def prodigy_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    sums: Callable[[list[Tensor]], Tensor],
    t: int,
    axes: Axes,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    d0: float,
    d_coef: float,
    wd: float,
) -> Generator[Tensor, Tensor, None]:
    m, v, s = slots["m"], slots["v"], slots["s"]
    d = d0 if t == 1 else slots["d"]
    beta3 = math.sqrt(beta2)
    rate = d * lr
    if axes["bias"] == "rate":
        rate *= math.sqrt(1 - beta2**t) / (1 - beta1**t)
    share = rate * d / d0

    g = decayed_gradient(axes, g, w, wd)
    torch._foreach_mul_(m, beta1)
    torch._foreach_add_(m, g, alpha=(1 - beta1) * d)
    torch._foreach_mul_(v, in_turns(beta2, t, v[0].dtype))
    add_squares_(axes, v, g, (1 - beta2) * d * d)
    torch._foreach_mul_(s, beta3)
    torch._foreach_add_(s, g, alpha=d * d / d0 if axes["summed_by"] == "d" else share)

    way = torch._foreach_mul(g, torch._foreach_sub(slots["w0"], w))
    back = on_host((yield sums(list(way)).sum()))
    length = on_host((yield sums(once(axes, sizes(axes, s))).sum()))
    r = beta3 * slots["r"] + share * back
    estimate = divide(d_coef * r, length)
    if length == 0 and axes["no_gradient"] == "waits":
        estimate, rate = d, 0.0
    spreads = math.isnan(estimate) and axes["nan"] == "spreads"
    new_d = estimate if spreads else max(d, estimate)  # of d and a NaN, Python's max is d

    if axes["decay"] == "decoupled":
        torch._foreach_add_(w, w, alpha=-rate * wd)
    divisor = torch._foreach_sqrt(v)
    torch._foreach_add_(divisor, eps * (new_d if axes["eps_d"] == "new" else d))
    torch._foreach_addcdiv_(w, m, divisor, value=-rate)
    slots["d"], slots["r"] = new_d, r


PRODIGY = Port(
    choices={
        "decay": ("none", "l2", "decoupled"),
        "bias": ("none", "rate"),
        "summed_by": ("rate", "d"),
        "eps_d": ("old", "new"),
        "nan": ("spreads", "stays"),
        "no_gradient": ("nan", "waits"),
        **STATE,
        **COMPLEX,
    },
    slots=lambda axes: {**element_slots("m", "v", "s")(axes), "w0": "params", "d": 0.0, "r": 0.0},
    update=prodigy_,
    takes_totals=True,
)
