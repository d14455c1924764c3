"""What several rules share: scalars and their rounding, weight decay, momentum, and the norm of a tensor.

A rule is two functions. `coefficients` computes the scalars of a step from the hyper-parameters and t: on the host
(`xp` is numpy), where they are float64, or inside a trace (`xp` is jax.numpy), where t and lr are arrays. `update`
takes these coefficients, rounded once, and one parameter with its gradient and slots. `CHOICES` says what it knows of
each axis: what it does not know is refused, not computed as something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from refopt.spec.errors import Unsupported

Axes = Mapping[str, str]
Scalar = Any  # a Python or NumPy float on the host, a 0-d array inside a trace
Slots = dict[str, jax.Array]
C = TypeVar("C", bound=tuple[Any, ...])

STATE = {"state_dtype": ("float32", "parameter")}
COMPLEX = {"complex": ("refuse", "parts", "modulus")}  # seen as pairs before they come here
DECAY = ("none", "l2", "decoupled", "decoupled_after", "decoupled_no_lr", "decoupled_no_lr_after")
NESTEROV = {"nesterov": ("no", "yes", "scaled")}


def scalar_dtype() -> Any:
    """The widest float that JAX has now: coefficients and norms are computed in it."""
    return jax.dtypes.canonicalize_dtype(np.float64)


def rounded(coefficients: C, dtype: Any) -> C:
    """The coefficients in the dtype that a parameter is updated in, each rounded once."""
    return jax.tree.map(lambda c: jnp.asarray(c, dtype), coefficients)


def two_parts(beta: float) -> tuple[Scalar, Scalar]:
    """beta as a number that float32 holds, and the rest: positive or zero, so that an infinite slot stays infinite."""
    head = float(np.float32(beta))
    if head > beta:
        head = float(np.nextafter(np.float32(beta), np.float32(0)))
    return head, beta - head


def carried(beta: Scalar, rest: Scalar, slot: jax.Array, arriving: jax.Array) -> jax.Array:
    """beta*slot + arriving, beta being in `two_parts`.

    Rounded to float32, 0.999 is 13e-9 too large: one minus it, and with it an average, is then off by 110 ULPs.
    """
    if slot.dtype == np.float64:
        return (beta + rest) * slot + arriving
    return beta * slot + (jnp.where(rest == 0, -0.0, rest * slot) + arriving)  # adding -0.0 changes nothing, not 0.0


def one_minus_power(beta: float, t: Scalar) -> Scalar:
    """1 - beta**t. In float64 as it stands; a float32 trace needs more care, or a beta of 0.999 loses four digits.

    With x = -t*log(beta) it is 1 - exp(-x) where that does not cancel, and the series x - x**2/2! + x**3/3! - ...
    elsewhere. Largest error found: 2.3 ULP (XLA's own expm1 on the CPU: 5 ULP, at x = 0.125).
    """
    if t.dtype == np.float64:
        return 1 - beta**t
    x = t * -(math.log(beta) if beta > 0 else -1000.0)  # exp(-1000) is 0, and 0 * 1000 is 0: 0**0 is 1
    series = 1.0
    for k in range(11, 1, -1):  # in Horner's form; 0.7**12/12! is below a tenth of float32's last bit
        series = 1 - x / k * series
    return jnp.where(x < 0.7, x * series, 1 - jnp.exp(-x))


def split_power(rate: Scalar, xp: Any) -> tuple[Scalar, Scalar]:
    """A power of two and what is left of the rate, from 1 to 2. Of zero and infinity there is nothing to split off."""
    fraction, exponent = xp.frexp(rate)
    splits = xp.isfinite(rate) & (rate != 0)
    return xp.where(splits, xp.ldexp(1.0, exponent - 1), rate), xp.where(splits, 2 * fraction, 1.0)


def decayed_gradient(axes: Axes, c: Any, w: jax.Array, g: jax.Array) -> jax.Array:
    """g + wd*w if the decay is L2 regularisation, else g itself."""
    return g + c.wd * w if axes["decay"] == "l2" else g


def decay_before(axes: Axes, c: Any, w: jax.Array) -> jax.Array:
    """Decoupled weight decay of the parameter before the step."""
    return _decayed(w, {"decoupled": c.lr_wd, "decoupled_no_lr": c.wd}.get(axes["decay"]))


def decay_after(axes: Axes, c: Any, w: jax.Array) -> jax.Array:
    """Decoupled weight decay of the parameter after the step."""
    return _decayed(w, {"decoupled_after": c.lr_wd, "decoupled_no_lr_after": c.wd}.get(axes["decay"]))


def _decayed(w: jax.Array, rate: Scalar | None) -> jax.Array:
    return w if rate is None else w - rate * w


def ride(axes: Axes, c: Any, g: jax.Array, scaled: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The step along the velocity, and the new velocity.

    The velocity is mu*u plus the gradient, scaled; or at the first step the gradient unscaled. The step is the velocity
    or Nesterov's look ahead along it, times lr where the gradient has not brought that in already.
    """
    moved = carried(c.mu, c.mu_rest, u, scaled)
    u = jnp.where(c.t == 1, g, moved) if axes.get("first_step") == "copy_gradient" else moved
    ahead = carried(c.mu, c.mu_rest, u, c.one_minus_mu * g if axes["nesterov"] == "scaled" else g)
    step = u if axes["nesterov"] == "no" else ahead
    return (step if axes["lr_at"] == "inside" else c.lr * step), u


def refuse_shards(w: jax.Array, because: str) -> None:
    """Refuse a parameter that an Explicit mesh cuts, of a rule that looks along its dimensions; Auto meshes gather."""
    sharding = getattr(jax.typeof(w), "sharding", None) if hasattr(jax, "typeof") else None
    if sharding is not None and any(sharding.spec) and sharding.mesh.explicit_axes:
        raise Unsupported(
            f"jax: {because}, and a parameter of this Explicit mesh is cut as {sharding.spec}; replicate it, or make"
            f" the mesh's axes Auto"
        )


def norm(x: jax.Array) -> jax.Array:
    """The Euclidean norm over all elements, in `scalar_dtype()`.

    In float64 as it stands. In float32 squares would overflow from 1.8e19 and vanish below 1e-23, so the elements are
    first divided by a power of two (exactly) near the largest.
    """
    x = x.astype(scalar_dtype())
    if x.dtype == np.float64:
        return _norm_of_norms(x)
    scale = _scale(x)
    return _norm_of_norms(x * (1 / scale)) * scale


def sum_of_squares(x: jax.Array) -> jax.Array:
    """The square of the norm, exact where no addition has to round."""
    x = x.astype(scalar_dtype())
    scale = 1.0 if x.dtype == np.float64 else _scale(x)
    x = x * (1 / scale)
    x = x * x
    for _ in range(x.ndim):  # axis by axis, as below
        x = jnp.sum(x, axis=-1)
    return x * scale * scale


def total(arrays: Sequence[jax.Array]) -> jax.Array:
    """The sum of all elements of all arrays, in `scalar_dtype()`."""
    whole = jnp.zeros((), scalar_dtype())
    for x in arrays:
        x = x.astype(scalar_dtype())
        for _ in range(x.ndim):  # axis by axis, as below
            x = jnp.sum(x, axis=-1)
        whole += x
    return whole


def _scale(x: jax.Array) -> jax.Array:
    """The power of two nearest to the largest element."""
    largest = jnp.clip(jnp.max(jnp.abs(x), initial=0.0), 2.0**-126, 2.0**126)
    return jax.lax.reduce_precision(largest, exponent_bits=8, mantissa_bits=0)


def _norm_of_norms(x: jax.Array) -> jax.Array:
    """The norm of the norms of the rows, axis by axis.

    Over a small matrix at once XLA would add one by one. Flat it adds in a tree; but to flatten a matrix whose columns
    are sharded all of it must be gathered, which an Explicit mesh refuses.
    """
    x = jnp.abs(x)
    for _ in range(x.ndim):
        x = jnp.sqrt(jnp.sum(x * x, axis=-1))
    return x
