"""Schedule-free AdamW: `schedule_free`, whose gradient is divided by sqrt(v) + eps, v averaging g*g.

The correction of v for its start is folded into the rate, lr*sqrt(1 - beta2**t), which then decays and weighs too; or
v is multiplied with its reciprocal (see `adam`). Keras decays w before the step, of which x has the larger part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import COMPLEX, STATE, Axes, Scalar, Slots, carried, one_minus_power, rounded, two_parts
from refopt_jax.pairs import squares
from refopt_jax.schedule_free import WEIGHT, advanced, average, mixed, share

__all__ = ["CHOICES", "Coefficients", "advance", "average", "coefficients", "update"]

CHOICES = {"decay": ("at_y", "at_z", "at_x"), "bias": ("rate", "v"), **WEIGHT, **STATE, **COMPLEX}


class Coefficients(NamedTuple):
    rate: Scalar
    beta2: Scalar  # in two parts
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    over_c2: Scalar  # one over the correction of v
    eps: Scalar
    wd: Scalar
    from_x: Scalar  # what Keras's decay takes of w from x
    share: Scalar  # of z in x
    rest: Scalar
    beta1: Scalar
    one_minus_beta1: Scalar


def advance(
    axes: Axes, values: Mapping[str, Scalar], numbers: Mapping[str, Scalar], t: Scalar, xp: Any
) -> dict[str, Scalar]:
    """The sum of the weights and the largest rate after step t."""
    return advanced(axes, values, numbers, _rate(axes, values, t, xp), t, xp)


def _rate(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Scalar:
    """The rate of step t, corrected if the axes say so."""
    lr = values["lr"]
    return lr if axes["bias"] == "v" else lr * xp.sqrt(one_minus_power(values["beta2"], t))


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t. `values` holds the advanced numbers too."""
    rate = _rate(axes, values, t, xp)
    c = share(axes, values, rate, t, xp)
    beta1, (head, rest) = values["beta1"], two_parts(values["beta2"])
    return Coefficients(
        rate=rate,
        beta2=head,
        beta2_rest=rest,
        one_minus_beta2=1 - values["beta2"],
        over_c2=1 / one_minus_power(values["beta2"], t) if axes["bias"] == "v" else 1.0,
        eps=values["eps"],
        wd=values["wd"],
        from_x=values["lr"] * values["wd"] / beta1,
        share=c,
        rest=1 - c,
        beta1=beta1,
        one_minus_beta1=1 - beta1,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    v = carried(c.beta2, c.beta2_rest, slots["v"], squares(axes, c.one_minus_beta2 * g * g))
    u = g / (jnp.sqrt(v * c.over_c2) + c.eps)
    x = slots["x"]
    if axes["decay"] == "at_x":
        x = x - c.from_x * w
    else:
        u = u + c.wd * (slots["z"] if axes["decay"] == "at_z" else w)
    z = slots["z"] - c.rate * u
    x, w = mixed(c, x, z)
    return w, {"v": v, "x": x, "z": z}
