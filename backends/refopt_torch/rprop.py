"""Rprop: steps of a size that each element has for itself, against the sign of the gradient.

A size grows where the gradient keeps its sign, and shrinks where it changes it. The rate is what sizes start from.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, STATE, Axes, Port


def rprop_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    eta_minus: float,
    eta_plus: float,
    s_min: float,
    s_max: float,
) -> None:
    s, late = slots["s"], axes["moment"] == "late"
    if t == 1:
        for size in s:
            size.fill_(lr)
    if axes["nan"] == "ignored":
        g = [x.masked_fill(x.isnan(), 0) for x in g]
    direction = signs(g)
    agreement = torch._foreach_mul(signs(slots["d" if late else "g_old"]), direction)
    changed = [x < 0 for x in agreement]
    resize_(axes, s, list(agreement), eta_minus=eta_minus, eta_plus=eta_plus, s_min=s_min, s_max=s_max)
    step = list(torch._foreach_mul(s, direction))
    if not late:
        torch._foreach_copy_(slots["g_old"], g)
    if axes["sign_change"] == "back":
        last = torch._foreach_neg(slots["d"])
        step = [torch.where(*three) for three in zip(changed, last, step, strict=True)]
        torch._foreach_copy_(slots["d"], step)
    elif axes["sign_change"] == "rest":
        forget_(step, changed)
    if late:
        forget_(slots["d"], changed)  # what was due now
        torch._foreach_sub_(w, slots["d"])
        torch._foreach_copy_(slots["d"], step)
        return
    torch._foreach_sub_(w, step)
    if axes["sign_change"] != "on":
        forget_(slots["g_old"], changed)


def resize_(
    axes: Axes,
    s: list[Tensor],
    agreement: list[Tensor],
    *,
    eta_minus: float,
    eta_plus: float,
    s_min: float,
    s_max: float,
) -> None:
    """New step sizes. Those of elements without a gradient, now or before, stay as they are."""
    apart, always = axes["bounds"] == "apart", axes["bounds"] == "always"
    grown, shrunk = list(torch._foreach_mul(s, eta_plus)), list(torch._foreach_mul(s, eta_minus))
    if not always:
        torch._foreach_clamp_max_(grown if apart else bounded_below_(grown, s_min), s_max)
        bounded_below_(shrunk, s_min)
        if not apart:
            torch._foreach_clamp_max_(shrunk, s_max)
    for size, sign, more, less in zip(s, agreement, grown, shrunk, strict=True):
        size.copy_(torch.where(sign > 0, more, torch.where(sign < 0, less, size)))
    if always:
        torch._foreach_clamp_max_(bounded_below_(s, s_min), s_max)


def bounded_below_(sizes: list[Tensor], least: float) -> list[Tensor]:
    torch._foreach_clamp_min_(sizes, least)
    return sizes


def signs(x: list[Tensor]) -> list[Tensor]:
    """-1, 0 or 1, and of NaN NaN, where torch.sign has 0."""
    return [torch.where(one.isnan(), one, sign) for one, sign in zip(x, torch._foreach_sign(x), strict=True)]


def forget_(x: list[Tensor], where: list[Tensor]) -> None:
    """Zero there."""
    for tensor, mask in zip(x, where, strict=True):
        tensor.masked_fill_(mask, 0)


def slots(axes: Axes) -> dict[str, str | float]:
    if axes["moment"] == "late":
        return {"s": "zeros", "d": "zeros"}
    found: dict[str, str | float] = {"s": "zeros", "g_old": "zeros"}
    return found | ({"d": "zeros"} if axes["sign_change"] == "back" else {})


RPROP = Port(
    choices={
        "sign_change": ("back", "on", "rest"),
        "bounds": ("apart", "both", "always"),
        "moment": ("now", "late"),
        "nan": ("kept", "ignored"),
        **STATE,
        **COMPLEX,
    },
    slots=slots,
    update=rprop_,
)
