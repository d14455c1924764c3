"""AdaMax: w = w - lr/(1 - beta1**t) * m/u; m averages the gradients, u is the largest of them, each fading by beta2.

`power="product"` corrects by the product of the beta1 so far: one number for the whole model, kept in float64 on the
host and advanced by `advance`.
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
    two_parts,
)
from refopt_jax.pairs import sizes

CHOICES = {
    "decay": DECAY,
    "power": ("power", "product"),
    "bias": ("m", "none"),
    "eps_at": ("none", "gradient", "norm", "denominator"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    rate: Scalar  # corrected
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    beta2: Scalar
    beta2_rest: Scalar
    eps: Scalar
    wd: Scalar
    lr_wd: Scalar


def advance(
    axes: Axes, values: Mapping[str, Scalar], products: Mapping[str, Scalar], t: Scalar, xp: Any
) -> dict[str, Scalar]:
    """The product of the beta1 (slot p1, where the axes keep it) after one more step."""
    return {name: product * values["beta1"] for name, product in products.items()}


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t. `values` holds the advanced product too, where the axes keep it."""
    lr, wd = values["lr"], values["wd"]
    if axes["bias"] == "none":
        correction = 1.0
    elif axes["power"] == "product":
        correction = 1 - values["p1"]
    else:
        correction = one_minus_power(values["beta1"], t)
    beta1, beta1_rest = two_parts(values["beta1"])
    beta2, beta2_rest = two_parts(values["beta2"])
    return Coefficients(
        rate=lr / correction,
        beta1=beta1,
        beta1_rest=beta1_rest,
        one_minus_beta1=1 - values["beta1"],
        beta2=beta2,
        beta2_rest=beta2_rest,
        eps=values["eps"],
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    # Epsilon is added in one place of three; in the others a zero is, which changes nothing: none of them is negative.
    at = {place: c.eps if axes["eps_at"] == place else jnp.zeros_like(c.eps) for place in CHOICES["eps_at"]}
    g = decayed_gradient(axes, c, w, g)
    m = carried(c.beta1, c.beta1_rest, slots["m"], c.one_minus_beta1 * g)
    u = jnp.maximum(carried(c.beta2, c.beta2_rest, slots["u"], at["norm"]), sizes(axes, g) + at["gradient"])
    w = decay_before(axes, c, w)
    w = w - c.rate * (m / (u + at["denominator"]))
    return decay_after(axes, c, w), {"m": m, "u": u}
