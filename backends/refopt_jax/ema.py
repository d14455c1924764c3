"""The exponential moving average of parameters, m = mu*m + (1 - mu)*w. It changes no parameter, reads no gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import STATE, Axes, Scalar, Slots, carried, one_minus_power, rounded, two_parts

CHOICES = {
    "init": ("zeros", "params", "first_update"),
    "decay_schedule": ("constant", "warmup_0", "warmup_1", "power", "mean"),
    "debias": ("none", "standard", "objax"),
    **STATE,
}


class Coefficients(NamedTuple):
    t: Scalar
    mu: Scalar  # today's, after the schedule, in two parts
    mu_rest: Scalar
    one_minus_mu: Scalar
    over_correction: Scalar  # what the average is multiplied with when it is read: see `adam`


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t, and of reading the average after it."""
    mu = _scheduled(axes, values, t, xp)
    head, rest = two_parts(mu)
    return Coefficients(
        t=t, mu=head, mu_rest=rest, one_minus_mu=1 - mu, over_correction=1 / _correction(axes, values, t)
    )


def _scheduled(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Scalar:
    mu, schedule = values["mu"], axes["decay_schedule"]
    if schedule == "warmup_0":
        return xp.minimum(mu, t / (9 + t))
    if schedule == "warmup_1":
        return xp.minimum(mu, (1 + t) / (10 + t))
    if schedule == "power":
        return xp.minimum(mu, 1 - (1 + (t - 1) / values["inv_gamma"]) ** -values["power"])
    if schedule == "mean":
        return 1 - 1 / t
    return mu


def _correction(axes: Axes, values: Mapping[str, Scalar], t: Scalar) -> Scalar:
    if axes["debias"] == "standard":
        return one_minus_power(values["mu"], t)
    if axes["debias"] == "objax":
        return 1 - (1 - values["eps"]) * values["mu"] ** t
    return 1.0


def update(axes: Axes, c: Coefficients, w: jax.Array, g: None, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of the average of one parameter."""
    c = rounded(c, w.dtype)
    m = carried(c.mu, c.mu_rest, slots["m"], c.one_minus_mu * w)
    if axes["init"] == "first_update":
        m = jnp.where(c.t == 1, w, m)
    return w, {"m": m}


def average(axes: Axes, c: Coefficients, slots: Slots) -> jax.Array:
    """What to evaluate the model with, for one parameter."""
    m = slots["m"]
    return m * rounded(c, m.dtype).over_correction
