"""NovoGrad: m = beta1*m + g/(sqrt(v) + eps) + wd*w, with v a running average of |g|**2, one number for each tensor.

What is one number for the tensor is computed in float64, for all tensors at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import STATE, Axes, Port, times
from refopt_torch.host import divide, in_turns


def novograd_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    norms: Callable[[list[Tensor]], Tensor],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    eps_root: float,
    wd: float,
) -> None:
    m, dtype = slots["m"], w[0].dtype
    square = norms(g) ** 2
    old = torch.stack(slots["v"]).to(torch.float64)
    v = beta2 * old + (1 - beta2) * square
    if axes["first_norm"] == "first" and t == 1:
        v = square
    elif axes["first_norm"] == "when_zero":
        v = torch.where(old == 0, square, v)
    torch._foreach_copy_(slots["v"], list(v.to(dtype).unbind()))

    c1, c2 = (1 - beta1**t, 1 - beta2**t) if axes["bias"] == "both" else (1.0, 1.0)
    root = torch.sqrt(v / c2 + (eps_root if axes["eps_at"] == "both" else 0.0)) + eps
    d = list(root.to(dtype).unbind())
    enters = 1 - beta1 if axes["gradient_scale"] == "ema" else 1.0
    if axes["normalized"] == "gradient":
        g = list(torch._foreach_add(torch._foreach_div(g, d), w, alpha=wd))
    torch._foreach_mul_(m, in_turns(beta1, t, dtype))
    torch._foreach_add_(m, times(g, enters))
    if axes["normalized"] == "gradient":
        torch._foreach_add_(w, m, alpha=-divide(lr, c1))
        return
    step = list(torch._foreach_div(m, d))
    torch._foreach_mul_(step, divide(lr, c1))
    torch._foreach_add_(step, w, alpha=lr * wd)
    torch._foreach_sub_(w, step)


NOVOGRAD = Port(
    choices={
        "first_norm": ("first", "when_zero", "zeros"),
        "eps_at": ("outside", "both"),
        "normalized": ("gradient", "moment"),
        "gradient_scale": ("one", "ema"),
        "bias": ("none", "both"),
        **STATE,
    },
    slots=lambda axes: {"m": "zeros", "v": "zero"},
    update=novograd_,
    takes_norms=True,
)
