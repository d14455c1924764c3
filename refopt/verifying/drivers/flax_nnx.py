"""`flax.nnx.Optimizer`: a gradient transformation of optax, bound to the parameters of a module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .base import Arrays, Refusal, ancestors
from .optax_transform import OptaxDriver, x64

NAMES = ("Optimizer", "ModelAndOptimizer")


class NnxDriver:
    """The class, with the argument `tx`, or an optimizer that somebody has made, whose `tx` it keeps."""

    framework = "optax"  # whose rules it applies
    average = False
    any_argument = False

    def __init__(self, target: Any) -> None:
        self.jax, self.nnx = importlib.import_module("jax"), importlib.import_module("flax.nnx")
        made = not isinstance(target, type)
        self.tx = target.tx if made else None
        inside = OptaxDriver(self.tx) if made else None
        self.injected = frozenset(inside.arguments if inside else ())
        self.stated = not self.injected
        self.arguments = {**({} if made else {"tx": None}), **(inside.arguments if inside else {})}
        self.per_step = self.injected
        versions = inside.versions if inside else {"jax": self.jax.__version__}
        self.versions = {"flax": importlib.import_module("flax").__version__, **versions}

    @staticmethod
    def takes(target: Any) -> bool:
        return any(name.startswith("flax.nnx.") and name.rpartition(".")[2] in NAMES for name in ancestors(target))

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        jnp = importlib.import_module("jax.numpy")
        nnx = self.nnx
        tx = options.get("tx", self.tx)
        if tx is None:
            raise Refusal("give the transformation that it applies as tx=optax.adam(...), and its numbers")

        class Model(nnx.Module):  # type: ignore[name-defined]
            def __init__(self) -> None:
                for i, w in enumerate(params):
                    setattr(self, f"w{i}", nnx.Param(jnp.asarray(w)))

        with x64(self.jax):
            self.model = Model()
            self.optimizer = nnx.Optimizer(self.model, tx, wrt=nnx.Param)
        self.count = len(params)

        def update(model: Any, optimizer: Any, grads: Any, numbers: Any) -> None:
            for name, value in numbers.items():
                optimizer.opt_state.hyperparams[name][...] = value
            given = nnx.state(model, nnx.Param)
            for i, g in enumerate(grads):
                given[f"w{i}"] = given[f"w{i}"].replace(g)
            optimizer.update(model, given)

        self.update = nnx.jit(update)

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax):
            now = {name: jnp.asarray(value) for name, value in numbers.items() if name in self.injected}
            self.update(self.model, self.optimizer, [jnp.asarray(g) for g in grads], now)
            return [np.asarray(getattr(self.model, f"w{i}")[...]) for i in range(self.count)]
