"""What of a difference is no error: signs that a rounding decides, lost subnormal numbers; and what must be met."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from refopt.engines.dtypes import compute_dtype
from refopt_conformance.reference import Step

DIGITS = 18  # binary ones


def with_signs(found: np.ndarray, wide: np.ndarray, where: np.ndarray | bool) -> np.ndarray:
    """Zeros with the signs of the expected zeros."""
    zero = np.where(np.signbit(wide), -0.0, 0.0).astype(found.dtype)
    return np.where((found == 0) & (wide == 0) & where, zero, found)


def few_digits(wide: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Which numbers have few binary digits, counted from the largest size that the element has had.

    On coarse inputs, that is only where no operation had to round. Of a zero it is the size that must have few: it may
    be what a cancellation left.
    """
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(np.fmax(np.abs(wide), size))
        digits = np.ldexp(np.where(wide == 0, size, wide), DIGITS - exponent)
        return np.isfinite(wide) & np.isfinite(size) & (digits == np.rint(digits))


def below_normal(step: Step, count: int, dtype: np.dtype) -> np.ndarray:
    """Which of so many elements have a subnormal slot after the step: what is made of it may be made of zero."""
    tiny, mask = float(ml_dtypes.finfo(compute_dtype(dtype)).tiny), np.zeros(count, bool)
    for slot in step.after.slots.values():
        flat = np.concatenate([np.abs(x).ravel() for x in slot]) if isinstance(slot, list) and slot else mask
        if flat.size == count:
            mask = mask | ((flat > 0) & (flat < tiny))
    return mask


def flushed(
    found: np.ndarray, wide: np.ndarray, size: np.ndarray, dtype: np.dtype, in_underflow: np.ndarray
) -> np.ndarray:
    """Which elements are what a machine makes of them that takes subnormal numbers, or squares of these, for zero.

    Where a gradient is that small, so may be whatever is computed from it; or a square is lost that should have divided
    it, and it is 0/0 or 1/0, or of any size that it has had; or one was lost from the state that a step starts with,
    and less than nothing is left of a variance. Elsewhere a number below the normal ones may be zero.
    """
    actual, tiny = found.astype(np.float64), float(ml_dtypes.finfo(compute_dtype(dtype)).tiny)
    with np.errstate(all="ignore"):
        lost = ~np.isfinite(actual) | np.isnan(wide) | (np.abs(actual) <= 2 * np.fmax(np.abs(wide), size))
        lost |= np.abs(actual - wide) <= 2.0**64 * tiny  # a moment that was lost, divided by an epsilon
        return (in_underflow & lost) | ((actual == 0) & (np.abs(wide) < tiny) & (wide != 0))
