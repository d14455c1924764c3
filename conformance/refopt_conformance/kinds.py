"""The shapes and dtypes of arrays, and how those that were found are others than expected."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Kinds: TypeAlias = list[tuple[tuple[int, ...], np.dtype]]


def first_other(found: Kinds, expected: Kinds) -> str:
    """How the first array is another than it should be."""
    if len(found) != len(expected):
        return f"got {len(found)} arrays, expected {len(expected)}"
    i = next(i for i, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other)
    (shape, dtype), (wanted, kind) = found[i], expected[i]
    return f"array {i} is {dtype} of shape {shape}, expected {kind} of shape {wanted}"
