"""Adafactor: w = w - alpha*u, u = g/sqrt(r c^T / mean(r)) cut to a root mean square of d, alpha = rho * rms(w).

r and c are running averages of the squared gradient's means over the columns of each row, and over the rows of each
column. Tensors of fewer than two dimensions have a second moment v of their own shape. What is one number for the
tensor is float64 on the device, as in `lars`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import STATE, Axes, Port, factored


def adafactor_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    norms: Callable[[list[Tensor]], Tensor],
    sizes: list[int],
    t: int,
    axes: Axes,
    lr: float,
    kappa: float,
    beta1: float,
    eps1: float,
    eps2: float,
    d: float,
    wd: float,
) -> None:
    roots = torch.tensor([math.sqrt(n) for n in sizes], dtype=torch.float64).to(w[0].device)
    if axes["decay"] == "decoupled_first":
        torch._foreach_add_(w, w, alpha=-lr * wd)
    rho = lr if axes["rate"] == "given" else min(lr, 1 / math.sqrt(t))
    alpha = torch.full_like(roots, rho)
    if axes["scale"] == "parameter":
        alpha = _at_least(norms(w) / roots, eps2, axes) * rho

    enters, added = t**-kappa, eps1 if axes["eps_at"] == "squares" else 0.0
    square = torch._foreach_add(torch._foreach_mul(g, g), added)
    estimates = []
    for i, s in enumerate(square):
        if (found := factored(s.shape, axes["factored"])) is None:
            v = _averaged_(slots["v"][i], s, enters)
        else:
            row, column = found
            r = _averaged_(slots["r"][i], _means(s, column), enters)
            c = _averaged_(slots["c"][i], _means(s, row), enters)
            mean = _means(r, row)
            v = r * c / mean.clamp(min=eps1) if axes["eps_at"] == "estimate" else r / mean * c
        estimates.append(v)

    root = torch._foreach_sqrt(estimates)
    if axes["eps_at"] == "estimate":
        torch._foreach_clamp_min_(root, eps1)
    u = list(torch._foreach_div(g, root))
    if axes["clip"] == "yes":
        over = _at_least(norms(u) / roots / d, 1.0, axes)
        torch._foreach_div_(u, list(over.to(w[0].dtype).unbind()))
    if axes["decay"] == "decoupled_alpha":
        torch._foreach_sub_(w, torch._foreach_mul(w, list((alpha * wd).to(w[0].dtype).unbind())))
    elif axes["decay"] in ("decoupled", "decoupled_no_lr"):
        torch._foreach_add_(w, w, alpha=-(lr * wd if axes["decay"] == "decoupled" else wd))
    torch._foreach_mul_(u, list(alpha.to(w[0].dtype).unbind()))
    if axes["momentum"] == "ema":
        m = slots["m"]
        torch._foreach_mul_(m, beta1)
        torch._foreach_add_(m, u, alpha=1 - beta1)
        u = m
    torch._foreach_sub_(w, u)


def _at_least(x: Tensor, least: float, axes: Axes) -> Tensor:
    """The larger of the two; of NaN itself, or the other."""
    return torch.where(x > least, x, least) if axes["nan"] == "stays" else x.clamp(min=least)


def _averaged_(slot: Tensor, x: Tensor, share: float) -> Tensor:
    """The slot, of which a share has been replaced by x."""
    return slot.mul_(1 - share).add_(x, alpha=share)


def _means(x: Tensor, dim: int) -> Tensor:
    """The means over a dimension, which stays as 1; zero over none."""
    if x.shape[dim] == 0:
        return x.sum(dim, keepdim=True)
    return x.mean(dim, keepdim=True, dtype=torch.float64).to(x.dtype)


def _slots(axes: Axes) -> dict[str, str | float]:
    kind = "zeros of large " if axes["factored"] == "large" else "zeros of "
    kept = {"r": kind + "rows", "c": kind + "columns", "v": kind + "vectors"}
    own: dict[str, str | float] = {"v": "zeros"} if axes["factored"] == "no" else dict(kept)
    return own | ({"m": "zeros"} if axes["momentum"] == "ema" else {})


ADAFACTOR = Port(
    choices={
        "factored": ("matrices", "large", "no"),
        "eps_at": ("squares", "estimate"),
        "rate": ("relative", "given"),
        "scale": ("parameter", "no"),
        "clip": ("yes", "no"),
        "nan": ("spreads", "stays"),
        "decay": ("none", "decoupled", "decoupled_first", "decoupled_alpha", "decoupled_no_lr"),
        "momentum": ("none", "ema"),
        **STATE,
    },
    slots=_slots,
    update=adafactor_,
    takes_norms=True,
    takes_sizes=True,
)
