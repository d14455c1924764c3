"""What complex numbers are run with as pairs of real ones: the last dimension of every array has the two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def square_of(x: np.ndarray) -> np.ndarray:
    """|x|**2, for both numbers of each pair."""
    squares = (x * x).reshape(-1, 2)
    return np.repeat(squares.sum(axis=1), 2).reshape(x.shape)


def size_of(x: np.ndarray) -> np.ndarray:
    """|x|, for both numbers of each pair."""
    return np.sqrt(square_of(x))


def direction_of(x: np.ndarray) -> np.ndarray:
    """x/|x|; 0 of 0."""
    size = size_of(x)
    return np.where(size == 0, 0.0, x / np.where(size == 0, 1.0, size))


def real_part(x: np.ndarray) -> np.ndarray:
    """The real part, beside 0."""
    return (x.reshape(-1, 2) * np.array([1.0, 0.0])).reshape(x.shape)


OF_PAIRS: dict[str, Callable[..., Any]] = {
    "square_of": square_of,
    "size_of": size_of,
    "direction_of": direction_of,
    "real_part": real_part,
}
