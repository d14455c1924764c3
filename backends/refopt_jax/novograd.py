"""NovoGrad: m = beta1*m + g/(sqrt(v) + eps) + wd*w, with v a running average of |g|**2, one number for each tensor.

What is one number for the tensor is computed in the dtype of the coefficients, and rounded where it meets the tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import STATE, Axes, Scalar, Slots, carried, one_minus_power, rounded, sum_of_squares, two_parts

CHOICES = {
    "first_norm": ("first", "when_zero", "zeros"),
    "eps_at": ("outside", "both"),
    "normalized": ("gradient", "moment"),
    "gradient_scale": ("one", "ema"),
    "bias": ("none", "both"),
    **STATE,
}


class Coefficients(NamedTuple):
    t: Scalar
    lr: Scalar  # over the correction of the moment
    lr_wd: Scalar
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    enters: Scalar  # what scales a gradient on its way into the moment
    beta2: Scalar  # in two parts
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    c2: Scalar
    eps: Scalar
    inside: Scalar
    wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, wd = values["lr"], values["wd"]
    corrected = axes["bias"] == "both"
    beta1, beta1_rest = two_parts(values["beta1"])
    beta2, beta2_rest = two_parts(values["beta2"])
    return Coefficients(
        t=t,
        lr=lr / one_minus_power(values["beta1"], t) if corrected else lr,
        lr_wd=lr * wd,
        beta1=beta1,
        beta1_rest=beta1_rest,
        enters=1 - values["beta1"] if axes["gradient_scale"] == "ema" else 1.0,
        beta2=beta2,
        beta2_rest=beta2_rest,
        one_minus_beta2=1 - values["beta2"],
        c2=one_minus_power(values["beta2"], t) if corrected else 1.0,
        eps=values["eps"],
        inside=values["eps_root"] if axes["eps_at"] == "both" else 0.0,
        wd=wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter; its v is a 0-d array."""
    square = sum_of_squares(g)
    old = slots["v"].astype(square.dtype)
    v = carried(c.beta2, c.beta2_rest, old, c.one_minus_beta2 * square)
    if axes["first_norm"] == "first":
        v = jnp.where(c.t == 1, square, v)
    elif axes["first_norm"] == "when_zero":
        v = jnp.where(old == 0, square, v)
    d = (jnp.sqrt(v / c.c2 + c.inside) + c.eps).astype(w.dtype)
    r = rounded(c, w.dtype)
    if axes["normalized"] == "gradient":
        m = carried(r.beta1, r.beta1_rest, slots["m"], r.enters * (g / d + r.wd * w))
        w = w - r.lr * m
    else:
        m = carried(r.beta1, r.beta1_rest, slots["m"], r.enters * g)
        w = w - (r.lr * (m / d) + r.lr_wd * w)
    return w, {"m": m, "v": v}
