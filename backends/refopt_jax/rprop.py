"""Rprop: steps of a size that each element has for itself, against the sign of the gradient.

A size grows where the gradient keeps its sign, and shrinks where it changes it. The rate is what sizes start from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from refopt_jax._shared import COMPLEX, STATE, Axes, Scalar, Slots, rounded

CHOICES = {
    "sign_change": ("back", "on", "rest"),
    "bounds": ("apart", "both", "always"),
    "moment": ("now", "late"),
    "nan": ("kept", "ignored"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    t: Scalar
    lr: Scalar
    eta_minus: Scalar
    eta_plus: Scalar
    s_min: Scalar
    s_max: Scalar


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t."""
    return Coefficients(t, *(values[name] for name in Coefficients._fields[1:]))


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    if axes["nan"] == "ignored":
        g = jnp.where(jnp.isnan(g), 0, g)
    direction = _sign(g)
    agreement = _sign(slots["d"] if axes["moment"] == "late" else slots["g_old"]) * direction
    changed = agreement < 0
    s = _sizes(axes, c, jnp.where(c.t == 1, c.lr, slots["s"]), agreement)
    step = s * direction
    if axes["sign_change"] == "on":
        return w - step, {"s": s, "g_old": g}
    if axes["moment"] == "late":
        return w - jnp.where(changed, 0, slots["d"]), {"s": s, "d": jnp.where(changed, 0, step)}
    g_old = jnp.where(changed, 0, g)
    if axes["sign_change"] == "rest":
        return w - jnp.where(changed, 0, step), {"s": s, "g_old": g_old}
    d = jnp.where(changed, -slots["d"], step)
    return w - d, {"s": s, "g_old": g_old, "d": d}


def _sizes(axes: Axes, c: Coefficients, s: jax.Array, agreement: jax.Array) -> jax.Array:
    """The new step sizes: those of elements without a gradient, now or before, stay as they are."""
    grown, shrunk = c.eta_plus * s, c.eta_minus * s
    if axes["bounds"] == "apart":
        grown, shrunk = jnp.minimum(grown, c.s_max), jnp.maximum(shrunk, c.s_min)
    elif axes["bounds"] == "both":
        grown, shrunk = _clipped(c, grown), _clipped(c, shrunk)
    s = jnp.where(agreement > 0, grown, jnp.where(agreement < 0, shrunk, s))
    return _clipped(c, s) if axes["bounds"] == "always" else s


def _clipped(c: Coefficients, s: jax.Array) -> jax.Array:
    return jnp.minimum(jnp.maximum(s, c.s_min), c.s_max)


def _sign(x: jax.Array) -> jax.Array:
    """-1, 0 or 1, of either zero 0, of NaN NaN. From the bits: on CPUs, XLA takes subnormal numbers for zero."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32 if x.dtype == np.float32 else jnp.int64)
    sign = jnp.where(bits << 1 == 0, 0, jnp.where(bits < 0, -1, 1)).astype(x.dtype)
    return jnp.where(jnp.isnan(x), x, sign)
