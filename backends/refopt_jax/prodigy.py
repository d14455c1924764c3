"""Prodigy: Adam whose rate is d * lr, where d is the largest lower bound so far of the distance to a solution.

The bound is r / |s|_1 with the weighted sums r of <g, w0 - w> and s of g, over the whole model: `measure` computes it
first, and with it the two numbers of the model, so that an `update` is one of elements. Both form the new s: XLA keeps
one of them.
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
    decayed_gradient,
    one_minus_power,
    rounded,
    total,
    two_parts,
)
from refopt_jax.pairs import once, sizes, squares

CHOICES = {
    "decay": ("none", "l2", "decoupled"),
    "bias": ("none", "rate"),
    "summed_by": ("rate", "d"),
    "eps_d": ("old", "new"),
    "nan": ("spreads", "stays"),
    "no_gradient": ("nan", "waits"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    rate: Scalar  # d * lr, corrected if the axes say so
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    entering_m: Scalar  # what the gradient is scaled by on its way into m
    beta2: Scalar
    beta2_rest: Scalar
    entering_v: Scalar
    beta3: Scalar
    beta3_rest: Scalar
    share: Scalar  # of the step in r
    entering_s: Scalar
    eps: Scalar
    d: Scalar
    d_coef: Scalar
    carried_r: Scalar  # what is left of r
    wd: Scalar


class Measured(NamedTuple):
    rate: jax.Array
    eps: jax.Array  # scaled by d


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t, before it has been measured."""
    d = xp.where(t == 1, values["d0"], values["d"])
    rate = d * values["lr"]
    if axes["bias"] == "rate":
        rate = rate * xp.sqrt(one_minus_power(values["beta2"], t)) / one_minus_power(values["beta1"], t)
    root = float(values["beta2"]) ** 0.5
    beta1, beta1_rest = two_parts(values["beta1"])
    beta2, beta2_rest = two_parts(values["beta2"])
    beta3, beta3_rest = two_parts(root)
    share = rate * d / values["d0"]
    return Coefficients(
        rate=rate,
        beta1=beta1,
        beta1_rest=beta1_rest,
        entering_m=(1 - values["beta1"]) * d,
        beta2=beta2,
        beta2_rest=beta2_rest,
        entering_v=(1 - values["beta2"]) * d * d,
        beta3=beta3,
        beta3_rest=beta3_rest,
        share=share,
        entering_s=d * d / values["d0"] if axes["summed_by"] == "d" else share,
        eps=values["eps"],
        d=d,
        d_coef=values["d_coef"],
        carried_r=root * values["r"],
        wd=values["wd"],
    )


def measure(
    each: list[Axes], c: Coefficients, params: list[jax.Array], grads: list[jax.Array], slots: list[Slots]
) -> tuple[Measured, dict[str, jax.Array]]:
    """The rate and the epsilon of the step, and the numbers d and r after it."""
    ways, sums = [], []
    for axes, w, g, old in zip(each, params, grads, slots, strict=True):
        narrow = rounded(c, w.dtype)
        g = decayed_gradient(axes, narrow, w, g)
        ways.append(g * (old["w0"] - w))
        sums.append(once(axes, sizes(axes, _summed(narrow, g, old["s"]))))
    r = c.carried_r + c.share * total(ways)
    length = total(sums)
    bound, rate = c.d_coef * r / length, jnp.asarray(c.rate)
    if axes["no_gradient"] == "waits":
        bound, rate = jnp.where(length == 0, c.d, bound), jnp.where(length == 0, 0.0, rate)
    d = jnp.maximum(c.d, bound) if axes["nan"] == "spreads" else jnp.where(bound > c.d, bound, c.d)
    return Measured(rate, c.eps * (d if axes["eps_d"] == "new" else c.d)), {"d": d, "r": r}


def update(
    axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots, measured: Measured
) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c, measured = rounded(c, w.dtype), rounded(measured, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    m = carried(c.beta1, c.beta1_rest, slots["m"], c.entering_m * g)
    v = carried(c.beta2, c.beta2_rest, slots["v"], squares(axes, c.entering_v * g * g))
    s = _summed(c, g, slots["s"])
    if axes["decay"] == "decoupled":
        w = w - measured.rate * c.wd * w
    w = w - measured.rate * m / (jnp.sqrt(v) + measured.eps)
    return w, {"m": m, "v": v, "s": s, "w0": slots["w0"]}


def _summed(c: Coefficients, g: jax.Array, s: jax.Array) -> jax.Array:
    return carried(c.beta3, c.beta3_rest, s, c.entering_s * g)
