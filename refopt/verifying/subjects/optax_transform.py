"""optax gradient transformations: factories such as `optax.adam`, driven on the CPU."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refopt.spec.errors import Unsupported
from refopt.verifying.subjects.base import signature


class OptaxSubject:
    """A function that takes hyper-parameters and returns a gradient transformation. The rate is given as a schedule."""

    framework = "optax"

    def __init__(self, name: str, target: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.name, self.target = name, target
        self.jax = importlib.import_module("jax")
        self.optax = importlib.import_module("optax")
        self.signature = signature(name, target, options)
        self.fixed, self.defaults = self.signature.fixed, self.signature.defaults
        # An eps_root of zero is no convention: it is probed only where the user gives one.
        self.settable = frozenset(self.signature.argument) - ({"eps_root"} - set(self.fixed))
        self.per_step = self.settable & {"lr"}
        self.versions = {"optax": self.optax.__version__, "jax": self.jax.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        """Whether it makes a gradient transformation: its annotation or its module says so."""
        target = target.func if isinstance(target, functools.partial) else target  # optax.nadam is one of optax.adam
        annotation = str(getattr(target, "__annotations__", {}).get("return", ""))
        return "GradientTransformation" in annotation or str(getattr(target, "__module__", "")).startswith("optax.")

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax):
            rates = jnp.asarray([now.get("lr", 0.0) for now in hyper], params[0].dtype)
            constants: dict[str, Any] = {self.signature.argument[n]: v for n, v in hyper[0].items()}
            if "lr" in hyper[0]:
                constants[self.signature.argument["lr"]] = lambda count: rates[count]
            try:
                transform = self.target(**constants, **self.signature.others)
            except (TypeError, ValueError) as error:
                raise Unsupported(f"{self.name} cannot be made with {sorted(constants)}: {error}") from error
            now = [jnp.asarray(w) for w in params]
            state = transform.init(now)
            step = self.jax.jit(transform.update)
            results = []
            for gradients in grads:
                updates, state = step([jnp.asarray(g) for g in gradients], state, now)
                now = self.optax.apply_updates(now, updates)
                results.append([np.asarray(w) for w in now])
        return results


def x64(jax: Any) -> Any:
    """JAX's own context for float64 (its name moved between versions)."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()
