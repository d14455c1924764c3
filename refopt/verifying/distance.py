"""How far a trace is from a variant, in ULPs, and how far counts as rounding.

The unit of an element at step t is the spacing of its dtype at the largest magnitude that the element has had so far: a
parameter that has been 1 keeps the rounding of 1 when it comes back to 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from refopt.spec.declare import Slot
from refopt.spec.functions import Scalar
from refopt.spec.program import Program
from refopt.verifying.shared import Shared, compiled, of_tensors
from refopt.verifying.trace import Arrays

# How many ULPs of difference count as rounding. Frameworks round hyper-parameters to float32 (1 - 0.999 costs 216 ULP
# there), and errors add up over steps; in float64 nobody does, so twelve binary digits are ample.
ROUNDING = {"float64": 1024.0, "float32": 1024.0, "float16": 64.0, "bfloat16": 64.0}
# A variant further away than this many times that is excluded; anything between is left open.
EXCLUDED = 8.0


def rounding(dtype: np.dtype, steps: int) -> float:
    """The distance that counts as rounding after so many steps."""
    return ROUNDING[dtype.name] * max(1.0, steps / 100)


@dataclass(frozen=True)
class Deviation:
    """Where a trace leaves a variant: step (from 1), parameter, element, what was expected and what came.

    `trace` is the trace's number, from 1, and `name` what it is called.
    """

    step: int
    quantity: str
    expected: float
    actual: float
    distance: float
    trace: int = 1
    name: str = ""


@dataclass(frozen=True)
class Fit:
    """The largest distance of traces from a variant, and the first step at which it is no rounding (None: never).

    `allowed` is what counts as rounding in the trace where that distance is the largest share of it.
    """

    distance: float
    first: Deviation | None
    allowed: float

    @property
    def share(self) -> float:
        return self.distance / self.allowed

    @property
    def excludes(self) -> bool:
        """Whether it is far more than rounding. Between the two, nothing is decided."""
        return self.share > EXCLUDED

    @property
    def reached(self) -> tuple[int, int]:
        """How far it agrees: the trace and the step where it first does not."""
        return (self.first.trace, self.first.step) if self.first else (sys.maxsize, 0)


class Comparison:
    """One trace, prepared for comparison with many variants: float64, and element rules on one long array.

    Distances are in ULPs of the trace's dtype; up to `allowed` they are rounding.
    """

    def __init__(self, arrays: Arrays, hyper: Sequence[Mapping[str, float]], number: int = 1) -> None:
        self.spacing = float(ml_dtypes.finfo(arrays.dtype).eps)
        self.allowed = rounding(arrays.dtype, len(hyper))
        self.number, self.name = number, arrays.name
        self.whole = _Rows(arrays, join=True)
        self.each = _Rows(arrays, join=False)
        self.numbers = [
            {name: Scalar(value) for name, value in {**now, "t": step}.items()} for step, now in enumerate(hyper, 1)
        ]
        self.shared = Shared()

    def fit(self, program: Program, *, thorough: bool = False) -> Fit:
        """The distance from a variant. Unless `thorough`, it stops at the first step that excludes the variant."""
        rows = self.each if of_tensors(program.lines) else self.whole
        worst, first = 0.0, None
        largest = list(rows.largest)
        with np.errstate(all="ignore"):
            for step, expected in enumerate(self.expected(program, rows), start=1):
                for i, (value, actual) in enumerate(zip(expected, rows.results[step - 1], strict=True)):
                    largest[i] = self.shared(_larger, largest[i], value)
                    distance, at = self.shared(_farthest, actual, value, largest[i], self.spacing)
                    worst = max(worst, distance)
                    if first is None and distance > self.allowed:
                        first = Deviation(
                            step,
                            rows.place(i, at),
                            float(value.flat[at]),
                            float(actual.flat[at]),
                            distance,
                            self.number,
                            self.name,
                        )
                if worst > EXCLUDED * self.allowed and not thorough:
                    break
        return Fit(worst, first, self.allowed)

    def agrees(self, program: Program) -> bool:
        """Whether a variant comes to the same but for rounding; of complex arrays, in complex arithmetic."""
        rows = self.each if of_tensors(program.lines) else self.whole
        largest = list(rows.largest)
        with np.errstate(all="ignore"):
            for expected, actual in zip(self.expected(program, rows), rows.results, strict=True):
                largest = [_larger(*pair) for pair in zip(largest, expected, strict=True)]
                found = (_farthest(*three, self.spacing)[0] for three in zip(actual, expected, largest, strict=True))
                if not max(found, default=0.0) <= self.allowed:
                    return False
        return True

    def expected(self, program: Program, rows: _Rows) -> Iterator[list[np.ndarray]]:
        """What the variant makes of the trace's input, step by step."""
        update = compiled(program.lines)
        average = compiled(program.averaging.lines) if program.averaging else None
        params = rows.params
        arrays = [slot for slot in program.slots if slot.clock != "step"]
        state = [{slot.name: self.shared(_start, slot, w) for slot in arrays} for w in params]
        kept = {slot.name: self.shared(_number, slot) for slot in program.numbers}
        for grads, numbers in zip(rows.grads, self.numbers, strict=True):
            model: list[dict[str, Any]] = []
            for i, w in enumerate(params):
                given = {"w": w, "g": grads[i]} if program.reads_gradient else {"w": grads[i]}
                model.append({**numbers, **given, **state[i], **kept})
            self.shared.run(update, model)
            state = [{name: values[name] for name in old} for old, values in zip(state, model, strict=True)]
            kept = {name: values[name] for values in model[-1:] for name in kept}
            if average is not None:
                model = [{**numbers, **own} for own in state]
                self.shared.run(average, model)
            results = [values["w" if average is None else "a"] for values in model]
            params = results if program.writes_parameter else params
            yield results


