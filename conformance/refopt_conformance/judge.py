"""Compares what a backend computed with what was expected, against the budgets, and keeps the books."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from refopt.clocks import Clock, clocks, estimates
from refopt.engines.dtypes import PARAMETER_DTYPES, compute_dtype, slot_dtype
from refopt.spec.lines import names_read
from refopt_conformance.amplification import MATRIX, largest, quantity_of
from refopt_conformance.budgets import BUDGETS, CHAIN, COEFFICIENTS, EXACT_DIGITS, LONG_CHAIN, Key, norm_growth
from refopt_conformance.cases import DTYPES, HALF_DTYPES, Case
from refopt_conformance.distance import distance
from refopt_conformance.inputs import SHAPE_OF, regimes_of
from refopt_conformance.kinds import first_other
from refopt_conformance.leniency import below_normal, few_digits, flushed, with_signs
from refopt_conformance.nearby import between, divides, jumped, jumps, nearby, of_estimate, rounding
from refopt_conformance.reference import State, Step, average, narrow

EXACT_STEPS = 3  # each step adds digits; later ones would have too many
MOST = 0.75


class Deviation(AssertionError):
    """A backend differs from the reference; the message says where and by how much."""

    def __init__(self, message: str, *, leaf: str | None = None, element: int = 0, t: int = 0) -> None:
        super().__init__(message)
        self.leaf, self.element, self.t = leaf, element, t


class Place(NamedTuple):
    """An element of a quantity, `seven`, 3; or what is one number for a tensor."""

    leaf: str
    element: int | None

    def __str__(self) -> str:
        if self.element is None:
            return f"[{self.leaf}]"
        index = ", ".join(str(i) for i in np.unravel_index(self.element, SHAPE_OF[self.leaf]))
        return f"[{self.leaf}][{index}]" if index else f"[{self.leaf}]"


@dataclass
class Judge:
    """Holds a case's states against the reference's; `worst` is the largest distance for each budget, and where.

    `exact` counts the elements that had to be met exactly, `acceptable` those that only a machine which takes
    subnormal numbers for zero gets wrong.
    """

    case: Case
    mode: str
    worst: dict[Key, tuple[float, str]] = field(default_factory=dict)
    sizes: dict[str, np.ndarray] = field(default_factory=dict)  # of each element, the largest so far
    exact: int = 0
    acceptable: int = 0
    counts: list[int] = field(default_factory=list)  # of each leaf, the elements of the quantity that is looked at
    signs: bool = True  # whether an exact zero must have its sign
    more: float = 0.0  # ULPs beyond the budget
    lost: np.ndarray | bool = False  # which elements a rounding has turned earlier in a chain

    def compare(self, step: Step, found: State) -> None:
        """Parameters, every slot and the average after a step."""
        expected, dtype = step.after, PARAMETER_DTYPES[self.case.dtype]
        kept = slot_dtype(step.hyper.axes, dtype)
        size = self._size("w", step.before.params, expected.params)
        exact = self._exactly(step)
        same = exact.params if exact else None
        self._arrays("parameter", step, "w", found.params, expected.params, size, dtype, same)
        if set(found.slots) != set(expected.slots):
            names = [", ".join(slots) or "none" for slots in (found.slots, expected.slots)]
            raise Deviation(f"{self._where(step.t)}: the slots are {names[0]}; expected {names[1]}", t=step.t)
        for name, slot in expected.slots.items():
            if isinstance(slot, list):
                grown = self._slot_size(step, name)
                if name in self._averaged:
                    grown = np.fmax(grown, np.where(np.isfinite(size), size, 0.0))
                same = exact.slots[name] if exact else None
                self._arrays("slot", step, name, found.slots[name], slot, grown, kept, same)
            else:
                self._number(step, name, found.slots[name], slot)
        if found.average is not None:  # of the backend's own slots: how far these are off was seen above
            wanted = average(step.hyper, step.t, found)
            finite = np.where(np.isfinite(size), size, 0.0)  # a parameter may be infinite, and not yet in the average
            self._arrays("average", step, "average", found.average, wanted, finite, dtype)
        self._lose(step)

    def compare_parameters(self, step: Step, found: list[np.ndarray]) -> None:
        """The parameters alone, of a subject that does not show its state, and may have an order of its own.

        w * (1 - lr*wd), which is w - lr*wd*w, gives other signs to zeros. Coefficients may be rounded to float32.
        """
        self.signs, self.more = False, COEFFICIENTS
        size = self._size("w", step.before.params, step.after.params)
        self._arrays("parameter", step, "w", found, step.after.params, size, PARAMETER_DTYPES[self.case.dtype])
        self._lose(step)

    def pass_by(self, step: Step) -> None:
        """A step that is not looked at still says how large the elements have been."""
        self._size("w", step.before.params, step.after.params)
        for name, slot in step.after.slots.items():
            if isinstance(slot, list):
                self._size(name, step.before.slots[name], slot)
        self._lose(step)

    @cached_property
    def _rounding(self) -> float:
        return rounding(compute_dtype(PARAMETER_DTYPES[self.case.dtype]), self.more)

    def _lose(self, step: Step) -> None:
        """In a chain, an element that a rounding may have turned may be elsewhere from there on."""
        if self._carries and jumps(step.hyper.program):
            here = _flat(step.after.params)
            for other in nearby(step, self._rounding):
                self.lost = self.lost | jumped(_flat(other.params), here, self.sizes["w"], self._rounding)

    def _where(self, t: int) -> str:
        return f"{self.case}, {self.mode}, t={t}"

    def _exactly(self, step: Step) -> State | None:
        """The step by the definition in its own dtype, where that may be exact: few steps, on coarse inputs.

        Not where elements are divided: a machine may multiply with the reciprocal, which is rounded.
        """
        may_be = self.case.coarse and step.t <= EXACT_STEPS and not self._drifts and not divides(step.hyper.program)
        return narrow(step, self.case) if may_be else None

    @cached_property
    def growth(self) -> float:
        """What a rule that takes norms is allowed beyond the budget: as much as the documented tree can lose."""
        adds = {Clock.TENSOR, Clock.MODEL} & {*clocks(self.case.conventions.program)}
        if not adds or self.case.dtype in HALF_DTYPES:
            return 0.0
        return norm_growth(max(math.prod(SHAPE_OF[leaf]) for leaf in self.case.leaves))

    @cached_property
    def _averaged(self) -> frozenset[str]:
        """The slots that a model is evaluated with while it moves: made of parameters, they round as these do."""
        program = self.case.conventions.program
        if program.evaluate is None or not program.writes_parameter:
            return frozenset()
        return frozenset(names_read(one.value for one in program.evaluate.lines))

    @property
    def _drifts(self) -> bool:
        """Whether parameters are rounded to few digits at each step, which the reference's chain does not do."""
        return self._carries and self.case.dtype in HALF_DTYPES

    @property
    def _carries(self) -> bool:
        """Whether the reference goes on from its own state, so that distances grow."""
        return self.mode in (CHAIN, LONG_CHAIN) and not self.case.led

    def _size(self, name: str, before: list[np.ndarray], after: list[np.ndarray]) -> np.ndarray:
        """The largest size of each element so far. Half types are met by rounding once: of a single step, its own."""
        size = np.fmax(np.abs(_flat(before)), np.abs(_flat(after)))
        if name in self.sizes and (self._carries or self.case.dtype in DTYPES):
            earlier = self.sizes[name]
            size = np.fmax(size, np.where(np.isfinite(earlier), earlier, 0.0))  # a first step may be infinite
        self.sizes[name] = size
        return size

    def _slot_size(self, step: Step, name: str) -> np.ndarray:
        """The largest size of a slot's elements so far; where iterates are mixed, also of what it is mixed from."""
        size = self._size(name, step.before.slots[name], step.after.slots[name])
        iterates = [slot.name for slot in step.hyper.program.slots if slot.init == "params"]
        if name not in iterates:
            return size
        for other in set(iterates) - {name}:  # what is left of one, where it cancels, is mixed into the other
            for state in (step.before, step.after):
                found = np.abs(_flat(state.slots[other]))
                size = np.fmax(size, np.where(np.isfinite(found), found, 0.0))
        return size

    def _arrays(
        self,
        quantity: str,
        step: Step,
        name: str,
        found: list[np.ndarray],
        expected: list[np.ndarray],
        size: np.ndarray,
        dtype: np.dtype,
        exactly: list[np.ndarray] | None = None,
    ) -> None:
        self.counts = [e.size for e in expected]
        t, kinds, wanted = step.t, [(a.shape, a.dtype) for a in found], [(e.shape, dtype) for e in expected]
        if kinds != wanted:
            raise Deviation(f"{self._where(t)}, {name}: {first_other(kinds, wanted)}", t=t)
        wide = _flat(expected)
        if not wide.size:
            return
        actual = np.concatenate([a.ravel() for a in found])
        if self.case.dtype in HALF_DTYPES:  # what is left of a cancellation has a sign, and is rounded to zero
            actual = with_signs(actual, wide, size > 0)
        if not self.signs:
            actual = with_signs(actual, wide, True)
        if quantity == "parameter" and (quantity := quantity_of(step.hyper.program)) == MATRIX:
            size = largest(size, self.counts)
        unit = PARAMETER_DTYPES[self.case.dtype] if self._drifts else None
        ulps = distance(actual, wide, size, unit)
        budget = BUDGETS[quantity, self.case.precision, self.mode]
        allowed = budget.ulps + self.growth + self.more
        lost = flushed(actual, wide, size, dtype, self._in_underflow() | below_normal(step, actual.size, dtype))
        # Without eps, a square that is lost divides by zero, and a chain may feed back what it divided by a tiny one.
        if self.case.numbers == "ends" or self._carries:
            lost |= self._in_underflow()
        over = ~(ulps <= allowed)
        lost |= self.lost if np.shape(self.lost) == lost.shape else False  # what is kept by rows is made of gradients
        ulps = np.where(lost, 0.0, ulps)
        if quantity != "average" and not (ulps <= allowed).all():
            states = nearby(step, self._rounding)
            others = [_flat(state.params if name == "w" else state.slots[name]) for state in states]
            ulps = np.where(ulps <= allowed, ulps, between(actual, wide, others, size, unit))
        self.acceptable += int((over & (ulps <= allowed)).sum())
        if exactly is not None:
            with np.errstate(over="ignore"):
                rounded = wide.astype(dtype)
            exact = few_digits(wide, size) & (np.concatenate([a.ravel() for a in exactly]) == rounded)
            exact &= exact.mean() > MOST  # else those that are exact are so by chance: a coefficient is not
            exact &= ulps != 0.5  # halfway between two numbers of a half type, a rounding in float32 decides
            wrong = exact & (ulps != 0) & (actual != rounded)
            self.exact += int(exact.sum())
            if wrong.any():
                at = int(np.argmax(wrong))
                self._refuse(quantity, t, name, at, float(ulps[at]), actual[at], wide[at], 0.0, EXACT_DIGITS)
        at = int(np.argmax(ulps))
        self._note(quantity, t, name, at, float(ulps[at]))
        if not ulps[at] <= allowed:
            self._refuse(quantity, t, name, at, float(ulps[at]), actual[at], wide[at], allowed, budget.reason)

    def _number(self, step: Step, name: str, found: float, expected: float) -> None:
        """A number of the model, which the host computes in one way; or an estimate, made of the arrays' elements."""
        quantity, grown, ulps = "number", 0.0, float(distance(np.array(found, np.float64), np.array(expected)))
        if estimates(step.hyper.program):
            quantity, grown, dtype = "estimate", self.growth, compute_dtype(PARAMETER_DTYPES[self.case.dtype])
            ulps = of_estimate(step, name, found, expected, self._rounding, dtype)
        budget = BUDGETS[quantity, self.case.precision, self.mode]
        self._note(quantity, step.t, name, None, ulps)
        if not ulps <= budget.ulps + grown:
            self._refuse(quantity, step.t, name, None, ulps, found, expected, budget.ulps + grown, budget.reason)

    def _note(self, quantity: str, t: int, name: str, at: int | None, ulps: float) -> None:
        key = (quantity, self.case.precision, self.mode)
        if ulps >= self.worst.get(key, (-1.0, ""))[0]:
            place = "" if at is None else self._place(at)
            self.worst[key] = (ulps, f"{self._where(t)}, {name}{place}")

    def _refuse(
        self,
        quantity: str,
        t: int,
        name: str,
        at: int | None,
        ulps: float,
        found: float,
        expected: float,
        allowed: float,
        reason: str,
    ) -> None:
        place = None if at is None else self._place(at)
        raise Deviation(
            f"{self._where(t)}, {name}{place or ''}: got {float(found)!r}, expected {float(expected)!r}: "
            f"{ulps:.3g} ULPs apart, {allowed:g} are allowed ({reason})",
            leaf=place and place.leaf,
            element=(place.element or 0) if place else 0,
            t=t,
        )

    def _place(self, at: int) -> Place:
        """The leaf and the number of an element of the flat tree."""
        for leaf, size in zip(self.case.leaves, self.counts, strict=True):
            if at < size:
                return Place(leaf, at if size == math.prod(SHAPE_OF[leaf]) else None)
            at -= size
        raise IndexError(at)

    def _in_underflow(self) -> np.ndarray:
        """Which elements of the flat tree have gradients among the subnormal numbers.

        A number for the whole tensor is one of them if all gradients of the tensor are.
        """
        masks = [np.zeros(math.prod(SHAPE_OF[leaf]), bool) for leaf in self.case.leaves]
        for leaf, mask in zip(self.case.leaves, masks, strict=True):
            for regime, lanes in regimes_of(leaf):
                mask[lanes] = regime == "underflow"
        pairs = zip(masks, self.counts, strict=True)
        return np.concatenate([mask if mask.size == count else np.full(count, mask.all()) for mask, count in pairs])


def _flat(arrays: list[np.ndarray]) -> np.ndarray:
    """All elements of a tree, in float64."""
    return np.concatenate([a.ravel() for a in arrays]).astype(np.float64, copy=False)
