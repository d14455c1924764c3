"""The functions that a rule's source may call, and the scalars that it computes with.

A rule runs in NumPy as it stands. Two things would go wrong with plain Python floats and `np.sqrt`:

* `np.sqrt(0.5)` is a strong float64 scalar, and would promote every float32 array that it meets;
* `1.0 / 0.0` raises in Python, where IEEE-754 and every framework answer infinity.

So engines hand a rule its hyper-parameters as `Scalar`: a float64 that follows IEEE-754 and stays *weak*, as a Python
float is: beside a float32 array it is rounded once to float32.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from refopt.spec import newton_schulz as iteration
from refopt.spec import sets
from refopt.spec.complex_pairs import OF_PAIRS

BLOCK = 4096  # elements under one leaf of the reduction tree
LANES = 16  # independent accumulators within a block


class Scalar(float):
    """A float64 with IEEE-754 semantics (1/0 is infinity) that stays weak beside arrays of a narrower dtype."""

    __array_ufunc__ = None  # `array * scalar` then asks Scalar.__rmul__, which answers with a weak Python float

    def __neg__(self) -> Scalar:
        return Scalar(-float(self))

    def __abs__(self) -> Scalar:
        return Scalar(abs(float(self)))


def _operator(compute: Callable[[Any, Any], Any], swapped: bool) -> Callable[[Scalar, Any], Any]:
    def method(self: Scalar, other: Any) -> Any:
        if isinstance(other, (np.ndarray, np.generic)):
            return compute(other, float(self)) if swapped else compute(float(self), other)
        left, right = np.float64(self), np.float64(other)
        with np.errstate(all="ignore"):
            return Scalar(compute(right, left) if swapped else compute(left, right))

    return method


for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Scalar, f"__{_name}__", _operator(getattr(operator, _name), swapped=False))
    setattr(Scalar, f"__r{_name}__", _operator(getattr(operator, _name), swapped=True))


def sqrt(x: Any) -> Any:
    """The square root: of an array in its own dtype, of a scalar in float64 and still weak."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np.sqrt(x)
    with np.errstate(all="ignore"):
        return Scalar(np.sqrt(np.float64(x)))


