"""Stochastic gradient descent: w = w - lr*g."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from refopt_jax._shared import Axes, Scalar, Slots, decay_after, decay_before, decayed_gradient, rounded

CHOICES = {"decay": ("none", "l2", "decoupled_after", "decoupled_no_lr", "decoupled_no_lr_after")}


class Coefficients(NamedTuple):
    lr: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, wd = values["lr"], values["wd"]
    return Coefficients(lr=lr, wd=wd, lr_wd=lr * wd)


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    w = decay_before(axes, c, w)
    w = w - c.lr * g
    return decay_after(axes, c, w), {}
