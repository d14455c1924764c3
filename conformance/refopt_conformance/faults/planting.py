"""A backend with a fault of a rule in it: the NumPy engine, running a program that was changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from refopt.engines.numpy_engine import NumpyEngine
from refopt.spec.backend import Slots
from refopt.spec.declare import Rule
from refopt.spec.faults import Fault
from refopt.spec.hyper import Hyper


class Planted(NumpyEngine):
    """Runs one rule wrongly. What the fault remembers lives here, from `init` on, and is not in the slots."""

    def __init__(self, rule: Rule, fault: Fault) -> None:
        self.name = f"{rule.name} with {fault.name}"
        self.rule, self.fault = rule, fault
        self.hidden = dict(fault.hidden)
        self._planted: dict[tuple[Any, ...], Hyper | None] = {}

    def broken(self, hyper: Hyper) -> Hyper | None:
        """The wrong variant of these conventions; None where the fault changes nothing."""
        if hyper.rule is not self.rule:
            return None
        key = tuple(hyper.axes.values())
        if key not in self._planted:
            self._planted[key] = hyper.planted(self.fault)
        found = self._planted[key]
        return found and found.replace(**{name: hyper.values[name] for name in hyper.read})

    def init(self, hyper: Hyper, params: Sequence[np.ndarray]) -> Slots:
        self.hidden = dict(self.fault.hidden)
        right, broken = super().init(hyper, params), self.broken(hyper)
        if broken is None:
            return right
        wrong = super().init(broken, params)
        return {name: wrong.get(name, slot) for name, slot in right.items()}

    def update(
        self,
        hyper: Hyper,
        t: int,
        params: Sequence[np.ndarray],
        grads: Sequence[np.ndarray] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> tuple[list[np.ndarray], Slots]:
        broken = self.broken(hyper)
        if broken is None:
            return super().update(hyper, t, params, grads, slots, in_place=in_place)
        given = {**slots, **self.hidden}
        new_params, new = super().update(broken, t, params, grads, given, in_place=in_place)
        self.hidden = {name: new[name] for name in self.hidden}
        kept = {name: new.get(name, slot) for name, slot in slots.items()}
        return new_params, kept

    def average(self, hyper: Hyper, t: int, params: Sequence[np.ndarray], slots: Slots) -> list[np.ndarray]:
        return super().average(self.broken(hyper) or hyper, t, params, slots)
