"""How far two arrays are apart, in units in the last place (ULPs) of the dtype that was computed in.

The unit is that of the larger of the expected value and a *scale*: the largest size that this element has had since
the comparison began. A sum that nearly cancels is then judged by the size of what cancelled, which is where its
rounding errors came from; an element that starts at zero is judged by the update alone.

NaN, infinity and the sign of an exact zero admit no distance: they are equal or infinitely far. An exact zero keeps its
sign in every correct order of the operations: x - x is +0, and products of zeros follow the signs of the factors.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np


def unit(size: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The spacing of a dtype's numbers at this (absolute, float64) size; below the normal numbers it is constant."""
    info = ml_dtypes.finfo(dtype)
    _, exponent = np.frexp(np.maximum(size, 2.0**info.minexp))  # size = fraction * 2**exponent, 0.5 <= fraction < 1
    return np.ldexp(1.0, exponent - 1 - info.nmant)


def distance(
    actual: np.ndarray, expected: np.ndarray, scale: np.ndarray | float = 0.0, dtype: np.dtype | None = None
) -> np.ndarray:
    """The distance of each element of `actual` from the float64 `expected`, in ULPs of `dtype` (None: of `actual`'s).

    0 if both are NaN or the same infinity; infinity if only one is, or if both are zeros of different sign.
    """
    with np.errstate(all="ignore"):
        rounded = expected.astype(actual.dtype).astype(np.float64)  # what is too large becomes infinity, as it should
        found = actual.astype(np.float64)
        size = np.maximum(np.abs(expected), scale)
        ulps = np.abs(found - expected) / unit(np.where(np.isfinite(size), size, 0.0), dtype or actual.dtype)
    same = (np.isnan(found) & np.isnan(expected)) | (np.isinf(found) & (found == rounded))
    both_finite = np.isfinite(found) & np.isfinite(rounded)
    signs_differ = (found == 0) & (expected == 0) & (np.signbit(found) != np.signbit(expected))
    return np.where(same, 0.0, np.where(both_finite & ~signs_differ, ulps, np.inf))
