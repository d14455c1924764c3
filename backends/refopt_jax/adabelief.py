"""AdaBelief: w = w - lr*m_hat/(sqrt(s_hat) + eps), s averaging the square of what m does not predict, and eps.

The rate is split as Adam's is: its power of two multiplies the step, the rest divides the denominator.
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
    split_power,
    two_parts,
)
from refopt_jax.pairs import squares

CHOICES = {
    "decay": DECAY,
    "eps_in": ("kept", "kept_root", "used", "none"),
    "eps_out": ("hat", "raw"),
    "rectified": ("no", "plain", "skip"),
    "belief": ("new", "old"),
    "bias": ("both", "none"),
    "nesterov": ("no", "yes"),
    "amsgrad": ("no", "raw"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    trusted: Scalar  # 1 if the variance can be trusted at this step, else 0
    power: Scalar  # of two, in the rate of the step
    rest: Scalar
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    one_minus_beta1: Scalar
    belief: Scalar  # what is left of the deviation from the first moment, once that has the gradient in it
    beta2: Scalar
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    kept: Scalar  # what the variance is raised by, and keeps
    over_c2: Scalar  # with the square of the rest
    inside: Scalar
    outside: Scalar
    ahead: Scalar  # what the first moment is multiplied with, where the step looks ahead
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, eps, wd = values["lr"], values["eps"], values["wd"]
    beta1, beta2 = values["beta1"], values["beta2"]
    corrects = axes["bias"] == "both"
    c1 = one_minus_power(beta1, t) if corrects else 1.0
    c2 = one_minus_power(beta2, t) if corrects else 1.0
    trusted, scale = (True, 1.0) if axes["rectified"] == "no" else rectification(beta2, t, xp)
    power, rest = split_power(lr * scale / c1, xp)
    ahead = beta1 * c1 / one_minus_power(beta1, t + 1) if axes["nesterov"] == "yes" else 1.0
    head1, rest1 = two_parts(beta1)
    head2, rest2 = two_parts(beta2)
    return Coefficients(
        trusted=xp.where(trusted, 1.0, 0.0),
        power=power,
        rest=rest,
        beta1=head1,
        beta1_rest=rest1,
        one_minus_beta1=1 - beta1,
        belief=beta1 if axes["belief"] == "new" else 1.0,
        beta2=head2,
        beta2_rest=rest2,
        one_minus_beta2=1 - beta2,
        kept={"kept": eps, "kept_root": values["eps_root"]}.get(axes["eps_in"], 0.0),
        over_c2=1 / (c2 * rest**2),
        inside=eps / (c2 * rest**2) if axes["eps_in"] == "used" else 0.0,
        outside=(eps / xp.sqrt(c2) if axes["eps_out"] == "raw" else eps) / rest,
        ahead=ahead,
        wd=wd,
        lr_wd=lr * wd,
    )


def rectification(beta2: float, t: Scalar, xp: Any) -> tuple[Scalar, Scalar]:
    """Whether the length of the average exceeds 5, and what the step is then multiplied with; 1 before."""
    infinite = 2 / (1 - beta2) - 1
    length = average_length(beta2, t, xp)
    trusted = length >= 5
    safe = xp.where(trusted, length, infinite)
    square = (safe - 4) / (infinite - 4) * ((safe - 2) / (infinite - 2)) * (infinite / safe)
    return trusted, xp.where(trusted, xp.sqrt(square), 1.0)


def average_length(beta2: float, t: Scalar, xp: Any) -> Scalar:
    """2/(1 - beta2) - 1 - 2*t*beta2**t/(1 - beta2**t). In float64 as it stands.

    In float32 this would cancel. With l = -log(beta2) and x = t*l the last term is 2*t/(exp(x) - 1): of that the first
    term of its series, 2/l, cancels on the host, and t - t*x/6 + t*x**3/360 - ... is left.
    """
    infinite = 2 / (1 - beta2) - 1
    if t.dtype == np.float64:
        power = beta2**t
        return infinite - 2 * t * power / (1 - power)
    rate = -math.log(beta2) if beta2 > 0 else 1000.0
    x = t * rate
    square = x * x
    series = 1 - x / 6 * (1 - square / 60 * (1 - square / 42 * (1 - square / 40 * (1 - square / 39.6))))
    near = infinite - 2 / rate + t * series
    return xp.where(x < 1, near, infinite - 2 * t / (xp.exp(x) - 1))


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    r = c.belief * (g - slots["m"])
    m = carried(c.beta1, c.beta1_rest, slots["m"], c.one_minus_beta1 * g)
    s = carried(c.beta2, c.beta2_rest, slots["s"], squares(axes, c.one_minus_beta2 * r * r) + c.kept)
    new = {"m": m, "s": s}
    if axes["amsgrad"] == "raw":
        s = new["s_max"] = jnp.maximum(slots["s_max"], s)
    d = jnp.sqrt(s * c.over_c2 + c.inside) + c.outside
    direction = c.ahead * m + c.one_minus_beta1 * g if axes["nesterov"] == "yes" else m
    if axes["rectified"] == "plain":
        d = jnp.where(c.trusted == 1, d, 1 / c.rest)
    w = decay_before(axes, c, w)
    moved = w - c.power * (direction / d)
    w = jnp.where(c.trusted == 1, moved, w) if axes["rectified"] == "skip" else moved
    return decay_after(axes, c, w), new