def maximum(a: Any, b: Any) -> Any:
    """The larger of two, element by element; NaN if either is NaN."""
    return _extremum(np.maximum, a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two, element by element; NaN if either is NaN."""
    return _extremum(np.minimum, a, b)


def _extremum(compute: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    if any(isinstance(x, (np.ndarray, np.generic)) for x in (a, b)):
        return compute(*(float(x) if isinstance(x, Scalar) else x for x in (a, b)))
    return Scalar(compute(np.float64(a), np.float64(b)))


def sign(x: Any) -> Any:
    """-1, 0 or 1, element by element; of either zero 0, of NaN NaN."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np.sign(x)
    return Scalar(np.sign(np.float64(x)))


def full_like(x: np.ndarray, value: float) -> np.ndarray:
    """An array like x, all of whose elements are this number: what a slot starts from, where a number says it."""
    return np.full_like(x, float(value))


def where(test: Any, yes: Any, no: Any) -> Any:
    """Each element of `yes` where the test of the elements holds, else of `no`, one of which is an array.

    What depends on the step or the tensor alone is chosen with `yes if test else no`.
    """
    dtype = next((x.dtype for x in (yes, no) if isinstance(x, (np.ndarray, np.generic))), None)
    if dtype is None:
        raise TypeError("where: one of the two must be an array, whose dtype the other takes: where(p > 0, s * a, 0)")
    return np.where(test, *(x if isinstance(x, (np.ndarray, np.generic)) else dtype.type(x) for x in (yes, no)))


def norm(x: Any) -> Scalar:
    """The Euclidean norm of all elements, `sqrt(sum_of_squares(x))`, as a weak float64 scalar."""
    return sqrt(Scalar(sum_of_squares(np.asarray(x))))


def ndim(x: Any) -> Scalar:
    """The number of dimensions."""
    return Scalar(np.ndim(x))


def min_along(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """For every element of x, the smallest of what `a` has for its sets: its row, its column, and so on."""
    return sets.min_along(a, np.shape(x))


def max_along(x: np.ndarray) -> np.ndarray:
    """For every set of elements (each row, each column, and so on), the largest of them, none of which is negative."""
    return sets.max_along(np.asarray(x), np.shape(x))


def row_means(x: np.ndarray, like: np.ndarray, least: int = 0) -> np.ndarray:
    """The mean of each row, with 1 for the columns; nothing if there are none.

    Rows and columns are those of `like`: its last two dimensions or, from a `least` size on, its two largest
    (`refopt.spec.sets.pair`).
    """
    found = sets.pair(np.shape(like), least)
    return sets.means(np.asarray(x), found and found[1])


def column_means(x: np.ndarray, like: np.ndarray, least: int = 0) -> np.ndarray:
    """The mean of each column, with 1 for the rows; nothing if there are none. As `row_means`."""
    found = sets.pair(np.shape(like), least)
    return sets.means(np.asarray(x), found and found[0])


def vector(x: np.ndarray, least: int = 0) -> np.ndarray:
    """The elements of what has no rows and columns, of all else nothing."""
    return np.zeros(0, x.dtype) if sets.pair(np.shape(x), least) else np.asarray(x)


def outer(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """For every element, the number of its row times that of its column."""
    return rows * columns


def second_size(x: Any) -> Scalar:
    """The size of the second largest dimension; 0 if there is none."""
    return Scalar(sorted(np.shape(x))[-2] if np.ndim(x) > 1 else 0)


def size(x: Any) -> Scalar:
    """The number of elements."""
    return Scalar(np.size(x))


def rows(x: Any) -> Scalar:
    """The number of rows of a tensor as a matrix: its first dimension; a vector is one column."""
    return Scalar(iteration.matrix(np.shape(x))[0])


def columns(x: Any) -> Scalar:
    """The number of columns of a tensor as a matrix: of all dimensions but the first."""
    return Scalar(iteration.matrix(np.shape(x))[1])


def newton_schulz(x: np.ndarray) -> np.ndarray:
    """The matrix, of norm 1 or less, with singular values near 1 in place of its own: five steps, Jordan's numbers."""
    return iteration.newton_schulz(np.asarray(x), np.shape(x))


def newton_schulz_dion(x: np.ndarray) -> np.ndarray:
    """The same, with the numbers of Dion, which differ from step to step."""
    return iteration.newton_schulz(np.asarray(x), np.shape(x), iteration.DION)


def total(x: Any) -> Scalar:
    """The sum of all elements over all parameters of the model, as a weak float64 scalar; alone in its line.

    The elements of each array are added in the tree of `sum_of_squares`, a number for the tensor counts once, and the
    parameters' sums are added in their order. Called as it stands, the model is the one parameter.
    """
    return Scalar(tree_sum(x))


def sum_of_squares(x: np.ndarray) -> float:
    """The sum of squares in float64, in the tree of `tree_sum`."""
    wide = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        return tree_sum(wide * wide)


def tree_sum(x: Any) -> float:
    """The sum in float64, in one fixed tree that every engine shares.

    In C order the elements are cut into blocks of `BLOCK`. Within a block, lane j of `LANES` adds to zero the elements
    j, j + LANES, j + 2*LANES, ... one after the other; the lanes are folded in halves (8, 4, 2, 1); the
    blocks are added one after the other. A short last block counts as filled with zeros, which change nothing.
    """
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    if flat.size == 0:
        return 0.0
    rows = -(-min(flat.size, BLOCK) // LANES)
    blocks = -(-flat.size // (rows * LANES))
    padded = np.zeros(blocks * rows * LANES)
    with np.errstate(all="ignore"):
        padded[: flat.size] = flat
        elements = padded.reshape(blocks, rows, LANES)
        lanes = np.zeros((blocks, LANES))
        for row in range(rows):
            lanes += elements[:, row]
        width = LANES
        while width > 1:
            width //= 2
            lanes = lanes[:, :width] + lanes[:, width : 2 * width]
        return float(np.add.accumulate(lanes[:, 0])[-1])


# What a rule may call. The clock of a call is that of its fastest argument, except where named here.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": sqrt,
    "maximum": maximum,
    "minimum": minimum,
    "abs": abs,
    "sign": sign,
    "full_like": full_like,
    "where": where,
    "norm": norm,
    "ndim": ndim,
    "min_along": min_along,
    "max_along": max_along,
    "row_means": row_means,
    "column_means": column_means,
    "vector": vector,
    "outer": outer,
    "size": size,
    "second_size": second_size,
    "rows": rows,
    "columns": columns,
    "newton_schulz": newton_schulz,
    "newton_schulz_dion": newton_schulz_dion,
    "total": total,
    **OF_PAIRS,
}
REDUCTIONS = frozenset({"norm"})  # need a pass over the tensor
TOTALS = frozenset({"total"})  # need a pass over the model
PROPERTIES = frozenset({"ndim", "size", "second_size", "rows", "columns"})  # known from the shape alone
MEANS = {"row_means": 1, "column_means": 0}  # by which of the pair (`refopt.spec.sets.pair`) they are over
OF_SETS = frozenset({"max_along", "vector", *MEANS})  # one number for each set of elements (`refopt.spec.sets`)
FROM_SETS = frozenset({"min_along", "outer"})  # one for each element, from those of its sets
# One for each element, from all elements as a matrix; and the numbers that each takes (`refopt.spec.newton_schulz`).
OF_MATRICES = {"newton_schulz": iteration.QUINTIC, "newton_schulz_dion": iteration.DION}
JUMPS = frozenset({"sign", "where"})  # one rounding of the argument may change the answer by any amount
