"""Schedule-free SGD: z = z - lr*(g + wd*w), x averages z, and w = (1 - beta1)*z + beta1*x, where gradients are taken.

The share c of z in x follows the learning rates so far: their sum, and the largest, are numbers for the whole model,
kept in float64 on the host and advanced by `advance`. Where all steps count the same, c follows t alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import STATE, Axes, Scalar, Slots, rounded

WEIGHT = {"weight": ("lr", "lr_max", "lr_next", "lr_max_t", "equal", "equal_steps")}
CHOICES = {"decay": ("at_y", "at_z"), **WEIGHT, **STATE}


class Coefficients(NamedTuple):
    rate: Scalar
    wd: Scalar
    share: Scalar  # of z in x
    rest: Scalar
    beta1: Scalar
    one_minus_beta1: Scalar


def advance(
    axes: Axes, values: Mapping[str, Scalar], numbers: Mapping[str, Scalar], t: Scalar, xp: Any
) -> dict[str, Scalar]:
    """The sum of the weights and the largest rate after step t."""
    return advanced(axes, values, numbers, values["lr"], t, xp)


def advanced(
    axes: Axes, values: Mapping[str, Scalar], numbers: Mapping[str, Scalar], rate: Scalar, t: Scalar, xp: Any
) -> dict[str, Scalar]:
    """The numbers after a step at this rate."""
    new = dict(numbers)
    if "lr_max" in new:
        new["lr_max"] = xp.maximum(new["lr_max"], values["lr_next"] if axes["weight"] == "lr_next" else rate)
    if "s" in new:
        new["s"] = new["s"] + weight(axes, {**values, **new}, rate, t)
    return new


def weight(axes: Axes, values: Mapping[str, Scalar], rate: Scalar, t: Scalar) -> Scalar:
    """How much the iterate of step t counts."""
    if axes["weight"] == "lr":
        return rate * rate
    largest = values["lr_max"] ** values["power"]
    return t ** values["r"] * largest if axes["weight"] == "lr_max_t" else largest


def share(axes: Axes, values: Mapping[str, Scalar], rate: Scalar, t: Scalar, xp: Any) -> Scalar:
    """The share of the iterate of step t in the average; 0 while nothing has counted. `values` holds the numbers."""
    if axes["weight"] == "equal":
        return 1 / (t + 1)
    if axes["weight"] == "equal_steps":
        return 1 / t
    s = values["s"]
    return xp.where(s == 0, 0.0, weight(axes, values, rate, t) / s)


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t. `values` holds the advanced numbers too."""
    c = share(axes, values, values["lr"], t, xp)
    return Coefficients(
        rate=values["lr"],
        wd=values["wd"],
        share=c,
        rest=1 - c,
        beta1=values["beta1"],
        one_minus_beta1=1 - values["beta1"],
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    u = g + c.wd * (slots["z"] if axes["decay"] == "at_z" else w)
    z = slots["z"] - c.rate * u
    x, w = mixed(c, slots["x"], z)
    return w, {"x": x, "z": z}


def mixed(c: Any, x: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The average with the new iterate in it, and where the next gradient is taken."""
    x = c.rest * x + c.share * z
    return x, c.one_minus_beta1 * z + c.beta1 * x


def average(axes: Axes, c: Any, slots: Slots) -> jax.Array:
    """What to evaluate the model with, for one parameter: in memory of its own."""
    return jnp.copy(slots["x"])
