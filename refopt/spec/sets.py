"""The sets that a tensor's elements are in: for each dimension, and each index along it, the elements with that index.

Of a matrix they are its rows and its columns; an element of a tensor of d dimensions is in d sets. What is kept for
every set is one flat array, dimension after dimension: of shape (3, 5), for 3 rows and then for 5 columns. A tensor
without dimensions is one set of one element.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import numpy as np


def count(shape: tuple[int, ...]) -> int:
    """The number of sets."""
    return sum(shape) if shape else 1


def members(shape: tuple[int, ...], coordinate: int) -> tuple[int, ...]:
    """The sets that an element is in, by their places in the flat array; the element by its index into its own."""
    if not shape:
        return (0,)
    starts = np.cumsum([0, *shape[:-1]]).tolist()
    return tuple(start + int(i) for start, i in zip(starts, np.unravel_index(coordinate, shape), strict=True))


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
