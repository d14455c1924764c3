"""Momentum, heavy ball and Nesterov: u = mu*u + g; w = w - lr*u."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from refopt_jax._shared import (
    DECAY,
    NESTEROV,
    STATE,
    Axes,
    Scalar,
    Slots,
    decay_after,
    decay_before,
    decayed_gradient,
    ride,
    rounded,
    two_parts,
)

CHOICES = {
    "decay": DECAY,
    "gradient_scale": ("one", "dampening", "ema"),
    "lr_at": ("outside", "inside"),
    "first_step": ("zeros", "copy_gradient"),
    **NESTEROV,
    **STATE,
}


class Coefficients(NamedTuple):
    t: Scalar
    lr: Scalar
    mu: Scalar  # in two parts
    mu_rest: Scalar
    one_minus_mu: Scalar
    gradient_scale: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, mu, wd = values["lr"], values["mu"], values["wd"]
    head, rest = two_parts(mu)
    scales = {"one": 1.0, "dampening": 1 - values["dampening"], "ema": 1 - mu}
    return Coefficients(
        t=t,
        lr=lr,
        mu=head,
        mu_rest=rest,
        one_minus_mu=1 - mu,
        gradient_scale=scales[axes["gradient_scale"]],
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    if axes["lr_at"] == "inside":
        g = c.lr * g
    step, u = ride(axes, c, g, c.gradient_scale * g, slots["u"])
    w = decay_before(axes, c, w) - step
    return decay_after(axes, c, w), {"u": u}
