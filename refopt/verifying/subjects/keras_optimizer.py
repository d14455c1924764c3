"""Keras 3 optimizers, driven in float64 on whichever of its backends is installed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

import numpy as np

from refopt.spec.errors import Unsupported
from refopt.verifying.subjects.base import check_options, hyper_names, numeric_defaults, split_options

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

    def __init__(
        self, name: str, target: Callable[..., Any], options: Mapping[str, Any], dtype: str = "float64"
    ) -> None:
        self.name, self.target, self.dtype = name, target, dtype
        self.keras = importlib.import_module("keras")
        names = {theirs: ours for theirs, ours in hyper_names(target).items() if not theirs.startswith("ema_")}
        self.argument = {ours: theirs for theirs, ours in names.items()}
        self.fixed, self.others = split_options(name, options, names)
        check_options(name, self.others, target)
        self.defaults = numeric_defaults(target, names)
        self.settable = frozenset(names.values())
        self.per_step = self.settable & {"lr"}
        self.backend = self.keras.backend.backend()
        self.versions = {"keras": self.keras.__version__, f"keras on {self.backend}": _version(self.backend)}
        self.notes: tuple[str, ...] = ()

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        with self._precision():
            variables = [self.keras.Variable(w, dtype=self.dtype) for w in params]
            constants = {self.argument[n]: v for n, v in hyper[0].items() if n in self.argument}
            try:
                optimizer = self.target(**constants, **self.others)
            except (TypeError, ValueError) as error:
                raise Unsupported(f"{self.name} cannot be made with {constants}: {error}") from error
            optimizer.build(variables)
            results = []
            for now, gradients in zip(hyper, grads, strict=True):
                if "lr" in now:
                    optimizer.learning_rate = now["lr"]
                tensors = [self.keras.ops.convert_to_tensor(g, dtype=self.dtype) for g in gradients]
                optimizer.apply(tensors, variables)
                results.append([np.array(self.keras.ops.convert_to_numpy(v.value)) for v in variables])
        return results

    def _precision(self) -> Any:
        if self.backend != "jax":
            return nullcontext()
        from refopt.verifying.subjects.optax_transform import x64

        return x64(importlib.import_module("jax"), self.dtype)


def _version(module: str) -> str:
    return str(importlib.import_module(module).__version__)
