"""Compares what a backend computed with what was expected, against the budgets, and keeps the books."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from refopt.engines.dtypes import PARAMETER_DTYPES, compute_dtype
from refopt_conformance.budgets import BUDGETS, ONE_STEP, Key
from refopt_conformance.cases import Case
from refopt_conformance.distance import distance
from refopt_conformance.inputs import TREE
from refopt_conformance.reference import State, Step, average


class Deviation(AssertionError):
    """A backend differs from the reference; the message says where and by how much."""


@dataclass
class Judge:
    """Holds a case's states against the reference's; `worst` is the largest distance for each budget, and where."""

    case: Case
    mode: str
    worst: dict[Key, tuple[float, str]] = field(default_factory=dict)
    sizes: dict[str, np.ndarray] = field(default_factory=dict)  # of each element, the largest so far

    def compare(self, step: Step, found: State) -> None:
        """Parameters, every slot and the average after a step."""
        expected, narrow = step.after, PARAMETER_DTYPES[self.case.dtype]
        where = f"{self.case}, {self.mode}, t={step.t}"
        size = self._size("w", step.before.params, expected.params)
        self._arrays("parameter", f"{where}, w", found.params, expected.params, size, narrow)
        if set(found.slots) != set(expected.slots):
            names = [", ".join(slots) or "none" for slots in (found.slots, expected.slots)]
            raise Deviation(f"{where}: the slots are {names[0]}; expected {names[1]}")
        for name, slot in expected.slots.items():
            if isinstance(slot, list):
                grown = self._size(name, step.before.slots[name], slot)
                self._arrays("slot", f"{where}, {name}", found.slots[name], slot, grown, compute_dtype(narrow))
            else:
                self._number(f"{where}, {name}", found.slots[name], slot)
        if found.average is not None:  # of the backend's own slots: how far these are off was seen above
            wanted = average(step.hyper, step.t, found)
            self._arrays("average", f"{where}, average", found.average, wanted, size, narrow)

    def _size(self, name: str, before: list[np.ndarray], after: list[np.ndarray]) -> np.ndarray:
        """The largest size of each element since the comparison began: with the chain, or with the step."""
        size = np.fmax(np.abs(_flat(before)), np.abs(_flat(after)))
        if self.mode != ONE_STEP and name in self.sizes:
            size = np.fmax(size, self.sizes[name])
        self.sizes[name] = size
        return size

    def _arrays(
        self,
        quantity: str,
        where: str,
        found: list[np.ndarray],
        expected: list[np.ndarray],
        size: np.ndarray,
        dtype: np.dtype,
    ) -> None:
        kinds = [(a.shape, a.dtype) for a in found]
        if kinds != [(e.shape, dtype) for e in expected]:
            shapes = [e.shape for e in expected]
            raise Deviation(f"{where}: got {kinds}, expected {dtype} arrays of shapes {shapes}")
        wide = _flat(expected)
        if wide.size:
            ulps = distance(np.concatenate([a.ravel() for a in found]), wide, size)
            at = int(np.argmax(ulps))
            self._judge(quantity, f"{where}{self._place(at)}", float(ulps[at]), _flat(found)[at], wide[at])

    def _place(self, at: int) -> str:
        """The leaf and the index of an element of the flat tree: `[3x5][2, 4]`."""
        for leaf in self.case.leaves:
            size = math.prod(TREE[leaf])
            if at < size:
                index = ", ".join(str(i) for i in np.unravel_index(at, TREE[leaf]))
                return f"[{leaf}][{index}]" if index else f"[{leaf}]"
            at -= size
        raise IndexError(at)

    def _number(self, where: str, found: float, expected: float) -> None:
        ulps = distance(np.array(found, np.float64), np.array(expected))
        self._judge("number", where, float(ulps), found, expected)

    def _judge(self, quantity: str, where: str, ulps: float, found: float, expected: float) -> None:
        key = (quantity, self.case.dtype, self.mode)
        if ulps >= self.worst.get(key, (-1.0, ""))[0]:
            self.worst[key] = (ulps, where)
        budget = BUDGETS[key]
        if not ulps <= budget.ulps:
            raise Deviation(
                f"{where}: got {float(found)!r}, expected {float(expected)!r}: {ulps:.3g} ULPs apart, "
                f"{budget.ulps:g} are allowed ({budget.reason})"
            )


def _flat(arrays: list[np.ndarray]) -> np.ndarray:
    """All elements of a tree, in float64."""
    return np.concatenate([a.ravel() for a in arrays]).astype(np.float64, copy=False)
