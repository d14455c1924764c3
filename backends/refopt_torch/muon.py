"""Muon: w = w - lr*NS(u/|u|), u = mu*u + g; NS brings the singular values of a matrix near one.

A tensor is the matrix of its first dimension by all others. NS is five times X = a*X + (b*A + c*A@A)@X with A = X@X.T,
in the dtype of the step: float32 rounds a singular value near zero to half a unit of 1, and the iteration multiplies
that by up to 485. What `torch.set_float32_matmul_precision` allows beyond, it multiplies too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import STATE, Axes, Port, decay_before_, decayed_gradient, element_slots
from refopt_torch.host import in_turns

JORDAN = [(3.4445, -4.7750, 2.0315)] * 5
DION = [
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
]


def muon_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    norms: Callable[[list[Tensor]], Tensor],
    t: int,
    axes: Axes,
    lr: float,
    mu: float,
    eps: float,
    rms: float,
    wd: float,
) -> None:
    u, h = slots["u"], decayed_gradient(axes, g, w, wd)
    if axes["buffer"] == "ema":
        h = list(torch._foreach_mul(h, 1 - mu))
    torch._foreach_copy_(u, torch._foreach_add(h, u, alpha=in_turns(mu, t, u[0].dtype)))

    now = 1.0 if axes["bias"] == "none" else 1 - mu**t
    if axes["nesterov"] == "no":
        a = list(torch._foreach_div(u, now))
    else:
        following = 1 - mu ** (t + 1) if axes["bias"] == "ahead" else now
        a = list(torch._foreach_add(torch._foreach_div(h, now), u, alpha=mu / following))

    d = norms(a)
    d = d.clamp(min=eps) if axes["eps_at"] == "max" else d + (eps if axes["eps_at"] == "sum" else 1e-7)
    x = torch._foreach_div(a, list(d.to(a[0].dtype).unbind()))
    steps = DION if axes["coefficients"] == "dion" else JORDAN
    o = [_newton_schulz(y, steps) for y in x]
    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_sub_(w, torch._foreach_mul(o, [lr * _scale(axes["shape_factor"], y, rms) for y in w]))


def _newton_schulz(x: Tensor, steps: Sequence[tuple[float, float, float]]) -> Tensor:
    """The tensor with singular values near one."""
    y = x.reshape(_sides(x))
    tall = y.shape[0] > y.shape[1]
    y = y.mT if tall else y
    for a, b, c in steps:
        gram = y @ y.mT
        y = a * y + (b * gram + c * (gram @ gram)) @ y
    return (y.mT if tall else y).reshape(x.shape)


def _sides(x: Tensor) -> tuple[int, int]:
    """The rows and columns of a tensor as a matrix; a vector is one column."""
    return x.shape[0] if x.ndim else 1, math.prod(x.shape[1:])


def _scale(factor: str, w: Tensor, rms: float) -> float:
    """What the rate is multiplied by, for the shape."""
    rows, columns = _sides(w)
    if factor == "none" or not w.numel():
        return 1.0
    if factor == "rms":
        return rms * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns if factor == "tall" else columns / rows))


MUON = Port(
    choices={
        "decay": ("none", "l2", "decoupled", "decoupled_no_lr"),
        "buffer": ("sum", "ema"),
        "nesterov": ("no", "yes"),
        "bias": ("none", "standard", "ahead"),
        "eps_at": ("sum", "max", "constant"),
        "coefficients": ("jordan", "dion"),
        "shape_factor": ("none", "tall", "wide", "rms"),
        **STATE,
    },
    slots=element_slots("u"),
    update=muon_,
    takes_norms=True,
    takes_whole=True,
)
