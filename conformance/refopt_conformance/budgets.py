"""How far a backend may be from the reference: the one table, in ULPs (see `distance`), with the reasons.

Each number is about twice the largest distance that the four backends of refopt showed on a CPU, over inputs from
several seeds, which is given beside it. They are the distances of programs that round at every operation, in one order
or another; a wrong formula is further away by orders of magnitude.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str, str]  # quantity, dtype of the parameters, mode

ONE_STEP, CHAIN, LONG_CHAIN = "one step", "chain", "long chain"
MODES = (ONE_STEP, CHAIN, LONG_CHAIN)
EXACT_DIGITS = "the result has few digits: no operation on the way to it had to round"


class Budget(NamedTuple):
    ulps: float
    reason: str


_HALF = "computed in float32 and rounded once, to the nearest"
_SLOT_OF_HALF = "a few roundings in float32, the dtype of such slots"
_STEP = "a dozen roundings; what mu*u + g leaves of a cancellation moves a parameter near zero by no less"
_SUM = "a few roundings; what g + wd*w leaves of a cancellation is all there is in a slot near zero"
_DRIFT = "each step adds its roundings, and passes on those before it"
_AVERAGE = "a function of the slots that the backend has: a rounding or two, however far these have drifted"
_NUMBER = "one float64 operation a step, on the host: there is one way to compute it"

_TABLE: tuple[tuple[str, str, dict[str, float], str], ...] = (
    # quantity, mode, ULPs by dtype, reason                                          largest seen
    ("parameter", ONE_STEP, {"float16": 0.51, "bfloat16": 0.51}, _HALF),           # 0.50, 0.50
    ("parameter", ONE_STEP, {"float32": 110, "float64": 110}, _STEP),                # 27, 16
    ("parameter", CHAIN, {"float32": 310, "float64": 310}, _DRIFT),                  # 34, 24
    ("parameter", LONG_CHAIN, {"float32": 1500, "float64": 1500}, _DRIFT),             # 25, 21
    ("parameter", CHAIN, {"float16": 16, "bfloat16": 16}, _HALF),
    ("parameter", LONG_CHAIN, {"float16": 16, "bfloat16": 16}, _HALF),
    ("slot", CHAIN, {"float16": 28, "bfloat16": 28}, _HALF),
    ("average", CHAIN, {"float16": 16, "bfloat16": 16}, _HALF),
    ("number", CHAIN, {"float16": 0, "bfloat16": 0}, _NUMBER),
    ("slot", ONE_STEP, {"float16": 5, "bfloat16": 5}, _SLOT_OF_HALF),              # 2.0, 2.3
    ("slot", ONE_STEP, {"float32": 8, "float64": 20}, _SUM),                       # 3.3, 10
    ("slot", CHAIN, {"float32": 800, "float64": 800}, _DRIFT),                       # 13, 10
    ("slot", LONG_CHAIN, {"float32": 360, "float64": 360}, _DRIFT),                  # 26, 14
    ("average", ONE_STEP, {"float16": 0.51, "bfloat16": 0.51}, _HALF),             # 0.50, 0.50
    ("average", ONE_STEP, {"float32": 3, "float64": 2}, _AVERAGE),                 # 1.4, 1
    ("average", CHAIN, {"float32": 3, "float64": 2}, _AVERAGE),                    # 1.5, 1
    ("average", LONG_CHAIN, {"float32": 3, "float64": 2}, _AVERAGE),               # 1.5, 1
    ("number", ONE_STEP, {"float16": 0, "bfloat16": 0}, _NUMBER),                  # 0
    ("number", ONE_STEP, {"float32": 0, "float64": 0}, _NUMBER),                   # 0
    ("number", CHAIN, {"float32": 0, "float64": 0}, _NUMBER),                      # 0
    ("number", LONG_CHAIN, {"float32": 0, "float64": 0}, _NUMBER),                 # 0
)  # fmt: skip

BUDGETS: dict[Key, Budget] = {
    (quantity, dtype, mode): Budget(ulps, reason)
    for quantity, mode, row, reason in _TABLE
    for dtype, ulps in row.items()
}
