"""objax optimizers and its ExponentialMovingAverage, which are modules over a collection of variables."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .base import Arrays, arguments
from .optax_transform import x64

CALLED = ("lr", "momentum", "beta1", "beta2")  # what a call may be given, where the class takes it


class ObjaxDriver:
    """A class of `objax.optimizer`, driven with JAX's 64 bits."""

    framework = "objax"
    any_argument = False

    def __init__(self, target: Any) -> None:
        self.objax, self.jax = importlib.import_module("objax"), importlib.import_module("jax")
        self.target = target
        self.of_module = hasattr(target, "update_ema")
        self.average = self.of_module or hasattr(target, "refs_and_values")
        called = arguments(target.__call__, "self", "grads")
        self.called = frozenset(called) & frozenset(CALLED)
        self.arguments = {**called, **arguments(target, "self", "vc", "module")}
        self.per_step = self.called
        self.versions = {"objax": self.objax.__version__, "jax": self.jax.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        place = str(getattr(target, "__module__", ""))
        return isinstance(target, type) and place.startswith("objax.optimizer.")

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        jnp = importlib.import_module("jax.numpy")
        made = {**numbers, **options}
        with x64(self.jax):
            self.variables = [self.objax.TrainVar(jnp.asarray(w)) for w in params]
            given = {name: value for name, value in made.items() if name != "lr"}
            self.optimizer = self.target(self._module() if self.of_module else self._collection(), **given)

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax):
            given = [jnp.asarray(g) for g in grads]
            if not self.average:
                now = {name: value for name, value in numbers.items() if name in self.called and name != "lr"}
                self.optimizer(numbers["lr"], given, **now)
                return [np.asarray(v.value) for v in self.variables]
            for variable, value in zip(self.variables, given, strict=True):
                variable.assign(value)
            if self.of_module:
                self.optimizer.update_ema()
            else:
                self.optimizer()
            averages = self.optimizer() if self.of_module else self.optimizer.refs_and_values()[1]
            return [np.asarray(average) for average in averages]

    def _collection(self) -> Any:
        return self.objax.VarCollection({f"w{i}": v for i, v in enumerate(self.variables)})

    def _module(self) -> Any:
        """A module whose output is its variables."""
        variables = self.variables

        class Held(self.objax.Module):  # type: ignore[name-defined]
            def __init__(self) -> None:
                self.held = self_objax.ModuleList(variables)

            def __call__(self) -> list[Any]:
                return [v.value for v in variables]

        self_objax = self.objax
        return Held()
