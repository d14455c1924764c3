"""RAdam: Adam whose step is rectified, by a number of the step, and not adaptive while its second moment is too young.

Both steps are computed, and the number `tractable` says which of them is taken: so nothing is compiled anew when the
warm-up ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
from refopt_jax.pairs import squares

CHOICES = {
    "warm_up": ("sgd", "skip"),
    "decay": DECAY,
    "threshold_at": ("4", "5", "given"),
    "eps_at": ("outside_hat", "outside_raw", "both"),
    "nesterov": ("no", "yes"),
    "first_t": ("1", "2"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    lr: Scalar
    rectified: Scalar  # lr times the rectification
    tractable: Scalar  # 1 if the step is adaptive, else 0
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    beta2: Scalar
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    of_m: Scalar  # what the moment and the gradient are multiplied with
    of_g: Scalar
    over_c2: Scalar
    inside: Scalar  # what is added inside the root, and to it
    outside: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, wd, beta1, beta2 = (values[name] for name in ("lr", "wd", "beta1", "beta2"))
    t = t + (int(axes["first_t"]) - 1)  # as the implementation counts it
    limit, length = 2 / (1 - beta2) - 1, average_length(beta2, t, xp)
    least = values["threshold"] if axes["threshold_at"] == "given" else float(axes["threshold_at"])
    tractable = length > least
    excess = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    c1, c2 = one_minus_power(beta1, t), one_minus_power(beta2, t)
    head1, rest1 = two_parts(beta1)
    head2, rest2 = two_parts(beta2)
    ahead = axes["nesterov"] == "yes"
    return Coefficients(
        lr=lr,
        rectified=lr * xp.sqrt(xp.where(tractable, excess, 0.0)),
        tractable=xp.where(tractable, 1.0, 0.0),
        beta1=head1,
        beta1_rest=rest1,
        one_minus_beta1=1 - beta1,
        beta2=head2,
        beta2_rest=rest2,
        one_minus_beta2=1 - beta2,
        of_m=beta1 / one_minus_power(beta1, t + 1) if ahead else 1 / c1,
        of_g=(1 - beta1) / c1,
        over_c2=1 / c2,
        inside=values["eps_root"] if axes["eps_at"] == "both" else 0.0,
        outside=values["eps"] / xp.sqrt(c2) if axes["eps_at"] == "outside_raw" else values["eps"],
        wd=wd,
        lr_wd=lr * wd,
    )


def average_length(beta2: float, t: Scalar, xp: Any) -> Scalar:
    """How many gradients the second moment is worth: 2/(1 - beta2) - 1 - 2*t*beta2**t/(1 - beta2**t).

    In float64 as it stands. In float32 the difference of these large numbers has two digits left at a beta2 of 0.999;
    with h(x) = x/(exp(x) - 1) and y = -log(beta2) it is 1 + 2*(h(y) - h(t*y))/y, of which the series does not cancel.
    """
    if t.dtype == np.float64:
        power = beta2**t
        return 2 / (1 - beta2) - 1 - 2 * t * power / (1 - power)
    if beta2 == 0:
        return xp.ones_like(t)
    y = -math.log(beta2)
    x = t * y
    series = t - 1
    for power, number in ((2, -6), (4, 360), (6, -15120), (8, 604800)):  # 2/n! times Bernoulli's numbers
        series = series + y ** (power - 1) / number * (t**power - 1)
    return 1 + xp.where(x < 1, series, 2 * (y / math.expm1(y) - x / xp.expm1(x)) / y)


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    tractable = c.tractable == 1
    g = decayed_gradient(axes, c, w, g)
    m = carried(c.beta1, c.beta1_rest, slots["m"], c.one_minus_beta1 * g)
    v = carried(c.beta2, c.beta2_rest, slots["v"], squares(axes, c.one_minus_beta2 * g * g))
    m_hat = c.of_m * m + c.of_g * g if axes["nesterov"] == "yes" else c.of_m * m
    d = jnp.sqrt(v * c.over_c2 + c.inside) + c.outside
    before = decay_before(axes, c, w)
    new = before - jnp.where(tractable, c.rectified * (m_hat / d), c.lr * m_hat)
    new = decay_after(axes, c, new)
    return jnp.where(tractable, new, w) if axes["warm_up"] == "skip" else new, {"m": m, "v": v}
