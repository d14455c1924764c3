"""Muon: w = w - lr*NS(u/|u|), u = mu*u + g; NS brings the singular values of a matrix near one.

A parameter is the matrix of its first dimension by all others. NS is five times X = aX + (bA + cAA)X with A = XX^T, in
the dtype that the parameter is updated in, at the highest precision that a machine has for products. float32 rounds a
singular value near zero to half a unit of 1, and the iteration multiplies that by up to 485.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import (
    STATE,
    Axes,
    Scalar,
    Slots,
    carried,
    decay_before,
    decayed_gradient,
    norm,
    one_minus_power,
    refuse_shards,
    rounded,
    two_parts,
)

CHOICES = {
    "decay": ("none", "l2", "decoupled", "decoupled_no_lr"),
    "buffer": ("sum", "ema"),
    "nesterov": ("no", "yes"),
    "bias": ("none", "standard", "ahead"),
    "eps_at": ("sum", "max", "constant"),
    "coefficients": ("jordan", "dion"),
    "shape_factor": ("none", "tall", "wide", "rms"),
    **STATE,
}
JORDAN = ((3.4445, -4.7750, 2.0315),) * 5
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class Coefficients(NamedTuple):
    lr: Scalar
    mu: Scalar  # in two parts
    mu_rest: Scalar
    enters: Scalar  # what the gradient is scaled by on its way into the velocity
    ahead: Scalar  # what the velocity is scaled by in the step
    enters_step: Scalar  # and the gradient, where the step looks ahead
    eps: Scalar
    rms: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    mu, (head, rest) = values["mu"], two_parts(values["mu"])
    enters = 1 - mu if axes["buffer"] == "ema" else 1.0
    now = 1.0 if axes["bias"] == "none" else one_minus_power(mu, t)
    following = one_minus_power(mu, t + 1) if axes["bias"] == "ahead" else now
    return Coefficients(
        lr=values["lr"],
        mu=head,
        mu_rest=rest,
        enters=enters,
        ahead=mu / following if axes["nesterov"] == "yes" else 1 / now,
        enters_step=enters / now,
        eps=1e-7 if axes["eps_at"] == "constant" else values["eps"],
        rms=values["rms"],
        wd=values["wd"],
        lr_wd=values["lr"] * values["wd"],
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    refuse_shards(w, "muon multiplies a parameter with itself as a matrix")
    n = rounded(c, w.dtype)
    g = decayed_gradient(axes, n, w, g)
    u = carried(n.mu, n.mu_rest, slots["u"], n.enters * g)
    a = n.ahead * u + n.enters_step * g if axes["nesterov"] == "yes" else n.ahead * u
    length = norm(a)
    d = jnp.maximum(length, c.eps) if axes["eps_at"] == "max" else length + c.eps
    o = _newton_schulz(a / d.astype(a.dtype), DION if axes["coefficients"] == "dion" else JORDAN)
    rate = c.lr * _scale(axes["shape_factor"], w.shape, c.rms)
    return decay_before(axes, n, w) - rate.astype(w.dtype) * o, {"u": u}


def _newton_schulz(x: jax.Array, steps: tuple[tuple[float, float, float], ...]) -> jax.Array:
    """The array with singular values near one."""
    y = x.reshape(_sides(x.shape))
    tall = y.shape[0] > y.shape[1]

    def step(y: jax.Array, of_step: jax.Array) -> tuple[jax.Array, None]:
        a, b, c = of_step
        gram = matmul(y, y.T)
        return a * y + matmul(b * gram + c * matmul(gram, gram), y), None

    y, _ = jax.lax.scan(step, y.T if tall else y, jnp.array(steps, x.dtype))
    return (y.T if tall else y).reshape(x.shape)


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns of a parameter as a matrix; a vector is one column."""
    return shape[0] if shape else 1, math.prod(shape[1:])


def _scale(factor: str, shape: tuple[int, ...], rms: Scalar) -> Scalar:
    """What the rate is multiplied by, for the shape."""
    rows, columns = _sides(shape)
    if factor == "none" or not rows * columns:
        return 1.0
    if factor == "rms":
        return rms * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns if factor == "tall" else columns / rows))
