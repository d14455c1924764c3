"""Adafactor: w = w - alpha*u, u = g/sqrt(r c^T / mean(r)) cut to a root mean square of d, alpha = rho * rms(w).

r and c are running averages of the squared gradient's means over the columns of each row, and over the rows of each
column. Parameters of fewer than two dimensions have a second moment v of their own shape. What is one number for the
parameter is computed in the dtype of the coefficients, and rounded where it meets the parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from refopt_jax._shared import STATE, Axes, Scalar, Slots, carried, norm, refuse_shards, rounded, two_parts

CHOICES = {
    "factored": ("matrices", "large", "no"),
    "eps_at": ("squares", "estimate"),
    "rate": ("relative", "given"),
    "scale": ("parameter", "no"),
    "clip": ("yes", "no"),
    "nan": ("spreads", "stays"),
    "decay": ("none", "decoupled", "decoupled_first", "decoupled_alpha", "decoupled_no_lr"),
    "momentum": ("none", "ema"),
    **STATE,
}


class Coefficients(NamedTuple):
    rho: Scalar
    keeps: Scalar  # what the squares' averages are multiplied by
    enters: Scalar
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    eps1: Scalar
    eps2: Scalar
    d: Scalar
    decay: Scalar  # of the parameter; where alpha scales it, without that


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, wd, enters = values["lr"], values["wd"], t ** -values["kappa"]
    beta1, beta1_rest = two_parts(values["beta1"])
    return Coefficients(
        rho=lr if axes["rate"] == "given" else xp.minimum(lr, 1 / xp.sqrt(t)),
        keeps=1 - enters,
        enters=enters,
        beta1=beta1,
        beta1_rest=beta1_rest,
        one_minus_beta1=1 - values["beta1"],
        eps1=values["eps1"],
        eps2=values["eps2"],
        d=values["d"],
        decay=lr * wd if axes["decay"] in ("decoupled", "decoupled_first") else wd,
    )


def rows_and_columns(axes: Axes, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The axes of an array that count its rows and its columns: the last two; or the two longest, from 128 on."""
    if axes["factored"] == "no" or len(shape) < 2:
        return None
    if axes["factored"] == "matrices":
        return len(shape) - 2, len(shape) - 1
    longest = np.argsort(shape, kind="stable")[-2:]
    row, column = sorted(int(axis) for axis in longest)
    return None if min(shape[row], shape[column]) < 128 else (row, column)


def shape_of_rows(axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A number for each row, where there are columns."""
    dims = rows_and_columns(axes, shape)
    return (0,) if dims is None else (*shape[: dims[1]], 1, *shape[dims[1] + 1 :])


def shape_of_columns(axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A number for each column."""
    dims = rows_and_columns(axes, shape)
    return (0,) if dims is None else (*shape[: dims[0]], 1, *shape[dims[0] + 1 :])


def shape_of_vector(axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """That of the parameter, if it has no columns, or none are used."""
    return shape if rows_and_columns(axes, shape) is None else (0,)


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    n, new, root = rounded(c, w.dtype), dict(slots), math.sqrt(w.size) or 1.0
    if axes["decay"] == "decoupled_first":
        w = w - n.decay * w
    alpha = _at_least(c.eps2, norm(w) / root, axes) * c.rho if axes["scale"] == "parameter" else c.rho
    alpha = jnp.asarray(alpha).astype(w.dtype)

    at_squares = axes["eps_at"] == "squares"
    s = g * g + n.eps1 if at_squares else g * g
    dims = rows_and_columns(axes, w.shape)
    if dims is None:
        v = new["v"] = n.keeps * slots["v"] + n.enters * s
    else:
        refuse_shards(w, "adafactor averages the rows and the columns of a parameter")
        rows = new["r"] = n.keeps * slots["r"] + n.enters * _means(s, dims[1])
        columns = new["c"] = n.keeps * slots["c"] + n.enters * _means(s, dims[0])
        mean = _means(rows, dims[0])
        v = rows / mean * columns if at_squares else rows * columns / jnp.maximum(n.eps1, mean)
    u = g / (jnp.sqrt(v) if at_squares else jnp.maximum(n.eps1, jnp.sqrt(v)))
    if axes["clip"] == "yes":
        u = u / _at_least(1.0, norm(u) / root / c.d, axes).astype(w.dtype)

    if axes["decay"] not in ("none", "decoupled_first"):
        w = w - (alpha * n.decay if axes["decay"] == "decoupled_alpha" else n.decay) * w
    step = alpha * u
    if axes["momentum"] == "ema":
        step = new["m"] = carried(n.beta1, n.beta1_rest, slots["m"], n.one_minus_beta1 * step)
    return w - step, new


def _at_least(least: Scalar, x: jax.Array, axes: Axes) -> jax.Array:
    """The larger of the two; of NaN itself, or the other."""
    return jnp.where(x > least, x, least) if axes["nan"] == "stays" else jnp.maximum(least, x)


def _means(x: jax.Array, axis: int) -> jax.Array:
    """The means over a dimension, which stays as 1; zero over none."""
    return jnp.sum(x, axis=axis, keepdims=True) / (x.shape[axis] or 1)
