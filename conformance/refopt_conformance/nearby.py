"""What a definition comes to nearby: from arrays that are a few roundings away from those of a step.

Where terms cancel that are large beside the result, one rounding of a term moves the result by many ULPs, in any order
of operations. And where a sign is taken of what is left, a rounding may turn it: 0.9*m + 0.1*g is zero by the equations
where g is -9*m, and of either sign once it is computed. No answer between those that the definition itself gives nearby
is an error. So what is over a budget is held against these.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from refopt.clocks import Clock, of_elements, of_model
from refopt.clocks.analysis import clock_of, initial_clocks
from refopt.engines.dtypes import compute_dtype
from refopt.engines.numpy_engine import BACKEND as REFERENCE
from refopt.spec.functions import JUMPS
from refopt.spec.program import Program
from refopt_conformance.distance import distance
from refopt_conformance.reference import State, Step, Wide

ROUNDINGS = 4.0  # of a term: two factors, their product, and the sum before
SMOOTH = 64.0  # what is a jump moves an element by more than so many times what its arrays were moved by


@cache
def jumps(program: Program) -> bool:
    """Whether the program calls a function that jumps."""
    nodes = (node for line in program.lines for node in ast.walk(line.value))
    return any(isinstance(node, ast.Call) and getattr(node.func, "id", "") in JUMPS for node in nodes)


def divides(program: Program) -> bool:
    """Whether elements are divided."""
    names = initial_clocks(program)
    for line in program.lines:
        for node in ast.walk(line.value):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and clock_of(node, names) is Clock.ELEMENT:
                return True
        names[line.target] = clock_of(line.value, names)
    return False


def rounding(dtype: np.dtype, more: float) -> float:
    """How far away nearby is, relatively; `more` is in ULPs."""
    return (ROUNDINGS + more) * float(ml_dtypes.finfo(dtype).eps)


def nearby(step: Step, by: float) -> list[State]:
    """The step again from each array times 1 - `by` and 1 + `by`; and with subnormal numbers taken for zero."""
    wide = Wide([w.shape for w in step.before.params], joined=of_elements(step.hyper.program))
    arrays = {
        "w": wide.of(step.before.params),
        "g": wide.of(step.grads) if step.grads else [],
        **wide.slots(step.before.slots, wide.of),
    }
    tensors = {name: array for name, array in arrays.items() if isinstance(array, list) and array}
    with np.errstate(all="ignore"):
        moves = [{name: [x * factor for x in array]} for name, array in tensors.items() for factor in (1 - by, 1 + by)]
    if of_model(step.hyper.program):  # in a sum over the model, each element is rounded to a side of its own
        sides = np.random.default_rng(0)
        for _ in range(2):
            moves.append(
                {
                    name: [x * (1 + by * sides.choice((-1, 1), x.shape)) for x in array]
                    for name, array in tensors.items()
                }
            )
    tiny = min((float(ml_dtypes.finfo(compute_dtype(w.dtype)).tiny) for w in step.before.params), default=0.0)
    if any((np.abs(x) < tiny)[x != 0].any() for array in tensors.values() for x in array):
        moves.append({name: [np.where(np.abs(x) < tiny, 0.0, x) for x in array] for name, array in tensors.items()})
    return [_again(step, wide, arrays | move) for move in moves]


def _again(step: Step, wide: Wide, arrays: dict[str, Any]) -> State:
    w, g = arrays.pop("w"), arrays.pop("g")
    params, slots = REFERENCE.update(step.hyper, step.t, w, g or None, arrays, in_place=False)
    return State(wide.leaves(params), wide.slots(slots, wide.leaves))


def jumped(there: np.ndarray, here: np.ndarray, size: np.ndarray, by: float) -> np.ndarray:
    """Which elements are further apart than a smooth function moves."""
    with np.errstate(all="ignore"):
        return np.abs(there - here) > SMOOTH * by * size


def between(
    actual: np.ndarray, here: np.ndarray, others: list[np.ndarray], size: np.ndarray, dtype: np.dtype | None
) -> np.ndarray:
    """The distance in ULPs from what is expected here and nearby; of zeros that from here, for they have signs."""
    least, most = np.min([here, *others], axis=0), np.max([here, *others], axis=0)
    with np.errstate(all="ignore"):
        itself = np.isnan(actual) | ((actual == 0) & (here == 0))  # no number lies between others
        target = np.where(itself, here, np.clip(actual.astype(np.float64), least, most))
    return distance(actual, target, size, dtype)


def of_estimate(step: Step, name: str, found: float, expected: float, by: float, dtype: np.dtype) -> float:
    """The distance in ULPs of a number that was made of all arrays; of what cancels in it, that from what is nearby."""
    actual, wide = np.array(found, np.float64), np.array(expected)
    size = np.maximum(np.abs(wide), abs(step.before.slots[name]))
    ulps = float(distance(actual, wide, size, dtype))
    if ulps <= ROUNDINGS:
        return ulps
    others = [np.array(state.slots[name]) for state in nearby(step, by)]
    return float(between(actual, wide, others, size, dtype))
