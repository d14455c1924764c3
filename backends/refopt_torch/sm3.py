"""SM3: w = w - lr*m, with m a running average of g/sqrt(v), and v the least accumulator of an element plus g**2.

The accumulators of a tensor lie in one flat tensor, dimension after dimension: those of its rows, of its columns, and
so on. They are the largest v of each row, of each column; a tensor without dimensions has one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import STATE, Axes, Port
from refopt_torch.host import in_turns


def sm3_(
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
) -> None:
    m, bounds = slots["m"], slots["b"]
    square = torch._foreach_mul(g, g)
    if axes["accumulators"] == "gradients":
        torch._foreach_add_(bounds, [_largest(x) for x in square])
        v = [_least(a, x) for a, x in zip(bounds, g, strict=True)]
    else:
        v = [_least(a, x) for a, x in zip(bounds, g, strict=True)]
        if axes["squares"] != "summed":
            torch._foreach_mul_(v, beta2)
            torch._foreach_mul_(square, 1 - beta2)
        torch._foreach_add_(v, square)
        new = [_largest(x) for x in v]
        if axes["squares"] == "averaged_kept":  # those of tensors that have dimensions
            new = [torch.maximum(a, b) if x.ndim else b for a, b, x in zip(bounds, new, g, strict=True)]
        torch._foreach_copy_(bounds, new)

    if axes["zero"] == "zero":
        u = [torch.where(x == 0, 0, y) for x, y in zip(v, torch._foreach_div(g, torch._foreach_sqrt(v)), strict=True)]
    else:
        root = torch._foreach_sqrt(torch._foreach_add(v, eps))
        u = list(torch._foreach_div(g, root))
        if axes["zero"] == "eps_positive":  # not zero where the gradient is no number
            u = [torch.where(x > 0, y, z * 0) for x, y, z in zip(v, u, g, strict=True)]
    torch._foreach_mul_(m, in_turns(beta1, t, m[0].dtype))
    torch._foreach_add_(m, u, alpha=1 - beta1)
    torch._foreach_add_(w, m, alpha=-lr)


def _least(a: Tensor, x: Tensor) -> Tensor:
    """For each element of x, the least of the accumulators of its row, its column, and so on."""
    if x.ndim == 0:
        return a[0].clone()
    if x.numel() == 0:
        return torch.zeros_like(x)
    first, *others = [
        part.view([-1 if k == dim else 1 for k in range(x.ndim)]) for dim, part in enumerate(a.split(list(x.shape)))
    ]
    least = first.expand(x.shape).clone()
    for other in others:
        least = torch.minimum(least, other)
    return least


def _largest(x: Tensor) -> Tensor:
    """The largest element of each row, each column, and so on; of none, zero."""
    if x.ndim == 0:
        return x.reshape(1).clone()
    if x.numel() == 0:
        return x.new_zeros(sum(x.shape))
    others = [[k for k in range(x.ndim) if k != dim] for dim in range(x.ndim)]
    return torch.cat([x.amax(dim=dims) if dims else x for dims in others])


SM3 = Port(
    choices={
        "accumulators": ("elements", "gradients"),
        "squares": ("summed", "averaged", "averaged_kept"),
        "zero": ("zero", "eps", "eps_positive"),
        **STATE,
    },
    slots=lambda axes: {"m": "zeros", "b": "zeros of dimensions"},
    update=sm3_,
)
