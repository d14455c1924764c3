"""LAMB: Adam's direction r = m_hat/(sqrt(v_hat) + eps) with the decay, u = r + wd*w, as long as the parameter is.

w = w - lr*|w|/|u|*u. The norms and the trust are one number per tensor: they are computed in the dtype of the
coefficients, and rounded where they meet the tensor. As in `adam`, no tensor is divided by a scalar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import (
    COMPLEX,
    STATE,
    Axes,
    Scalar,
    Slots,
    carried,
    decay_before,
    decayed_gradient,
    norm,
    one_minus_power,
    rounded,
    two_parts,
)
from refopt_jax.pairs import squares

CHOICES = {
    "grad_clip": ("no", "max", "min"),
    "decay": ("inside", "l2", "decoupled"),
    "bias": ("both", "none", "rate", "rate_m"),
    "grad_averaging": ("yes", "no"),
    "eps_at": ("outside_hat", "both"),
    "clamp": ("no", "ten"),
    "ratio_eps": ("no", "yes"),
    "clip": ("no", "one"),
    "zero_norm": ("one", "positive"),
    "when": ("always", "decay"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    rate: Scalar  # lr, corrected if the axes say so
    beta1: Scalar  # in two parts
    beta1_rest: Scalar
    entering: Scalar  # what the gradient is scaled by on its way into m
    beta2: Scalar
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    over_c1: Scalar  # one over the bias corrections of the moments
    over_c2: Scalar
    inside: Scalar  # what is added inside the root
    eps: Scalar
    max_norm: Scalar
    wd: Scalar
    lr_wd: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    lr, wd = values["lr"], values["wd"]
    c1 = one_minus_power(values["beta1"], t)
    c2 = one_minus_power(values["beta2"], t)
    corrected = axes["bias"] == "both"
    beta1, beta1_rest = two_parts(values["beta1"])
    beta2, beta2_rest = two_parts(values["beta2"])
    return Coefficients(
        rate={"rate": lr * xp.sqrt(c2) / c1, "rate_m": lr / c1}.get(axes["bias"], lr),
        beta1=beta1,
        beta1_rest=beta1_rest,
        entering=1 - values["beta1"] if axes["grad_averaging"] == "yes" else 1.0,
        beta2=beta2,
        beta2_rest=beta2_rest,
        one_minus_beta2=1 - values["beta2"],
        over_c1=1 / c1 if corrected else 1.0,
        over_c2=1 / c2 if corrected else 1.0,
        inside=values["eps_root"] if axes["eps_at"] == "both" else 0.0,
        eps=values["eps"],
        max_norm=values["max_norm"],
        wd=wd,
        lr_wd=lr * wd,
    )


def measure(
    each: list[Axes], c: Coefficients, params: list[jax.Array], grads: list[jax.Array], slots: list[Slots]
) -> tuple[jax.Array | None, dict[str, jax.Array]]:
    """What the gradients are multiplied by, so that their norm over the model is not above max_norm."""
    clip = each[0]["grad_clip"]
    if clip == "no":
        return None, {}
    n = norm(jnp.stack([norm(g) for g in grads]))
    if clip == "max":
        return 1 / jnp.maximum(1, n / c.max_norm), {}
    return jnp.minimum(1, c.max_norm / (n + c.eps)), {}


def update(
    axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots, clip: jax.Array | None
) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    r = rounded(c, w.dtype)
    g = g if clip is None else g * clip.astype(g.dtype)
    g = decayed_gradient(axes, r, w, g)
    m = carried(r.beta1, r.beta1_rest, slots["m"], r.entering * g)
    v = carried(r.beta2, r.beta2_rest, slots["v"], squares(axes, r.one_minus_beta2 * g * g))
    u = m * r.over_c1 / (jnp.sqrt(v * r.over_c2 + r.inside) + r.eps)
    if axes["decay"] == "inside":
        u = u + r.wd * w
    w = decay_before(axes, r, w)
    return w - (c.rate * _trust(axes, c, w, u)).astype(w.dtype) * u, {"m": m, "v": v}


def _trust(axes: Axes, c: Coefficients, w: jax.Array, u: jax.Array) -> jax.Array:
    """How much longer the parameter is than the direction."""
    w_norm, u_norm = norm(w), norm(u)
    if axes["clamp"] == "ten":
        w_norm = jnp.minimum(w_norm, 10)
    ratio = w_norm / (u_norm + c.eps if axes["ratio_eps"] == "yes" else u_norm)
    if axes["clip"] == "one":
        ratio = jnp.minimum(ratio, 1)
    positive = axes["zero_norm"] == "positive"  # a norm of NaN is not
    scales = (w_norm > 0) & (u_norm > 0) if positive else (w_norm != 0) & (u_norm != 0)
    if axes["when"] == "decay":
        scales &= c.wd != 0
    return jnp.where(scales, ratio, jnp.ones_like(ratio))
