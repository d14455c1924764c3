"""Adan: w = w - lr*(m + beta2*v)/sqrt(n + eps), with running averages m of g, v of its change y, n of (g + beta2*y)**2.

The averages start from the first gradient and the first change; or from zero, for which they are then corrected.

No tensor is divided by a scalar, all are multiplied with its reciprocal. XLA turns a division into that or leaves it
alone, depending on what else is in the model and on how it is sharded: one element would come to different bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import (
    COMPLEX,
    STATE,
    Axes,
    Scalar,
    Slots,
    carried,
    decay_before,
    one_minus_power,
    rounded,
    two_parts,
)
from refopt_jax.pairs import squares

CHOICES = {
    "eps_at": ("inside", "outside", "both"),
    "start": ("first_gradient", "corrected", "zeros"),
    "difference": ("beta2", "one_minus_beta2"),
    "first_difference": ("zero", "gradient"),
    "decay": ("none", "proximal", "decoupled"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    t: Scalar
    lr: Scalar
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    beta2: Scalar
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    beta3: Scalar
    beta3_rest: Scalar
    one_minus_beta3: Scalar
    weight: Scalar  # of a difference in the square
    over_c1: Scalar  # one over the bias corrections, 1 where there are none
    weight_over_c2: Scalar
    over_c3: Scalar
    inside: Scalar  # what is added inside the root, and to it
    outside: Scalar
    wd: Scalar
    lr_wd: Scalar
    shrinking: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, eps, wd = values["lr"], values["eps"], values["wd"]
    parts = {name: two_parts(values[name]) for name in ("beta1", "beta2", "beta3")}
    corrects = axes["start"] == "corrected"
    c1, c2, c3 = (one_minus_power(values[name], t) if corrects else 1.0 for name in parts)
    weight = values["beta2"] if axes["difference"] == "beta2" else 1 - values["beta2"]
    inside, outside = {"inside": (eps, 0.0), "outside": (0.0, eps), "both": (values["eps_root"], eps)}[axes["eps_at"]]
    return Coefficients(
        t=t,
        lr=lr,
        beta1=parts["beta1"][0],
        beta1_rest=parts["beta1"][1],
        one_minus_beta1=1 - values["beta1"],
        beta2=parts["beta2"][0],
        beta2_rest=parts["beta2"][1],
        one_minus_beta2=1 - values["beta2"],
        beta3=parts["beta3"][0],
        beta3_rest=parts["beta3"][1],
        one_minus_beta3=1 - values["beta3"],
        weight=weight,
        over_c1=1 / c1,
        weight_over_c2=weight / c2,
        over_c3=1 / c3,
        inside=inside,
        outside=outside,
        wd=wd,
        lr_wd=lr * wd,
        shrinking=lr * wd / (1 + lr * wd),
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    before = jnp.where(c.t == 1, g, slots["p"]) if axes["first_difference"] == "zero" else slots["p"]
    change = g - before
    ahead = g + c.weight * change
    m = carried(c.beta1, c.beta1_rest, slots["m"], c.one_minus_beta1 * g)
    v = carried(c.beta2, c.beta2_rest, slots["v"], c.one_minus_beta2 * change)
    n = carried(c.beta3, c.beta3_rest, slots["n"], squares(axes, c.one_minus_beta3 * ahead * ahead))
    if axes["start"] == "first_gradient":
        m, v = jnp.where(c.t == 1, g, m), jnp.where(c.t <= 2, change, v)
        n = jnp.where(c.t == 1, squares(axes, ahead * ahead), n)
    d = jnp.sqrt(n * c.over_c3 + c.inside) + c.outside
    w = decay_before(axes, c, w) - c.lr * ((m * c.over_c1 + c.weight_over_c2 * v) / d)
    if axes["decay"] == "proximal":  # w / (1 + lr*wd), of which the reciprocal would lose a digit at every step
        w = jnp.where((w == 0) | jnp.isinf(w), w, w - c.shrinking * w)
    return w, {"m": m, "v": v, "n": n, "p": g}
