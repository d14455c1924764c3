"""The sets that a tensor's elements are in: for each dimension, and each index along it, the elements with that index.

Of a matrix they are its rows and its columns; an element of a tensor of d dimensions is in d sets. What is kept for
every set is one flat array, dimension after dimension: of shape (3, 5), for 3 rows and then for 5 columns. A tensor
without dimensions is one set of one element.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np


def pair(shape: tuple[int, ...], least: int = 0) -> tuple[int, int] | None:
    """The dimensions whose indices count rows and columns; None if there are none.

    They are the last two or, from a `least` size on, the two largest, in their order (of equal ones the last).
    """
    if len(shape) < 2:
        return None
    if not least:
        return len(shape) - 2, len(shape) - 1
    row, column = sorted(sorted(range(len(shape)), key=lambda k: (shape[k], k))[-2:])
    return (row, column) if min(shape[row], shape[column]) >= least else None


def rows(shape: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    """The shape of what has one number for each row: that of the tensor with 1 for its columns; if none, nothing."""
    found = pair(shape, least)
    return tuple(1 if k == found[1] else size for k, size in enumerate(shape)) if found else (0,)


def columns(shape: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    """The shape of what has one number for each column: that of the tensor with 1 for its rows; if none, nothing."""
    found = pair(shape, least)
    return tuple(1 if k == found[0] else size for k, size in enumerate(shape)) if found else (0,)


def vectors(shape: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    """The shape of what is kept of tensors that have no rows and columns."""
    return (0,) if pair(shape, least) else shape


def dimensions(shape: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    """The shape of what has one number for each index along each dimension, however short it is."""
    return (count(shape),)


SHAPES = {one.__name__: one for one in (dimensions, rows, columns, vectors)}


def means(x: np.ndarray, axis: int | None) -> np.ndarray:
    """The means over a dimension, which stays as 1; added in float64, in C order. Over none, nothing."""
    if axis is None:
        return np.zeros(0, x.dtype)
    x = np.ascontiguousarray(x)  # for NumPy adds in the order of memory
    with np.errstate(all="ignore"):
        whole = np.add.reduce(x, axis=axis, dtype=np.float64, keepdims=True)
        return (whole / x.shape[axis]).astype(x.dtype) if x.shape[axis] else np.zeros(whole.shape, x.dtype)


def count(shape: tuple[int, ...]) -> int:
    """The number of sets."""
    return sum(shape) if shape else 1


def members(shape: tuple[int, ...], coordinate: int) -> tuple[int, ...]:
    """The sets that an element is in, by their places in the flat array; the element by its index into its own."""
    if not shape:
        return (0,)
    starts = np.cumsum([0, *shape[:-1]]).tolist()
    return tuple(start + int(i) for start, i in zip(starts, np.unravel_index(coordinate, shape), strict=True))


def seen(shape: tuple[int, ...], whole: tuple[int, ...], coordinate: int) -> tuple[int, ...]:
    """Where an element's number is in an array that has the dimensions of the whole, or 1 in their place."""
    index = np.unravel_index(coordinate, whole)
    return tuple(0 if size == 1 else int(i) for size, i in zip(shape, index, strict=True))


def line(x: np.ndarray, whole: tuple[int, ...], coordinate: int, axis: int) -> np.ndarray:
    """The numbers along a dimension beside an element's own, in such an array."""
    index: list[int | slice] = list(seen(x.shape, whole, coordinate))
    index[axis] = slice(None)
    return x[tuple(index)]


def min_along(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """For every element of the shape, the smallest of what `a` has for its sets; leading dimensions of `a` stay.

    NaN if one of them is NaN.
    """
    if not shape:
        return a[..., 0]
    along = []
    for axis, part in _parts(shape):
        ones = [size if k == axis else 1 for k, size in enumerate(shape)]
        along.append(a[..., part].reshape(*a.shape[:-1], *ones))
    return np.array(np.broadcast_to(reduce(np.minimum, along), (*a.shape[:-1], *shape)))


def max_along(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """For every set, the largest of its elements, none of which is negative; leading dimensions of `x` stay.

    NaN if one of them is NaN, zero if there is none.
    """
    lead = x.ndim - len(shape)
    if not shape:
        return np.array(x[..., None])
    found = []
    for axis, _ in _parts(shape):
        others = tuple(lead + k for k in range(len(shape)) if k != axis)
        found.append(np.max(x, axis=others, initial=0) if others else x)
    return np.concatenate(found, axis=-1)


def _parts(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Each dimension, and its place in the flat array."""
    ends = np.cumsum(shape).tolist()
    for axis, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        yield axis, slice(start, end)
