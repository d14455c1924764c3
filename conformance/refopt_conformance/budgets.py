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


class Budget(NamedTuple):
    ulps: float
    reason: str


_HALF = "computed in float32 and rounded once, to the nearest"
_SLOT_OF_HALF = "a few roundings in float32, the dtype of such slots"
_STEP = "a dozen roundings; what mu*u + g leaves of a cancellation moves a parameter near zero by no less"
_SUM = "a few roundings; what g + wd*w leaves of a cancellation is all there is in a slot near zero"
_DRIFT = "each step adds its roundings, and passes on those before it"
_AVERAGE = "a few roundings, and one more where the start is divided out"
_NUMBER = "one float64 operation a step, on the host: there is one way to compute it"

_TABLE: tuple[tuple[str, str, dict[str, float], str], ...] = (
    # quantity, mode, ULPs by dtype, reason                                          largest seen
    ("parameter", ONE_STEP, {"float16": 0.51, "bfloat16": 0.51}, _HALF),           # 0.50, 0.50
    ("parameter", ONE_STEP, {"float32": 32, "float64": 32}, _STEP),                # 16, 16
    ("parameter", CHAIN, {"float32": 64, "float64": 64}, _DRIFT),                  # 34, 29
    ("parameter", LONG_CHAIN, {"float32": 64, "float64": 80}, _DRIFT),             # 19, 37
    ("slot", ONE_STEP, {"float16": 8, "bfloat16": 8}, _SLOT_OF_HALF),              # 3.2, 3.5
    ("slot", ONE_STEP, {"float32": 48, "float64": 16}, _SUM),                      # 26, 8
    ("slot", CHAIN, {"float32": 48, "float64": 16}, _DRIFT),                       # 21, 8
    ("slot", LONG_CHAIN, {"float32": 64, "float64": 80}, _DRIFT),                  # 22, 34
    ("average", ONE_STEP, {"float16": 0.51, "bfloat16": 0.51}, _HALF),             # 0.50, 0.50
    ("average", ONE_STEP, {"float32": 9, "float64": 6}, _AVERAGE),                 # 4.4, 3
    ("average", CHAIN, {"float32": 18, "float64": 16}, _DRIFT),                    # 8.5, 8
    ("average", LONG_CHAIN, {"float32": 6, "float64": 6}, _DRIFT),                 # 3.0, 3
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
