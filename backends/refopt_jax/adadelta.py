"""Adadelta: w = w - lr*h, where h = sqrt(s + eps)/sqrt(v + eps) * g; v and s are mean squares of g and of h before."""

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
    rounded,
    two_parts,
)
from refopt_jax.pairs import squares

CHOICES = {
    "decay": DECAY,
    "eps_at": ("inside", "outside"),
    "lr_at": ("outside", "inside"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    lr: Scalar
    rho: Scalar  # in two parts
    rho_rest: Scalar
    one_minus_rho: Scalar
    eps: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of every step alike."""
    lr, rho, wd = values["lr"], values["rho"], values["wd"]
    head, rest = two_parts(rho)
    return Coefficients(
        lr=lr,
        rho=head,
        rho_rest=rest,
        one_minus_rho=1 - rho,
        eps=values["eps"],
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    v = carried(c.rho, c.rho_rest, slots["v"], squares(axes, c.one_minus_rho * g * g))
    step = _rms(axes, c, slots["s"]) / _rms(axes, c, v) * g
    if axes["lr_at"] == "inside":
        step = c.lr * step
    s = carried(c.rho, c.rho_rest, slots["s"], squares(axes, c.one_minus_rho * step * step))
    w = decay_before(axes, c, w)
    w = w - (step if axes["lr_at"] == "inside" else c.lr * step)
    return decay_after(axes, c, w), {"v": v, "s": s}


def _rms(axes: Axes, c: Coefficients, mean_square: jax.Array) -> jax.Array:
    """The root mean square, with epsilon inside or outside the root."""
    return jnp.sqrt(mean_square) + c.eps if axes["eps_at"] == "outside" else jnp.sqrt(mean_square + c.eps)
