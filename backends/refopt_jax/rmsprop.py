"""RMSprop: w = w - lr*g/(sqrt(v) + eps), v being a running mean of g*g, or the variance that is left of it.

The mean square is corrected by a multiplication, as in `adam`: XLA may or may not divide by a scalar so.
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
from refopt_jax.pairs import squares

CHOICES = {
    "decay": DECAY,
    "init": ("zeros", "ones", "value"),
    "eps_at": ("outside", "inside"),
    "centered": ("no", "yes"),
    "bias": ("none", "corrected"),
    "velocity": ("none", "heavy_ball", "nesterov"),
    "lr_at": ("outside", "inside"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    t: Scalar
    lr: Scalar
    rho: Scalar  # in two parts
    rho_rest: Scalar
    one_minus_rho: Scalar
    over_c: Scalar  # one over the correction of the mean square, 1 where there is none
    start: Scalar  # what the mean square starts from
    inside: Scalar  # what is added inside the root, and to it
    outside: Scalar
    mu: Scalar  # in two parts
    mu_rest: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, eps, wd = values["lr"], values["eps"], values["wd"]
    rho, rho_rest = two_parts(values["rho"])
    mu, mu_rest = two_parts(values["mu"])
    inside, outside = (eps, 0.0) if axes["eps_at"] == "inside" else (0.0, eps)
    return Coefficients(
        t=t,
        lr=lr,
        rho=rho,
        rho_rest=rho_rest,
        one_minus_rho=1 - values["rho"],
        over_c=1 / one_minus_power(values["rho"], t) if axes["bias"] == "corrected" else 1.0,
        start={"zeros": 0.0, "ones": 1.0, "value": values["start"]}[axes["init"]],
        inside=inside,
        outside=outside,
        mu=mu,
        mu_rest=mu_rest,
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    v = slots["v"] if axes["init"] == "zeros" else jnp.where(c.t == 1, c.start, slots["v"])
    v = carried(c.rho, c.rho_rest, v, squares(axes, c.one_minus_rho * g * g))
    new = {"v": v}
    spread = v * c.over_c
    if axes["centered"] == "yes":
        new["m"] = carried(c.rho, c.rho_rest, slots["m"], c.one_minus_rho * g)
        spread = v - squares(axes, new["m"] * new["m"])
    step = g / (jnp.sqrt(spread + c.inside) + c.outside)
    if axes["lr_at"] == "inside":
        step = c.lr * step
    if axes["velocity"] != "none":
        u = carried(c.mu, c.mu_rest, slots["u"], step)
        new["u"] = u
        step = carried(c.mu, c.mu_rest, u, step) if axes["velocity"] == "nesterov" else u
    w = decay_before(axes, c, w)
    w = w - (step if axes["lr_at"] == "inside" else c.lr * step)
    return decay_after(axes, c, w), new
