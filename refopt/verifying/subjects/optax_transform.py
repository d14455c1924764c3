"""optax gradient transformations: factories such as `optax.adam`, driven in float64 on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refopt.spec.errors import Unsupported
from refopt.verifying.subjects.base import check_options, hyper_names, numeric_defaults, split_options


class OptaxSubject:
    """A function that takes hyper-parameters and returns a gradient transformation. The rate is given as a schedule."""

    framework = "optax"

    def __init__(
        self, name: str, target: Callable[..., Any], options: Mapping[str, Any], dtype: str = "float64"
    ) -> None:
        self.name, self.target, self.dtype = name, target, dtype
        self.jax = importlib.import_module("jax")
        self.optax = importlib.import_module("optax")
        names = hyper_names(target)
        self.argument = {ours: theirs for theirs, ours in names.items()}
        self.fixed, self.others = split_options(name, options, names)
        check_options(name, self.others, target)
        self.defaults = numeric_defaults(target, names)
        # An eps_root of zero is no convention: it is probed only where the user gives one.
        self.settable = frozenset(names.values()) - ({"eps_root"} - set(self.fixed))
        self.per_step = self.settable & {"lr"}
        self.versions = {"optax": self.optax.__version__, "jax": self.jax.__version__}
        self.notes: tuple[str, ...] = ()

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax, self.dtype):
            rates = jnp.asarray([now.get("lr", 0.0) for now in hyper], self.dtype)
            constants: dict[str, Any] = {
                self.argument[n]: v for n, v in hyper[0].items() if n != "lr" and n in self.argument
            }
            if "lr" in self.argument:
                constants[self.argument["lr"]] = lambda count: rates[count]
            try:
                transform = self.target(**constants, **self.others)
            except (TypeError, ValueError) as error:
                raise Unsupported(f"{self.name} cannot be made with {sorted(constants)}: {error}") from error
            now = [jnp.asarray(w, self.dtype) for w in params]
            state = transform.init(now)
            step = self.jax.jit(transform.update)
            results = []
            for gradients in grads:
                updates, state = step([jnp.asarray(g, self.dtype) for g in gradients], state, now)
                now = self.optax.apply_updates(now, updates)
                results.append([np.asarray(w) for w in now])
        return results


def x64(jax: Any, dtype: str) -> Any:
    """JAX's own context for float64 (its name moved between versions)."""
    wide = dtype == "float64"
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(wide)
    return importlib.import_module("jax.experimental").enable_x64(wide)
