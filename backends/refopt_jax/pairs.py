"""Complex parameters: run as pairs of real numbers, one dimension more, of 2.

By their parts these are numbers like all others. By the modulus (axis `complex`) a square is that of the modulus, and
stands beside both parts of its number, so that all arrays of a parameter keep one shape.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from refopt_jax._shared import Axes


def as_pairs(array: jax.Array) -> jax.Array:
    return jnp.stack([array.real, array.imag], axis=-1)


def as_complex(pairs: jax.Array) -> jax.Array:
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])


def read_as(axes: Axes, is_complex: bool) -> Axes:
    """The axes of one parameter: of a real one, `complex` says nothing."""
    return {**axes, "complex": "parts"} if axes.get("complex") == "modulus" and not is_complex else axes


def squares(axes: Axes, products: jax.Array) -> jax.Array:
    """x*x, scaled or not: as it is, or by the modulus the sum over both parts."""
    if axes["complex"] != "modulus":
        return products
    return jnp.broadcast_to(jnp.sum(products, axis=-1, keepdims=True), products.shape)


def sizes(axes: Axes, x: jax.Array) -> jax.Array:
    """|x|, of each number or by the modulus."""
    if axes["complex"] != "modulus":
        return jnp.abs(x)
    return jnp.broadcast_to(jnp.hypot(x[..., :1], x[..., 1:]), x.shape)


def signs(axes: Axes, x: jax.Array) -> jax.Array:
    """x/|x|: of a real number its sign. For neither zero nor, of NaN, anything to rely on."""
    if axes["complex"] != "modulus":
        return jnp.sign(x)
    return x / sizes(axes, x)


def real(axes: Axes, number: jax.Array) -> jax.Array:
    """A real number; by the modulus that beside 0."""
    return number if axes["complex"] != "modulus" else jnp.stack([number, jnp.zeros_like(number)])


def once(axes: Axes, x: jax.Array) -> jax.Array:
    """What stands beside both parts of each number, once."""
    return x if axes["complex"] != "modulus" else x[..., 0]
