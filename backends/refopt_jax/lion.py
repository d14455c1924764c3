"""Lion: w = w - lr*sign(c), c being the momentum moved beta1 of the way; the momentum itself moves with beta2."""

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
    carried,
    decay_after,
    decay_before,
    decayed_gradient,
    rounded,
    two_parts,
)
from refopt_jax.pairs import signs, sizes

CHOICES = {"decay": DECAY, "direction": ("sign", "sign_nan_zero", "clipped"), **STATE, **COMPLEX}


class Coefficients(NamedTuple):
    lr: Scalar
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    beta2: Scalar
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, wd = values["lr"], values["wd"]
    beta1, beta1_rest = two_parts(values["beta1"])
    beta2, beta2_rest = two_parts(values["beta2"])
    return Coefficients(
        lr=lr,
        beta1=beta1,
        beta1_rest=beta1_rest,
        one_minus_beta1=1 - values["beta1"],
        beta2=beta2,
        beta2_rest=beta2_rest,
        one_minus_beta2=1 - values["beta2"],
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    mixed = carried(c.beta1, c.beta1_rest, slots["m"], c.one_minus_beta1 * g)
    m = carried(c.beta2, c.beta2_rest, slots["m"], c.one_minus_beta2 * g)
    w = decay_before(axes, c, w) - c.lr * _direction(axes, mixed)
    return decay_after(axes, c, w), {"m": m}


def _direction(axes: Axes, mixed: jax.Array) -> jax.Array:
    if axes["direction"] == "clipped":
        return jnp.clip(mixed, -1, 1)
    # XLA's sign of -0.0 is -0.0, which would turn a weight of -0.0 into 0.0.
    size = sizes(axes, mixed)
    still = size == 0 if axes["direction"] == "sign" else (size == 0) | jnp.isnan(size)
    return jnp.where(still, 0.0, signs(axes, mixed))
