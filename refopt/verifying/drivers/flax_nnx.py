"""`flax.nnx.Optimizer`: a gradient transformation of optax, bound to the parameters of a module."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .base import Arrays, Refusal, ancestors
from .optax_transform import OptaxDriver, x64

OPTIMIZER = "flax.nnx.training.optimizer.Optimizer"


class NnxDriver:
    """The class, with the argument `tx`, or an optimizer that somebody has made, whose `tx` it keeps."""

    framework = "flax"
    average = False
    any_argument = False

    def __init__(self, target: Any) -> None:
        self.jax, self.nnx = importlib.import_module("jax"), importlib.import_module("flax.nnx")
        self.tx = None if isinstance(target, type) else target.tx
        injected = OptaxDriver(self.tx).arguments if self.tx is not None else {}
        self.arguments = {"tx": self.tx, **injected}
        self.per_step = frozenset(injected)
        flax, optax = importlib.import_module("flax"), importlib.import_module("optax")
        self.versions = {"flax": flax.__version__, "optax": optax.__version__, "jax": self.jax.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        return OPTIMIZER in ancestors(target)

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        jnp = importlib.import_module("jax.numpy")
        tx = options.get("tx", self.tx)
        if tx is None:
            raise Refusal("give the transformation that it applies as tx=optax.adam(...)")
        if numbers:
            raise Refusal("numbers that change are not driven through nnx; verify the transformation by itself")

        class Model(self.nnx.Module):  # type: ignore[name-defined]
            def __init__(self, nnx: Any) -> None:
                for i, w in enumerate(params):
                    setattr(self, f"w{i}", nnx.Param(jnp.asarray(w)))

        with x64(self.jax):
            self.model = Model(self.nnx)
            self.optimizer = self.nnx.Optimizer(self.model, tx, wrt=self.nnx.Param)
        self.count = len(params)

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax):
            state = self.nnx.state(self.model, self.nnx.Param)
            given = {f"w{i}": state[f"w{i}"].replace(jnp.asarray(g)) for i, g in enumerate(grads)}
            self.optimizer.update(self.model, self.nnx.State(given))
            return [np.asarray(getattr(self.model, f"w{i}").value) for i in range(self.count)]
