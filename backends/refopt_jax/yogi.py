"""Yogi: w = w - lr*m/(sqrt(v) + eps), where v moves towards g*g by a share of g*g, however far away it is.

The rate is split as Adam's is: its power of two multiplies the step, the rest divides the denominator.
"""

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
    one_minus_power,
    rounded,
    split_power,
    two_parts,
)
from refopt_jax.pairs import real, squares

CHOICES = {
    "decay": DECAY,
    "starts_at": ("zero", "v", "both", "fixed", "gradient"),
    "eps_at": ("outside", "outside_raw", "both"),
    "bias": ("none", "both", "v_only"),
    **STATE,
    **COMPLEX,
}

FIXED = 1e-6  # what both moments start from, where that is no number of the user's


class Coefficients(NamedTuple):
    t: Scalar
    start: Scalar
    power: Scalar  # of two, in lr / c1
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    share: Scalar  # of g*g, by which v moves
    over_c2: Scalar  # with the square of the rest of lr / c1
    inside: Scalar  # what is added inside the root, and to it
    outside: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, eps, wd = values["lr"], values["eps"], values["wd"]
    c1 = one_minus_power(values["beta1"], t) if axes["bias"] == "both" else 1.0
    c2 = 1.0 if axes["bias"] == "none" else one_minus_power(values["beta2"], t)
    power, rest = split_power(lr / c1, xp)
    beta1, beta1_rest = two_parts(values["beta1"])
    return Coefficients(
        t=t,
        start=FIXED if axes["starts_at"] == "fixed" else values["start"],
        power=power,
        beta1=beta1,
        beta1_rest=beta1_rest,
        one_minus_beta1=1 - values["beta1"],
        share=1 - values["beta2"],
        over_c2=1 / (c2 * rest**2),
        inside=values["eps_root"] / rest**2 if axes["eps_at"] == "both" else 0.0,
        outside=(eps / xp.sqrt(c2) if axes["eps_at"] == "outside_raw" else eps) / rest,
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    square = squares(axes, g * g)
    m, v = slots["m"], slots["v"]
    if axes["starts_at"] in ("both", "fixed"):
        m = jnp.where(c.t == 1, real(axes, c.start), m)
    if axes["starts_at"] in ("v", "both", "fixed"):
        v = jnp.where(c.t == 1, c.start, v)
    m = carried(c.beta1, c.beta1_rest, m, c.one_minus_beta1 * g)
    if axes["starts_at"] == "gradient":
        v = jnp.where(c.t == 1, square, v)
    # Not sign(v - g*g): in one rounding with the product that is not zero where v is the square. v - v is 0, or NaN.
    towards = jnp.where(v < square, 1, jnp.where(v > square, -1, v - v))
    v = v + c.share * towards * square
    d = jnp.sqrt(v * c.over_c2 + c.inside) + c.outside
    w = decay_before(axes, c, w)
    w = w - c.power * (m / d)
    return decay_after(axes, c, w), {"m": m, "v": v}
