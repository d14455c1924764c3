"""How far a backend may be from the reference: the one table, in ULPs (see `distance`), with the reasons.

Beside each number stands the largest distance that the four backends of refopt have shown on a CPU, and the input that
shows it (`worst.json`, which `python -m refopt_conformance.worst` gathers from runs of the full profile). A budget is
about twice that. These are the distances of programs that round at every operation, in one order or another; a wrong
formula is further away by orders of magnitude.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from refopt.spec.functions import BLOCK, LANES
from refopt_conformance.amplification import AMPLIFIED, MATRIX
from refopt_conformance.worst import measured

Key: TypeAlias = tuple[str, str, str]  # quantity, precision (the dtype, or `pure_bfloat16`), mode

ONE_STEP, CHAIN, LONG_CHAIN = "one step", "chain", "long chain"
LARGE_TENSOR = "large tensor"
MODES = (ONE_STEP, CHAIN, LONG_CHAIN, LARGE_TENSOR)
EXACT_DIGITS = "the result has few digits: no operation on the way to it had to round"


class Budget(NamedTuple):
    """What is allowed, why, and the largest that was measured: how much, by whom, on which input."""

    ulps: float
    reason: str
    worst: float
    backend: str
    where: str


_HALF = "computed in float32 and rounded once, to the nearest"
_HALF_DRIFT = "in the dtype of the parameters, which are rounded at each step"
_SLOT_OF_HALF = "a few roundings in float32, the dtype of such slots"
_PURE = "computed in float32 from what the backend had itself, and rounded once, to the nearest"
_STEP = "a dozen roundings, also of what an epsilon divides, which is larger than the parameter that it moves"
_SUM = "a few roundings, also of g + wd*w, whose terms may be larger; a square doubles those of a quotient"
_DRIFT = "each step adds its roundings, and passes on those before it; where eps is tiny, a step amplifies them"
_MOVED = f"{_DRIFT}; a step along a first moment that all but cancelled keeps what the moment lost"
_LONG = "two thousand roundings of a parameter that goes back and forth, all in one direction at worst"
_NORM = "as one step; beyond that, what the tree of additions of a norm may lose (norm_growth)"
_AVERAGE = "a function of the slots that the backend has: a rounding or two, however far these have drifted"
_NUMBER = "one float64 operation a step, on the host: there is one way to compute it"
_MATRIX = "a rounding of the matrix, times the slope of the iteration at zero; as of its largest element"
_COLUMN = "of one column, whose singular value is 1: there the slope is small; and what sums of many squares lose"
_MATRIX_HALF = "computed in float32, whose roundings the slope multiplies, and rounded once"
_FLOAT16, _BFLOAT16 = (0.51 + AMPLIFIED / 2**digits for digits in (13, 16))  # that float32 has more
_ESTIMATE = "made of sums over the model, whose terms are rounded; what is left of these is held against nearby"

_TABLE: tuple[tuple[str, str, dict[str, float], str], ...] = (
    # quantity, mode, ULPs by dtype, reason
    ("parameter", ONE_STEP, {"float32": 40, "float64": 30}, _STEP),
    ("parameter", ONE_STEP, {"float16": 0.51, "bfloat16": 0.51}, _HALF),
    ("parameter", CHAIN, {"float32": 120, "float64": 800}, _MOVED),
    ("parameter", CHAIN, {"float16": 16, "bfloat16": 16}, _HALF_DRIFT),
    ("parameter", LONG_CHAIN, {"float32": 1500, "float64": 550}, _LONG),
    ("slot", ONE_STEP, {"float32": 12, "float64": 20}, _SUM),
    ("slot", ONE_STEP, {"float16": 12, "bfloat16": 12}, _SLOT_OF_HALF),
    ("slot", CHAIN, {"float32": 250, "float64": 250}, _DRIFT),
    ("slot", CHAIN, {"float16": 14, "bfloat16": 16}, _HALF_DRIFT),
    ("slot", LONG_CHAIN, {"float32": 550, "float64": 550}, _LONG),
    ("average", ONE_STEP, {"float32": 3, "float64": 2}, _AVERAGE),
    ("average", ONE_STEP, {"float16": 0.51, "bfloat16": 0.51}, _HALF),
    ("average", CHAIN, {"float32": 3, "float64": 2}, _AVERAGE),
    ("average", CHAIN, {"float16": 1, "bfloat16": 1}, _HALF),
    ("average", LONG_CHAIN, {"float32": 3, "float64": 2}, _AVERAGE),
    ("number", ONE_STEP, {"float32": 0, "float64": 0, "float16": 0, "bfloat16": 0}, _NUMBER),
    ("number", CHAIN, {"float32": 0, "float64": 0, "float16": 0, "bfloat16": 0}, _NUMBER),
    *((MATRIX, mode, {"float32": AMPLIFIED, "float64": AMPLIFIED}, _MATRIX) for mode in (ONE_STEP, CHAIN)),
    (MATRIX, LONG_CHAIN, {"float32": 2 * AMPLIFIED, "float64": AMPLIFIED}, _LONG),
    (MATRIX, LARGE_TENSOR, {"float32": 60, "float64": 15}, _COLUMN),
    (MATRIX, ONE_STEP, {"float16": _FLOAT16, "bfloat16": _BFLOAT16}, _MATRIX_HALF),
    (MATRIX, CHAIN, {"float16": 16, "bfloat16": 16}, _HALF_DRIFT),
    *(
        (
            MATRIX,
            mode,
            {"pure_float16": _FLOAT16, "pure_bfloat16": _BFLOAT16},
            _MATRIX_HALF,
        )
        for mode in (ONE_STEP, CHAIN)
    ),
    *(
        ("estimate", mode, dict.fromkeys(("float32", "float64", "float16", "bfloat16"), 8.0), _ESTIMATE)
        for mode in (ONE_STEP, CHAIN, LONG_CHAIN, LARGE_TENSOR)
    ),
    ("parameter", LARGE_TENSOR, {"float32": 15, "float64": 200}, _NORM),
    ("slot", LARGE_TENSOR, {"float32": 8, "float64": 60}, _NORM),
    ("number", LONG_CHAIN, {"float32": 0, "float64": 0}, _NUMBER),
    *(
        (quantity, mode, {"pure_float16": ulps, "pure_bfloat16": ulps}, reason)
        for mode in (ONE_STEP, CHAIN)
        for quantity, ulps, reason in (
            ("parameter", 0.51, _PURE),
            ("slot", 0.51, _PURE),
            ("average", 0.51, _PURE),
            ("number", 0, _NUMBER),
            ("estimate", 8, _ESTIMATE),
        )
    ),
)


# ULPs more for an optimizer that knows nothing of refopt: most round 1 - beta to float32, which of 0.999 loses 216, in
# each of two moments. refopt's own ports do not.
COEFFICIENTS = 432.0


def _budgets() -> dict[Key, Budget]:
    seen = measured()
    found = {}
    for quantity, mode, row, reason in _TABLE:
        for dtype, ulps in row.items():
            worst = seen.get(", ".join((quantity, dtype, mode)), {"ulps": 0.0, "backend": "", "where": "never run"})
            found[quantity, dtype, mode] = Budget(ulps, reason, worst["ulps"], worst["backend"], worst["where"])
    return found


BUDGETS: dict[Key, Budget] = _budgets()


def norm_growth(elements: int) -> float:
    """What norms of so many elements may add to the distance of a parameter or slot, in ULPs.

    The documented tree (`refopt.spec.functions.sum_of_squares`) adds the squares of a block in lanes, folds the lanes,
    and adds the blocks. In the dtype of the parameters each addition may lose half a unit of the sum, half of which is
    left after the root; two norms and their quotient make it half a unit for each addition.
    """
    rows = -(-min(elements, BLOCK) // LANES)
    blocks = -(-elements // (max(rows, 1) * LANES))
    return max(rows - 1, 0) / 2 + (LANES.bit_length() - 1) / 2 + max(blocks - 1, 0) / 2
