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
        self.average = hasattr(target, "refs_and_values")
        called = arguments(target.__call__, "self", "grads")
        self.called = frozenset(called) & frozenset(CALLED)
        self.arguments = {**called, **arguments(target, "self", "vc")}
        self.per_step = self.called
        self.versions = {"objax": self.objax.__version__, "jax": self.jax.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        place = str(getattr(target, "__module__", ""))
        return isinstance(target, type) and place.startswith("objax.optimizer.")

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        jnp = importlib.import_module("jax.numpy")
        made = {**numbers, **options}
        self.options = {name: value for name, value in options.items() if name in self.called}
        with x64(self.jax):
            self.variables = [self.objax.TrainVar(jnp.asarray(w)) for w in params]
            collection = self.objax.VarCollection({f"w{i}": v for i, v in enumerate(self.variables)})
            self.optimizer = self.target(collection, **{name: made[name] for name in made if name != "lr"})

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
            self.optimizer()
            return [np.asarray(average) for average in self.optimizer.refs_and_values()[1]]
