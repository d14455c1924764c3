"""The exponential moving average of parameters, m = mu*m + (1 - mu)*w. It changes no parameter, reads no gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import Axes, Scalar, Slots, one_minus_power, rounded

CHOICES = {
    "init": ("zeros", "params", "first_update"),
    "decay_schedule": ("constant", "warmup_0", "warmup_1", "power", "mean"),
    "debias": ("none", "standard", "objax"),
}


class Coefficients(NamedTuple):
    t: Scalar
    mu: Scalar  # today's, after the schedule
    one_minus_mu: Scalar
    correction: Scalar  # what the average is divided by, when it is read


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t, and of reading the average after it."""
    mu = _scheduled(axes, values, t, xp)
    return Coefficients(t=t, mu=mu, one_minus_mu=1 - mu, correction=_correction(axes, values, t))


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
    m = c.mu * slots["m"] + c.one_minus_mu * w
    if axes["init"] == "first_update":
        m = jnp.where(c.t == 1, w, m)
    return w, {"m": m}


def average(axes: Axes, c: Coefficients, slots: Slots) -> jax.Array:
    """What to evaluate the model with, for one parameter."""
    m = slots["m"]
    return m / rounded(c, m.dtype).correction
