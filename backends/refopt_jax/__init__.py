"""The rules of refopt in JAX: written a second time, by hand, from their equations.

This package is a witness. Nothing in it runs the reference's source, so that where the two agree, two people would
have had to make the same mistake. Read a rule's file (`adam.py`, ...) beside its paper.

* `backend.BACKEND` runs the rules for refopt, one compiled call per step for the whole list of parameters;
* `as_optax(hyper)` is the same rules as an `optax.GradientTransformation`, to be used inside your own `jax.jit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refopt_jax.optax_transform import as_optax

__all__ = ["as_optax"]


def __getattr__(name: str) -> Any:
    if name == "as_optax":  # imports optax, which who only runs the backend need not have
        from refopt_jax.optax_transform import as_optax

        return as_optax
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
