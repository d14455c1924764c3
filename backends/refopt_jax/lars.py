"""LARS: layer-wise adaptive rate scaling.

trust = tc*|w| / (|g| + wd*|w|); u = mu*u + lr*trust*(g + wd*w); w = w - u. The norms and the trust are one number per
tensor: they are computed in the dtype of the coefficients, and rounded where they meet the tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import NESTEROV, STATE, Axes, Scalar, Slots, norm, ride, rounded, two_parts

CHOICES = {
    "denominator": ("split", "joint"),
    "eps_at": ("none", "denominator"),
    "clip": ("no", "min"),
    "zero_norm": ("one", "max", "raw_no_decay", "denominator_only"),
    "when": ("always", "decay", "matrices"),
    "trust_of": ("gradient", "velocity"),
    "lr_at": ("inside", "outside"),
    **NESTEROV,
    **STATE,
}


class Coefficients(NamedTuple):
    t: Scalar
    lr: Scalar
    mu: Scalar  # in two parts
    mu_rest: Scalar
    one_minus_mu: Scalar
    wd: Scalar
    tc: Scalar
    eps: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    mu = values["mu"]
    head, rest = two_parts(mu)
    return Coefficients(
        t=t,
        lr=values["lr"],
        mu=head,
        mu_rest=rest,
        one_minus_mu=1 - mu,
        wd=values["wd"],
        tc=values["tc"],
        eps=values["eps"],
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    r = rounded(c, w.dtype)
    p = g + r.wd * w
    if axes["trust_of"] == "velocity":
        h = r.lr * p if axes["lr_at"] == "inside" else p
        step, u = ride(axes, r, h, h, slots["u"])
        trust, _ = _trust(axes, c, w, u)
        return w - trust.astype(w.dtype) * step, {"u": u}
    trust, zero = _trust(axes, c, w, p if axes["denominator"] == "joint" else g)
    if axes["zero_norm"] == "raw_no_decay":
        p = g + jnp.where(zero, 0, r.wd) * w
    rate = c.lr * trust if axes["lr_at"] == "inside" else trust
    h = rate.astype(w.dtype) * p
    step, u = ride(axes, r, h, h, slots["u"])
    return w - step, {"u": u}


def _trust(axes: Axes, c: Coefficients, w: jax.Array, against: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What the rate of this tensor is multiplied by, and whether one of the two norms is zero."""
    w_norm, g_norm = norm(w), norm(against)
    d = g_norm if axes["denominator"] == "joint" else g_norm + c.wd * w_norm
    if axes["eps_at"] == "denominator":
        d = d + c.eps
    ratio = c.tc * w_norm / d
    if axes["clip"] == "min":
        ratio = jnp.minimum(ratio / c.lr, 1)
    zero = (w_norm == 0) | (g_norm == 0)
    unscaled = jnp.ones_like(ratio)
    if axes["zero_norm"] == "max":
        trust = jnp.where(zero, jnp.maximum(1, ratio), ratio)
    else:
        trust = jnp.where(d == 0 if axes["zero_norm"] == "denominator_only" else zero, unscaled, ratio)
    if axes["when"] == "decay":
        trust = jnp.where(c.wd == 0, unscaled, trust)
    elif axes["when"] == "matrices" and w.ndim < 2:
        trust = unscaled
    return trust, zero
