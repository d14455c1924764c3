"""Plain Python functions: `new_params, new_state = step(params, grads, state, **hyper)` on lists of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refopt.rules import RULES
from refopt.spec.errors import Broken, RefoptError
from refopt.verifying.subjects.base import arguments, hyper_names, signature

CALL = "__call__"


class FunctionSubject:
    """A function, or a class whose instances are such functions. The state of the first step is None.

    Hyper-parameters go by keyword, under refopt's names or any name that a framework uses; with `**hyper` in its
    signature the function gets all of them under refopt's names.
    """

    framework = "python"

    def __init__(self, name: str, target: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.name, self.target = name, target
        self.is_class = isinstance(target, type)
        if self.is_class and not any(CALL in vars(c) for c in target.__mro__):  # type: ignore[attr-defined]  # a type
            raise RefoptError(
                f"{name} has no __call__(self, params, grads, state, **hyper); give it one, or a function"
            )
        called: Callable[..., Any] = getattr(target, CALL) if self.is_class else target
        names = hyper_names(called)
        if any(p.kind is p.VAR_KEYWORD for p in arguments(called).values()):
            names |= {
                p.name: p.name for rule in RULES.values() for p in rule.hyper_parameters if p.name not in names.values()
            }
        self.signature = signature(name, called, options, names)
        self.fixed, self.defaults = self.signature.fixed, self.signature.defaults
        self.settable = self.per_step = frozenset(names.values())
        self.versions = {"numpy": np.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        return True

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        step = self.target() if self.is_class else self.target
        now, state = [w.copy() for w in params], None
        results = []
        for values, gradients in zip(hyper, grads, strict=True):
            given = {self.signature.argument[name]: value for name, value in values.items()}
            answer = step(now, [g.copy() for g in gradients], state, **given, **self.signature.others)
            if not (isinstance(answer, tuple) and len(answer) == 2):
                raise Broken(f"{self.name} must return the new parameters and the new state; got {_kind(answer)}")
            now, state = answer
            if not (isinstance(now, list | tuple) and len(now) == len(params)):
                raise Broken(
                    f"{self.name} must return the new parameters as a list of {len(params)} arrays, one for each that "
                    f"it was given; got {_kind(now)}"
                )
            results.append([np.array(w) for w in now])
        return results


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | dict) else "")
