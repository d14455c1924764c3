"""Keras 3 optimizers, driven on whichever of its backends is installed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import numpy as np

from refopt.spec.errors import Unsupported
from refopt.verifying.subjects.base import signature

BACKENDS = ("torch", "jax", "tensorflow")


def choose_backend() -> None:
    """Keras needs to know its backend before it is imported; KERAS_BACKEND decides, else the first one installed."""
    if "KERAS_BACKEND" not in os.environ:
        found = next((name for name in BACKENDS if find_spec(name)), None)
        if found is None:
            raise Unsupported(
                f"keras needs one of {', '.join(BACKENDS)}; install one, e.g. pip install 'refopt[torch]'"
            )
        os.environ["KERAS_BACKEND"] = found


class KerasSubject:
    """A Keras optimizer class."""

    framework = "keras"

    def __init__(self, name: str, target: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.name, self.target = name, target
        self.keras = importlib.import_module("keras")
        self.signature = signature(name, target, options)
        self.fixed, self.defaults = self.signature.fixed, self.signature.defaults
        self.settable = frozenset(self.signature.argument)
        self.per_step = self.settable & {"lr"}
        self.backend = self.keras.backend.backend()
        self.versions = {"keras": self.keras.__version__, f"keras on {self.backend}": _version(self.backend)}

    @staticmethod
    def takes(target: Any) -> bool:
        return any(c.__module__.startswith("keras.src.optimizers.") for c in getattr(target, "__mro__", ()))

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        with self._precision():
            variables = [self.keras.Variable(w, dtype=w.dtype.name) for w in params]
            constants = {self.signature.argument[n]: v for n, v in hyper[0].items()}
            try:
                optimizer = self.target(**constants, **self.signature.others)
            except (TypeError, ValueError) as error:
                raise Unsupported(f"{self.name} cannot be made with {constants}: {error}") from error
            optimizer.build(variables)
            results = []
            for now, gradients in zip(hyper, grads, strict=True):
                if "lr" in now:
                    optimizer.learning_rate = now["lr"]
                tensors = [self.keras.ops.convert_to_tensor(g, dtype=g.dtype.name) for g in gradients]
                optimizer.apply(tensors, variables)
                results.append([np.array(self.keras.ops.convert_to_numpy(v.value)) for v in variables])
        return results

    def _precision(self) -> Any:
        if self.backend != "jax":
            return nullcontext()
        from refopt.verifying.subjects.optax_transform import x64

        return x64(importlib.import_module("jax"))


def _version(module: str) -> str:
    return str(importlib.import_module(module).__version__)
