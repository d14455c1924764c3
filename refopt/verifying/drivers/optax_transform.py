"""optax gradient transformations: factories such as `optax.adam`, and transformations that somebody has made."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from .base import NEEDED, Arrays, Refusal, arguments, paired, pairs_in, takes_any, with_parts

RATE = "learning_rate"  # optax takes a schedule for it


class OptaxDriver:
    """Driven on the CPU, with JAX's 64 bits. The learning rate is a schedule; injected numbers change in the state."""

    framework = "optax"
    average = False
    stated = False

    def __init__(self, target: Any) -> None:
        self.jax = importlib.import_module("jax")
        self.optax = importlib.import_module("optax")
        self.target, self.made = target, _is_made(target)
        if self.made:
            self.pairs = {}
            self.arguments, self.any_argument = self._injected(), False
            self.stated = not self.arguments  # its numbers are out of reach
        else:
            taken = arguments(target)
            self.pairs = pairs_in(taken)
            self.arguments, self.any_argument = dict(with_parts(taken, self.pairs)), takes_any(target)
        self.per_step = frozenset(self.arguments if self.made or self._takes_a_schedule() else ())
        if not self.made:
            self.per_step &= {RATE}
        self.versions = {"optax": self.optax.__version__, "jax": self.jax.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        """Whether it is or makes a gradient transformation: its annotation or its module says so."""
        if _is_made(target):
            return True
        target = target.func if isinstance(target, functools.partial) else target  # optax.nadam is one of optax.adam
        annotation = str(getattr(target, "__annotations__", {}).get("return", ""))
        return "GradientTransformation" in annotation or str(getattr(target, "__module__", "")).startswith("optax.")

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        jnp = importlib.import_module("jax.numpy")
        if self.made and options:
            raise Refusal(f"it has been made, and takes no {', '.join(options)}; give what makes it")
        if RATE in options:
            raise Refusal(f"the probes bring a schedule of their own; leave out {RATE}")
        given = paired({**numbers, **options}, self.pairs, self.arguments)
        constants = {n: value for n, value in given.items() if n != RATE or not self.per_step}

        def make(rate: Any) -> Any:
            if self.made:
                return self.target
            varying = {RATE: lambda count: rate} if RATE in numbers and self.per_step else {}
            return self.target(**constants, **varying)

        def update(grads: Any, state: Any, params: Any, rate: Any) -> Any:
            updates, state = make(rate).update(grads, state, params)
            return self.optax.apply_updates(params, updates), state

        with x64(self.jax):
            self.params = [jnp.asarray(w) for w in params]
            self.state = make(self._rate(numbers)).init(self.params)
        self.update = self.jax.jit(update, **quickly(self.jax.jit))

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax):
            if self.made:
                self._inject(numbers)
            given = [jnp.asarray(g) for g in grads]
            self.params, self.state = self.update(given, self.state, self.params, self._rate(numbers))
            return [np.asarray(w) for w in self.params]

    def _takes_a_schedule(self) -> bool:
        """Whether the rate may be a function of the step; of some it must be a number."""
        jnp = importlib.import_module("jax.numpy")
        numbers = {name: 0.5 for name, default in self.arguments.items() if default is NEEDED and name != RATE}
        try:
            made = self.target(**numbers, **{RATE: lambda count: 0.5})
            made.update([jnp.ones(1)], made.init([jnp.ones(1)]), [jnp.ones(1)])
        except Exception:  # a stranger's
            return False
        return True

    def _rate(self, numbers: Mapping[str, float]) -> Any:
        return np.asarray(numbers.get(RATE, 0.0), self.params[0].dtype)

    def _injected(self) -> dict[str, float]:
        """The numbers that `optax.inject_hyperparams` lets change, and what they are; none that follow a schedule."""
        jnp = importlib.import_module("jax.numpy")
        state = self.target.init([jnp.zeros(1)])
        scheduled = getattr(state, "hyperparams_states", {})
        found = ((n, v) for n, v in getattr(state, "hyperparams", {}).items() if np.ndim(v) == 0 and n not in scheduled)
        return {name: float(value) for name, value in found}

    def _inject(self, numbers: Mapping[str, float]) -> None:
        if self.arguments:
            kept = self.state.hyperparams
            new = {name: np.asarray(value, kept[name].dtype) for name, value in numbers.items()}
            self.state = self.state._replace(hyperparams={**kept, **new})


class OptaxAverageDriver:
    """`optax.ema`, whose updates are an average of what it is given."""

    framework = "optax"
    average = True
    per_step: frozenset[str] = frozenset()

    def __init__(self, target: Any) -> None:
        self.jax = importlib.import_module("jax")
        self.target = target
        self.arguments, self.any_argument = arguments(target), takes_any(target)
        self.versions = {"optax": importlib.import_module("optax").__version__, "jax": self.jax.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        place = f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"
        return place.startswith("optax.") and place.endswith(".ema")

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax):
            self.transform = self.target(**numbers, **options)
            self.state = self.transform.init([jnp.asarray(w) for w in params])

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        jnp = importlib.import_module("jax.numpy")
        with x64(self.jax):
            average, self.state = self.transform.update([jnp.asarray(w) for w in grads], self.state)
            return [np.asarray(w) for w in average]


def quickly(jit: Any) -> dict[str, Any]:
    """What `jit` is told to compile in a hurry: a probe runs for a few steps. An old JAX cannot be told."""
    takes = "compiler_options" in inspect.signature(jit).parameters
    return {"compiler_options": {"xla_backend_optimization_level": 0}} if takes else {}


def _is_made(target: Any) -> bool:
    """Whether it is a transformation, not a function that makes one: a pair of `init` and `update`."""
    return isinstance(target, tuple) and hasattr(target, "init") and hasattr(target, "update")


def x64(jax: Any) -> Any:
    """JAX's own context for float64 (its name moved between versions)."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()
