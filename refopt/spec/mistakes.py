"""What only planted faults compute with (`refopt.spec.faults`): roundings that nobody asked for, and lost elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from refopt.spec.functions import Scalar
from refopt.spec.newton_schulz import QUINTIC, Triple, newton_schulz


def bfloat16(x: Any) -> Any:
    """Rounded to bfloat16 and back: eight bits are left."""
    return _through(x, np.dtype(ml_dtypes.bfloat16))


def float32(x: Any) -> Any:
    """Rounded to float32 and back."""
    return _through(x, np.dtype(np.float32))


def _through(x: Any, dtype: np.dtype) -> Any:
    if isinstance(x, np.ndarray | np.generic):
        return x.astype(dtype).astype(x.dtype)
    return Scalar(np.float64(x).astype(dtype))


def without_nan(x: np.ndarray) -> np.ndarray:
    """Zero in place of NaN."""
    return np.where(np.isnan(x), x.dtype.type(0), x)


def without_last(x: np.ndarray) -> np.ndarray:
    """Zero in place of the last element, of two or more."""
    kept = x.copy()
    if x.size > 1:
        kept.reshape(-1)[-1] = 0
    return kept


def first_half(x: np.ndarray) -> np.ndarray:
    """The first half of the elements, the shard of the first of two processes."""
    flat = np.asarray(x).reshape(-1)
    return flat[: (flat.size + 1) // 2]


def min_along_first(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What `min_along` would be if the sets along the first dimension were all that there are."""
    shape = np.shape(x)
    first = a[: shape[0] if shape else 1].reshape((*shape[:1], *(1 for _ in shape[1:])))
    return np.array(np.broadcast_to(first, shape))


CUBIC: tuple[Triple, ...] = ((1.5, -0.5, 0.0),) * 5


def newton_schulz_cubic(x: np.ndarray) -> np.ndarray:
    """The iteration with the coefficients that it had before Muon."""
    return newton_schulz(x, np.shape(x), CUBIC)


def newton_schulz_of_four(x: np.ndarray) -> np.ndarray:
    """Four of its five steps."""
    return newton_schulz(x, np.shape(x), QUINTIC[:4])


def newton_schulz_unturned(x: np.ndarray) -> np.ndarray:
    """A tall matrix comes back transposed, its rows one after the other."""
    tall = np.shape(x)[:1] > (int(np.prod(np.shape(x)[1:])),)
    wide = newton_schulz(x, np.shape(x))
    return wide.reshape(len(wide), -1).T.reshape(x.shape) if tall else wide


def newton_schulz_by_last(x: np.ndarray) -> np.ndarray:
    """All dimensions but the last are the rows."""
    flat = np.asarray(x).reshape(-1, *np.shape(x)[-1:]) if x.ndim > 2 else np.asarray(x)
    return newton_schulz(flat, flat.shape).reshape(x.shape)


def newton_schulz_in_bfloat16(x: np.ndarray) -> np.ndarray:
    """Every step begins and ends in bfloat16."""
    for triple in QUINTIC:
        x = newton_schulz(bfloat16(x), np.shape(x), (triple,))
    return bfloat16(x)


_PLACED = (
    without_last,
    first_half,
    min_along_first,
    newton_schulz_cubic,
    newton_schulz_of_four,
    newton_schulz_unturned,
    newton_schulz_by_last,
    newton_schulz_in_bfloat16,
)
OF_PLACES = frozenset(one.__name__ for one in _PLACED)  # know which element stands where in its tensor
MISTAKES: dict[str, Callable[..., Any]] = {one.__name__: one for one in (bfloat16, float32, without_nan, *_PLACED)}
