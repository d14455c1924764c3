"""Plain Python functions on lists of NumPy arrays.

params, state = step(params, grads, state, **hyper)         an optimizer
average, state = average(params, state, **hyper)            an average of parameters
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .base import Arrays, Refusal, arguments, names_of, takes_any

CALL = "__call__"


class Wrong(Refusal):
    """It has answered what is no answer."""


class FunctionDriver:
    """A function, or a class whose instances are such functions. The state of the first step is None.

    A function whose second argument is called `state` is an average.
    """

    framework = "python"
    per_step: frozenset[str] | None = None

    def __init__(self, target: Callable[..., Any]) -> None:
        self.is_class = isinstance(target, type)
        if self.is_class and not any(CALL in vars(c) for c in target.__mro__):  # type: ignore[attr-defined]  # a type
            raise Refusal("has no __call__(self, params, grads, state, **hyper); give it one, or a function")
        self.target = target
        called: Callable[..., Any] = getattr(target, CALL) if self.is_class else target
        names = [name for name in names_of(called) if name != "self"]
        self.average = names[1:2] == ["state"]
        self.arguments = arguments(called, "self", *names[: 2 if self.average else 3])
        self.any_argument = self.any_number = takes_any(called)
        self.versions = {"numpy": np.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        return callable(target)

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        self.call = self.target() if self.is_class else self.target
        self.params: Any = [w.copy() for w in params]
        self.state, self.options = None, options

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        given = [g.copy() for g in grads]
        arrays = (given,) if self.average else (self.params, given)
        answer = self.call(*arrays, self.state, **numbers, **self.options)
        what = "average" if self.average else "new parameters"
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise Wrong(f"must return the {what} and the new state; got {_kind(answer)}")
        new, self.state = answer
        if not (isinstance(new, (list, tuple)) and len(new) == len(grads)):
            raise Wrong(
                f"must return the {what} as a list of {len(grads)} arrays, one for each that it was given; "
                f"got {_kind(new)}"
            )
        self.params = self.params if self.average else new
        return [np.array(w) for w in new]


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple, dict)) else "")
