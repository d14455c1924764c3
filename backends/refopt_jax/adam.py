"""Adam: w = w - lr*m_hat/(sqrt(v_hat) + eps), with running averages m of g and v of g*g, corrected for their start.

`power="product"` corrects by the product of the betas so far: two numbers for the whole model, kept in float64 on the
host and advanced by `advance`.

The first correction is folded into the rate, lr / c1. Of that only the power of two multiplies the step, exactly; the
rest, between 1 and 2, divides the denominator, before the root, which halves its rounding.

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
from refopt_jax.pairs import squares

CHOICES = {
    "decay": DECAY,
    "power": ("power", "product"),
    "first_t": ("1", "0", "2"),
    "bias": ("both", "none", "m_only", "v_only"),
    "eps_at": ("outside_hat", "outside_raw", "inside_hat", "inside_raw", "both"),
    "amsgrad": ("no", "raw", "corrected"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    power: Scalar  # of two, in lr / c1; c1 and c2 are the bias corrections, 1 where there is none
    over_square: Scalar  # one over the square of the rest
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    beta2: Scalar
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    over_c2: Scalar
    inside: Scalar  # what is added inside the root, and to it
    outside: Scalar
    wd: Scalar
    lr_wd: Scalar


def advance(
    axes: Axes, values: Mapping[str, Scalar], products: Mapping[str, Scalar], t: Scalar, xp: Any
) -> dict[str, Scalar]:
    """The products of the betas (slots p1 and p2, where the axes keep them) after one more step."""
    betas = {"p1": values["beta1"], "p2": values["beta2"]}
    return {name: product * betas[name] for name, product in products.items()}


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t. `values` holds the advanced products too, where the axes keep them."""
    lr, eps, wd = values["lr"], values["eps"], values["wd"]
    c1 = _correction(axes, values, "p1", values["beta1"], t) if axes["bias"] in ("both", "m_only") else 1.0
    c2 = _correction(axes, values, "p2", values["beta2"], t) if axes["bias"] in ("both", "v_only") else 1.0
    power, rest = split_power(lr / c1, xp)
    # "raw" adds eps to the uncorrected moment: seen from the corrected one, eps is divided by the correction.
    inside, outside = {
        "outside_hat": (0.0, eps),
        "outside_raw": (0.0, eps / xp.sqrt(c2)),
        "inside_hat": (eps, 0.0),
        "inside_raw": (eps / c2, 0.0),
        "both": (values["eps_root"], eps),
    }[axes["eps_at"]]
    beta1, beta1_rest = two_parts(values["beta1"])
    beta2, beta2_rest = two_parts(values["beta2"])
    return Coefficients(
        power=power,
        over_square=1 / rest**2,
        beta1=beta1,
        beta1_rest=beta1_rest,
        one_minus_beta1=1 - values["beta1"],
        beta2=beta2,
        beta2_rest=beta2_rest,
        one_minus_beta2=1 - values["beta2"],
        over_c2=1 / c2 if axes["amsgrad"] == "corrected" else 1 / (c2 * rest**2),
        inside=inside / rest**2,
        outside=outside / rest,
        wd=wd,
        lr_wd=lr * wd,
    )


def _correction(axes: Axes, values: Mapping[str, Scalar], product: str, beta: float, t: Scalar) -> Scalar:
    if axes["power"] == "product":
        return 1 - values[product]
    first = {"0": -1, "1": 0, "2": 1}[axes["first_t"]]  # t counts from 1
    return one_minus_power(beta, t + first)


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    m = carried(c.beta1, c.beta1_rest, slots["m"], c.one_minus_beta1 * g)
    v = carried(c.beta2, c.beta2_rest, slots["v"], squares(axes, c.one_minus_beta2 * g * g))
    new = {"m": m, "v": v}
    if axes["amsgrad"] == "corrected":
        new["v_max"] = jnp.maximum(slots["v_max"], v * c.over_c2)
        scaled = new["v_max"] * c.over_square
    elif axes["amsgrad"] == "raw":
        new["v_max"] = jnp.maximum(slots["v_max"], v)
        scaled = new["v_max"] * c.over_c2
    else:
        scaled = v * c.over_c2
    d = jnp.sqrt(scaled + c.inside) + c.outside
    w = decay_before(axes, c, w)
    w = w - c.power * (m / d)  # not (c.power * m) / d: what is subnormal on the way there is lost
    return decay_after(axes, c, w), new
