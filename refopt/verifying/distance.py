"""How far a trace is from a variant, in ULPs, and how far counts as rounding.

The unit of an element at step t is the spacing of its dtype at the largest magnitude that the element has had so far: a
parameter that has been 1 keeps the rounding of 1 when it comes back to 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from refopt.clocks import Clock, clocks
from refopt.engines.numpy_engine import run
from refopt.spec.program import Program
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
    """Where a trace leaves a variant: step (from 1), parameter, element, what was expected and what came."""

    step: int
    quantity: str
    expected: float
    actual: float
    distance: float


@dataclass(frozen=True)
class Fit:
    """The largest distance of a trace from a variant, and the first step at which it is no rounding (None: never)."""

    distance: float
    first: Deviation | None


class Comparison:
    """One trace, prepared for comparison with many variants: float64, and element rules on one long array."""

    def __init__(self, arrays: Arrays, hyper: Sequence[Mapping[str, float]]) -> None:
        self.arrays = arrays
        self.hyper = hyper
        self.spacing = float(_eps(arrays.dtype))
        self.allowed = rounding(arrays.dtype, len(arrays.grads))
        self.whole = _Rows(arrays, join=True)
        self.each = _Rows(arrays, join=False)

    def fit(self, program: Program, *, thorough: bool = False) -> Fit:
        """The distance from a variant. Unless `thorough`, it stops at the first step that excludes the variant."""
        rows = self.each if Clock.TENSOR in clocks(program) else self.whole
        worst, first = 0.0, None
        largest = [np.array(np.abs(w)) for w in rows.params]
        for step, expected in enumerate(self.expected(program, rows), start=1):
            for i, (value, actual) in enumerate(zip(expected, rows.results[step - 1], strict=True)):
                np.fmax(largest[i], np.abs(value), out=largest[i], where=np.isfinite(value))
                distance = _distances(actual, value, largest[i], self.spacing)
                here = float(distance.max(initial=0.0))
                if here > worst:
                    worst = here
                if first is None and here > self.allowed:
                    at = int(distance.argmax())
                    first = Deviation(step, rows.place(i, at), float(value.flat[at]), float(actual.flat[at]), here)
            if worst > EXCLUDED * self.allowed and not thorough:
                break
        return Fit(worst, first)

    def expected(self, program: Program, rows: _Rows) -> Iterator[list[np.ndarray]]:
        """What the variant makes of the trace's input, step by step."""
        params = rows.params
        state = [_initial(program, w) for w in params]
        numbers = {slot.name: float(slot.init) for slot in program.numbers}
        for step, (grads, values) in enumerate(zip(rows.grads, self.hyper, strict=True), start=1):
            new_numbers = numbers
            results = []
            for i, w in enumerate(params):
                given = {"w": w, "g": grads[i]} if program.reads_gradient else {"w": grads[i]}
                outputs = run(program, values, step, {**given, **state[i]}, numbers)
                state[i] = {name: outputs[name] for name in state[i]}
                new_numbers = {name: outputs[name] for name in numbers}
                if program.evaluate is not None:
                    results.append(run(program.evaluate, values, step, state[i], {})["a"])
                else:
                    results.append(outputs["w"])
            numbers = new_numbers
            params = results if program.writes_parameter else params
            yield results


class _Rows:
    """The trace's arrays in float64: each for itself, or all joined into one (for rules that know no tensors)."""

    def __init__(self, arrays: Arrays, *, join: bool) -> None:
        def rows(leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
            wide = [np.asarray(a, np.float64) for a in leaves]
            return [np.concatenate([a.reshape(-1) for a in wide])] if join and wide else wide

        self.params = rows(arrays.params)
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


def _initial(program: Program, w: np.ndarray) -> dict[str, np.ndarray]:
    return {
        slot.name: w.copy() if slot.init == "params" else np.full(w.shape, 0.0 if slot.init == "zeros" else slot.init)
        for slot in program.slots
        if slot.clock == "element"
    }


def _eps(dtype: np.dtype) -> float:
    return float(ml_dtypes.finfo(dtype).eps)


def _distances(actual: np.ndarray, expected: np.ndarray, largest: np.ndarray, spacing: float) -> np.ndarray:
    """Elementwise distance in ULPs; NaN and infinity must be met exactly."""
    with np.errstate(all="ignore"):
        gap = np.abs(actual - expected)
        distance = np.where(gap == 0, 0.0, gap / (spacing * largest))
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    distance = np.where(same, 0.0, distance)
    return np.where(np.isnan(distance), np.inf, distance)
