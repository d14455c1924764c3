"""Which dtypes parameters may have, and in which dtype a rule computes with them."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from refopt.spec.backend import REAL_OF
from refopt.spec.hyper import Hyper

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
PARAMETER_DTYPES = {np.dtype(d).name: np.dtype(d) for d in (np.float64, np.float32, np.float16, BFLOAT16)}
HALF = frozenset({"float16", "bfloat16"})
HALF_DTYPES = tuple(PARAMETER_DTYPES[name] for name in sorted(HALF))
FLOAT32 = np.dtype(np.float32)


def compute_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of a parameter's arithmetic: float32 for the half types, else the parameter's own."""
    return FLOAT32 if dtype in HALF_DTYPES else dtype


def slot_dtype(axes: Mapping[str, str], dtype: np.dtype) -> np.dtype:
    """The dtype of a parameter's slots under these axes: that of its arithmetic, or its own."""
    return dtype if axes.get("state_dtype") == "parameter" else compute_dtype(dtype)


def rounded(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array in another dtype, itself where it has it; what is too large for that is infinite, without a word."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def refuse_dtype(dtype: str, hyper: Hyper | None = None) -> str | None:
    """Why parameters of this dtype cannot be optimised (if complex, by these conventions), or None."""
    if dtype in PARAMETER_DTYPES:
        return None
    if dtype in REAL_OF:
        return (
            "complex numbers are taken by optimizers only, not here; give real numbers"
            if hyper is None
            else hyper.refuses_complex
        )
    allowed = PARAMETER_DTYPES if hyper is None else (*PARAMETER_DTYPES, *REAL_OF)
    return (
        f"parameters must be one of {', '.join(allowed)}; got {dtype}; convert them with"
        f" .astype(np.float32) or another of these"
    )
