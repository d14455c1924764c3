"""The exponential moving average of parameters: m = mu*m + (1 - mu)*w. The parameters stay as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import STATE, Axes, Port
from refopt_torch.host import two_parts


def ema_(
    w: list[Tensor],
    g: object,
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    mu: float,
    power: float,
    inv_gamma: float,
    **unread: float,
) -> None:
    m = slots["m"]
    if t == 1 and axes["init"] == "first_update":
        torch._foreach_copy_(m, w)
        return
    mu = scheduled_decay(axes, t, mu=mu, power=power, inv_gamma=inv_gamma)
    head, rest = two_parts(mu, m[0].dtype)
    arriving = torch._foreach_mul(w, 1 - mu)
    if rest:
        torch._foreach_add_(arriving, m, alpha=rest)
    torch._foreach_copy_(m, torch._foreach_add(arriving, m, alpha=head))  # not mul_ and add_, which round twice


def scheduled_decay(axes: Axes, t: int, *, mu: float, power: float, inv_gamma: float) -> float:
    """The decay at step t. A schedule may only lower mu; "mean" replaces it, and weighs all steps the same."""
    schedule = axes["decay_schedule"]
    if schedule == "constant":
        return mu
    if schedule == "mean":
        return 1 - 1 / t
    limit = {
        "warmup_0": t / (9 + t),
        "warmup_1": (1 + t) / (10 + t),
        "power": 1 - (1 + (t - 1) / inv_gamma) ** -power,
    }[schedule]
    return min(mu, limit)


def average(slots: dict[str, Any], *, t: int, axes: Axes, mu: float, eps: float, **unread: float) -> list[Tensor]:
    """The average, its start at zero divided out if the axes say so: new tensors, in the dtype of m."""
    remaining = {"none": 0.0, "standard": mu**t, "objax": (1 - eps) * mu**t}[axes["debias"]]
    return list(torch._foreach_div(slots["m"], 1 - remaining))


EMA = Port(
    choices={
        "init": ("zeros", "params", "first_update"),
        "decay_schedule": ("constant", "warmup_0", "warmup_1", "power", "mean"),
        "debias": ("none", "standard", "objax"),
        **STATE,
    },
    slots=lambda axes: {"m": "params" if axes["init"] == "params" else "zeros"},
    update=ema_,
    average=average,
    reads_gradient=False,
)
