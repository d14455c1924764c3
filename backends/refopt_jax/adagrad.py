"""Adagrad: w = w - lr*g/(sqrt(v) + eps), v being the sum of all g*g so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import (
    COMPLEX,
    DECAY,
    STATE,
    Axes,
    Scalar,
    Slots,
    decay_after,
    decay_before,
    decayed_gradient,
    rounded,
)
from refopt_jax.pairs import squares

CHOICES = {
    "decay": DECAY,
    "init": ("zeros", "value"),
    "eps_at": ("outside", "inside", "none"),
    "zero_sum": ("divides", "no_step"),
    "rate": ("constant", "falling"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    t: Scalar
    lr: Scalar  # as it was given
    rate: Scalar  # as it has fallen
    start: Scalar  # what the sum starts from
    inside: Scalar  # what is added inside the root, and to it
    outside: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, eps, wd = values["lr"], values["eps"], values["wd"]
    inside, outside = {"inside": (eps, 0.0), "outside": (0.0, eps), "none": (0.0, 0.0)}[axes["eps_at"]]
    return Coefficients(
        t=t,
        lr=lr,
        rate=lr / (1 + (t - 1) * values["lr_decay"]) if axes["rate"] == "falling" else lr,
        start=values["start"],
        inside=inside,
        outside=outside,
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    v = slots["v"] if axes["init"] == "zeros" else jnp.where(c.t == 1, c.start, slots["v"])
    v = v + squares(axes, g * g)
    d = jnp.sqrt(v + c.inside) + c.outside
    step = g * jnp.where(v > 0, 1 / d, 0.0) if axes["zero_sum"] == "no_step" else g / d
    w = decay_before(axes, c, w)
    w = w - c.rate * step
    return decay_after(axes, c, w), {"v": v}
