"""Keras 3 optimizers on whichever of its backends is installed, and the averages that `use_ema` makes."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .base import Arrays, Refusal, ancestors, arguments, takes_any
from .optax_transform import x64

KERAS, KEY = "keras", "KERAS_BACKEND"
BACKENDS = ("torch", "jax", "tensorflow")
RATE = "learning_rate"
DECAY = "ema_momentum"


@contextmanager
def backend_chosen(*, needed: bool) -> Iterator[None]:
    """Keras needs to know its backend before it is imported, which a target may do.

    KERAS_BACKEND decides; else keras.json, if what it names is installed; else the first one installed. Raises Refusal
    if it is `needed`, and none is.
    """
    if KEY in os.environ or KERAS in sys.modules or find_spec(KERAS) is None:
        yield
        return
    found = next((name for name in (*_configured(), *BACKENDS) if find_spec(name)), None)
    if found is None and needed:
        raise Refusal(f"keras needs one of {', '.join(BACKENDS)}; install one, e.g. pip install 'refopt[torch]'")
    os.environ[KEY] = found or BACKENDS[0]
    try:
        yield
    finally:
        if KERAS not in sys.modules:
            del os.environ[KEY]


def _configured() -> list[str]:
    """The backend that the user's keras.json names, if there is one. (Keras writes one that names tensorflow.)"""
    place = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "keras.json"
    try:
        backend = json.loads(place.read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return []
    return [backend] if backend in BACKENDS else []


class KerasDriver:
    """A Keras optimizer class, or an optimizer that somebody has made, whose configuration it keeps."""

    framework = "keras"
    average = False
    widen = True

    def __init__(self, target: Any) -> None:
        self.keras = importlib.import_module("keras")
        made = not isinstance(target, type)
        self.make = type(target) if made else target
        self.any_argument = takes_any(self.make)
        self.arguments = arguments(self.make, "self")
        config = dict(target.get_config()) if made else {}
        if made and not isinstance(config.get(RATE), (int, float)):
            config.pop(RATE, None)  # a schedule
        self.kept = {name: value for name, value in config.items() if name in self.arguments and name != "name"}
        self.arguments |= self.kept
        self.per_step = frozenset({RATE})
        self.backend = self.keras.backend.backend()
        on = str(importlib.import_module(self.backend).__version__)
        self.versions = {"keras": self.keras.__version__, f"keras on {self.backend}": on}

    @staticmethod
    def takes(target: Any) -> bool:
        return any(name.startswith("keras.src.optimizers.") for name in ancestors(target))

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        self.dtype = params[0].real.dtype.name
        with self._precision():
            self.variables = [self.keras.Variable(w, dtype=w.dtype.name) for w in params]
            self.optimizer = self.make(**{**self.kept, **numbers, **options})
            self.optimizer.build(self.variables)

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        with self._precision():
            if RATE in numbers:
                self.optimizer.learning_rate = numbers[RATE]
            self.optimizer.apply(self._tensors(grads), self.variables)
            return [np.array(self.keras.ops.convert_to_numpy(v.value)) for v in self.variables]

    def _tensors(self, arrays: Arrays) -> list[Any]:
        return [self.keras.ops.convert_to_tensor(g, dtype=g.dtype.name) for g in arrays]

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """JAX's 64 bits; and Keras's floatx, in which it keeps the rate and on torch every number, as wide as that."""
        config = self.keras.config
        before = config.floatx()
        config.set_floatx(self.dtype if self.widen else before)
        try:
            with x64(importlib.import_module("jax")) if self.backend == "jax" else nullcontext():
                yield
        finally:
            config.set_floatx(before)


class KerasAverageDriver(KerasDriver):
    """The average that an optimizer with `use_ema=True` keeps. The optimizer itself stands still: its rate is 0."""

    average = True

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.arguments = {DECAY: self.arguments[DECAY], "use_ema": True}
        self.per_step = frozenset()

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        super().start(params, {**numbers, RATE: 0.0}, {"use_ema": True, **options})
        if not self.optimizer.use_ema:
            raise Refusal("with use_ema=False it keeps no average; leave use_ema out")

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        with self._precision():
            for variable, value in zip(self.variables, grads, strict=True):
                variable.assign(value)
            self.optimizer.apply(self._tensors([np.zeros_like(w) for w in grads]), self.variables)
            kept = self.optimizer._model_variables_moving_average  # there is no public name for it
            return [np.array(self.keras.ops.convert_to_numpy(average.value)) for average in kept]
