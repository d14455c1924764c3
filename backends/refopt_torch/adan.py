"""Adan: m, v and n average the gradient, its change y, and (g + beta2*y)**2; w = w - lr*(m + beta2*v)/sqrt(n + eps).

The averages start from the first gradient and the first change; or from zero, for which they are then corrected.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, STATE, Axes, Port, decay_before_, element_slots
from refopt_torch.host import divide, in_turns
from refopt_torch.pairs import add_squares_, squares


def adan_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    beta1: float,
    beta2: float,
    beta3: float,
    eps: float,
    eps_root: float,
    wd: float,
) -> None:
    m, v, n, before = (slots[name] for name in "mvnp")
    weight = beta2 if axes["difference"] == "beta2" else 1 - beta2
    if t == 1 and axes["first_difference"] == "zero":
        torch._foreach_copy_(before, g)
    change = list(torch._foreach_sub(g, before))
    ahead = list(torch._foreach_add(g, change, alpha=weight))
    torch._foreach_copy_(before, g)

    copies = axes["start"] == "first_gradient"
    average_(m, g, beta1, t, copies=copies and t == 1)
    average_(v, change, beta2, t, copies=copies and t <= 2)
    square_(axes, n, ahead, beta3, t, copies=copies and t == 1)

    c1, c2, c3 = (1 - beta**t if axes["start"] == "corrected" else 1.0 for beta in (beta1, beta2, beta3))
    step = list(torch._foreach_div(m, c1))
    torch._foreach_add_(step, v, alpha=divide(weight, c2))
    d = denominator(axes, list(torch._foreach_div(n, c3)), eps=eps, eps_root=eps_root)

    if axes["decay"] == "decoupled":
        decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_addcdiv_(w, step, d, value=-lr)
    if axes["decay"] == "proximal":
        torch._foreach_div_(w, 1 + lr * wd)


def average_(kept: list[Tensor], x: list[Tensor], beta: float, t: int, *, copies: bool) -> None:
    """Move an average towards x, or start it there."""
    if copies:
        torch._foreach_copy_(kept, x)
        return
    # Not lerp_: kept + (1 - beta)*(x - kept) is NaN where both are the same infinity.
    torch._foreach_mul_(kept, in_turns(beta, t, kept[0].dtype))
    torch._foreach_add_(kept, x, alpha=1 - beta)


def square_(axes: Axes, kept: list[Tensor], x: list[Tensor], beta: float, t: int, *, copies: bool) -> None:
    """Move an average towards x*x (or |x|**2), or start it there."""
    if copies:
        torch._foreach_copy_(kept, squares(axes, x))
        return
    torch._foreach_mul_(kept, in_turns(beta, t, kept[0].dtype))
    add_squares_(axes, kept, x, 1 - beta)


def denominator(axes: Axes, d: list[Tensor], *, eps: float, eps_root: float) -> list[Tensor]:
    """What divides the step, made in place of the squares."""
    inside, outside = {"inside": (eps, 0.0), "outside": (0.0, eps), "both": (eps_root, eps)}[axes["eps_at"]]
    if inside:  # adding a zero to a square, or to its root, changes nothing
        torch._foreach_add_(d, inside)
    torch._foreach_sqrt_(d)
    if outside:
        torch._foreach_add_(d, outside)
    return d


ADAN = Port(
    choices={
        "eps_at": ("inside", "outside", "both"),
        "start": ("first_gradient", "corrected", "zeros"),
        "difference": ("beta2", "one_minus_beta2"),
        "first_difference": ("zero", "gradient"),
        "decay": ("none", "proximal", "decoupled"),
        **STATE,
        **COMPLEX,
    },
    slots=element_slots("m", "v", "n", "p"),
    update=adan_,
)