class _Rows:
    """The trace's arrays in float64: each for itself, or all joined into one (for rules that know no tensors)."""

    def __init__(self, arrays: Arrays, *, join: bool) -> None:
        def rows(leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
            wide = [np.asarray(a, np.complex128 if np.iscomplexobj(a) else np.float64) for a in leaves]
            return [np.concatenate([a.reshape(-1) for a in wide])] if join else wide

        self.params = rows(arrays.params)
        self.largest = [np.abs(w) for w in self.params]
        self.grads = [rows(leaves) for leaves in arrays.grads]
        self.results = [rows(leaves) for leaves in arrays.results]
        self.sizes = [a.size for a in arrays.params] if join else None
        self.paths = arrays.paths

    def place(self, row: int, at: int) -> str:
        """The name of an element: `params['w'].flat[3]`."""
        if self.sizes is not None:
            edges = np.cumsum(self.sizes)
            row = int(np.searchsorted(edges, at, side="right"))
            at -= int(edges[row] - self.sizes[row])
        return f"params{self.paths[row]}.flat[{at}]"


def _start(slot: Slot, w: np.ndarray) -> np.ndarray | Scalar:
    if slot.init == "params":
        return w
    if slot.clock == "tensor":
        return Scalar(0.0 if slot.init == "zeros" else slot.init)
    return np.full(slot.shape(w.shape), 0.0 if slot.init == "zeros" else slot.init)


def _number(slot: Slot) -> Scalar:
    return Scalar(slot.init)


def _larger(largest: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The largest finite magnitudes so far."""
    return np.asarray(np.where(np.isfinite(value), np.fmax(largest, np.abs(value)), largest))


def _farthest(actual: np.ndarray, expected: np.ndarray, largest: np.ndarray, spacing: float) -> tuple[float, int]:
    """The largest distance in ULPs, and the element that has it; NaN and infinity must be met exactly."""
    if actual.size == 0:
        return 0.0, 0
    gap = np.abs(actual - expected)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    distance = np.where(same, 0.0, gap / (spacing * largest))
    distance = np.where(np.isnan(distance), np.inf, distance)
    return float(distance.max()), int(distance.argmax())
