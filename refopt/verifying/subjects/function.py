"""Plain Python functions: `new_params, new_state = step(params, grads, state, **hyper)` on lists of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refopt.rules import RULES
from refopt.spec.errors import RefoptError
from refopt.verifying.subjects.base import arguments, check_options, hyper_names, numeric_defaults, split_options

CALL = "__call__"


class FunctionSubject:
    """A function, or a class whose instances are such functions. The state of the first step is None.

    Hyper-parameters go by keyword, under refopt's names or any name that a framework uses; with `**hyper` in its
    signature the function gets all of them under refopt's names.
    """

    framework = "python"
    dtype = "float64"

    def __init__(self, name: str, target: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.name, self.target = name, target
        self.is_class = isinstance(target, type)
        called: Callable[..., Any] = getattr(target, CALL) if self.is_class else target
        if self.is_class and CALL not in vars(target):
            raise RefoptError(
                f"{name} has no __call__(self, params, grads, state, **hyper); give it one, or a function"
            )
        taken = arguments(called)
        names = hyper_names(called)
        if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            names |= {
                p.name: p.name for rule in RULES.values() for p in rule.hyper_parameters if p.name not in names.values()
            }
        self.argument = {ours: theirs for theirs, ours in names.items()}
        self.fixed, self.others = split_options(name, options, names)
        check_options(name, self.others, called)
        self.defaults = numeric_defaults(called, {t: o for t, o in names.items() if t in taken})
        self.settable = self.per_step = frozenset(names.values())
        self.versions = {"numpy": np.__version__}
        self.notes: tuple[str, ...] = ()

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        step = self.target() if self.is_class else self.target
        now, state = [w.copy() for w in params], None
        results = []
        for values, gradients in zip(hyper, grads, strict=True):
            given = {self.argument[name]: value for name, value in values.items() if name in self.argument}
            now, state = step(now, [g.copy() for g in gradients], state, **given, **self.others)
            results.append([np.array(w) for w in now])
        return results
