"""What complex numbers are run with as pairs of real ones: the last dimension of every array has the two.

No rule is written with these: a rule that is meant by the modulus is read so (`refopt.spec.complex_numbers`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def square_of(x: np.ndarray) -> np.ndarray:
    """|x|**2, for both numbers of each pair."""
    squares = (x * x).reshape(-1, 2)
    return _twice(squares[:, 0] + squares[:, 1], x)


def size_of(x: np.ndarray) -> np.ndarray:
    """|x|, for both numbers of each pair."""
    pairs = x.reshape(-1, 2)
    return _twice(np.hypot(pairs[:, 0], pairs[:, 1]), x)


def direction_of(x: np.ndarray) -> np.ndarray:
    """x/|x|; 0 of 0."""
    size = size_of(x)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    return np.where(size == 0, zero, x / np.where(size == 0, one, size))


def real_part(x: np.ndarray) -> np.ndarray:
    """The real part, beside 0."""
    pairs = np.array(x).reshape(-1, 2)
    pairs[:, 1] = 0
    return pairs.reshape(x.shape)


def _twice(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.repeat(values, 2).reshape(like.shape)


OF_PAIRS: dict[str, Callable[..., Any]] = {
    "square_of": square_of,
    "size_of": size_of,
    "direction_of": direction_of,
    "real_part": real_part,
}
