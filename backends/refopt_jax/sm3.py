"""SM3: w = w - lr*m, with m a running average of g/sqrt(v), and v the least accumulator of an element plus g**2.

The accumulators of a parameter lie in one flat array, dimension after dimension: those of its rows, of its columns, and
so on. They are the largest v of each row, of each column; a parameter without dimensions has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import STATE, Axes, Scalar, Slots, carried, refuse_shards, rounded, two_parts

CHOICES = {
    "accumulators": ("elements", "gradients"),
    "squares": ("summed", "averaged", "averaged_kept"),
    "zero": ("zero", "eps", "eps_positive"),
    **STATE,
}


class Coefficients(NamedTuple):
    lr: Scalar
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    beta2: Scalar  # in two parts
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    eps: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of a step, which do not depend on its number."""
    summed = axes["squares"] == "summed"
    beta1, beta1_rest = two_parts(values["beta1"])
    beta2, beta2_rest = (1.0, 0.0) if summed else two_parts(values["beta2"])
    return Coefficients(
        lr=values["lr"],
        beta1=beta1,
        beta1_rest=beta1_rest,
        one_minus_beta1=1 - values["beta1"],
        beta2=beta2,
        beta2_rest=beta2_rest,
        one_minus_beta2=1.0 if summed else 1 - values["beta2"],
        eps=values["eps"],
    )


def shape_of_accumulators(axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One for each index along each dimension."""
    return (sum(shape) if shape else 1,)


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    refuse_shards(w, "sm3 keeps an accumulator for each index along each dimension in one array")
    c = rounded(c, w.dtype)
    b = slots["b"]
    if axes["accumulators"] == "gradients":
        b = b + _largest(g * g)
        v = _least(b, g.shape)
    else:
        v = carried(c.beta2, c.beta2_rest, _least(b, g.shape), c.one_minus_beta2 * (g * g))
        kept = axes["squares"] == "averaged_kept" and g.ndim > 0
        b = jnp.maximum(b, _largest(v)) if kept else _largest(v)
    if axes["zero"] == "zero":
        u = jnp.where(v == 0, 0, g / jnp.sqrt(v))
    else:
        u = g / jnp.sqrt(v + c.eps)
        if axes["zero"] == "eps_positive":  # not zero where the gradient is no number
            u = jnp.where(v > 0, u, 0 * g)
    m = carried(c.beta1, c.beta1_rest, slots["m"], c.one_minus_beta1 * u)
    return w - c.lr * m, {"m": m, "b": b}


def _least(a: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """For each element of the shape, the least of the accumulators of its row, its column, and so on."""
    if not shape:
        return a[0]
    parts = jnp.split(a, list(accumulate(shape))[:-1])
    along = [jnp.expand_dims(x, [k for k in range(len(shape)) if k != axis]) for axis, x in enumerate(parts)]
    return jnp.broadcast_to(reduce(jnp.minimum, along), shape)


def _largest(x: jax.Array) -> jax.Array:
    """The largest element of each row, each column, and so on; of none, zero."""
    if x.ndim == 0:
        return x[None]
    others = [tuple(k for k in range(x.ndim) if k != axis) for axis in range(x.ndim)]
    return jnp.concatenate([jnp.max(x, axis=axes, initial=0) for axes in others])
