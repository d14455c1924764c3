"""ASGD: gradient descent at a rate that falls, lr / (1 + lambd*lr*t)**alpha, and the mean of the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import STATE, Axes, Scalar, Slots, decayed_gradient, rounded

CHOICES = {
    "decay": ("none", "l2"),
    "lambd_at": ("rate", "both"),
    "rate": ("from_1", "from_0", "kept"),
    "mean": ("all", "but_one"),
    "mean_of": ("after", "before"),
    **STATE,
}


class Coefficients(NamedTuple):
    eta: Scalar  # the rate of this step
    remaining: Scalar  # of the weights, once they have decayed
    share: Scalar  # of this step in the mean
    alone: Scalar  # not 0 if the mean is of this step alone
    wd: Scalar


def advance(
    axes: Axes, values: Mapping[str, Scalar], numbers: Mapping[str, Scalar], t: Scalar, xp: Any
) -> dict[str, Scalar]:
    """The rate that is made at the end of this step for the next one (slot eta_next), where the axes keep it."""
    return {name: _rate(values, t) for name in numbers}


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t. Where the axes keep the rate, that of the step before is `eta_next_before`."""
    if axes["rate"] == "kept":
        eta = xp.where(t == 1, values["lr"], values.get("eta_next_before", 0.0))
    else:
        eta = _rate(values, t if axes["rate"] == "from_1" else t - 1)
    steps = (t if axes["mean"] == "all" else t - 1) - values["t0"]
    return Coefficients(
        eta=eta,
        remaining=1 - values["lambd"] * eta,
        share=1 / xp.maximum(1, steps),
        alone=steps <= 1,
        wd=values["wd"],
    )


def _rate(values: Mapping[str, Scalar], t: Scalar) -> Scalar:
    lr = values["lr"]
    return lr / (1 + values["lambd"] * lr * t) ** values["alpha"]


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    new = (c.remaining * w if axes["lambd_at"] == "both" else w) - c.eta * g
    entering, mean = w if axes["mean_of"] == "before" else new, slots["ax"]
    return new, {"ax": jnp.where(c.alone != 0, entering, mean + c.share * (entering - mean))}


def average(axes: Axes, c: Coefficients, slots: Slots) -> jax.Array:
    """What to evaluate the model with, for one parameter."""
    return slots["ax"]
