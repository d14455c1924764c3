"""The parameters and gradients of the cases: the same bits on every machine, chosen so that conventions show.

All values are a function of (case, step) alone. Magnitudes differ from lane to lane: parameters above 10, gradients
above 1 and tiny ones. A tensor of zeros shows the update itself; gradients and norms of zero show how they are met. In
the first two steps gradients have the sign of the parameter, so that `g + wd * w` cannot cancel while there is nothing
beside it in a moment: what is left of a cancellation says nothing about a port.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod

import numpy as np

from refopt.engines.dtypes import PARAMETER_DTYPES

SHAPES: dict[str, tuple[int, ...]] = {
    "scalar": (),
    "empty": (0,),
    "one": (1,),
    "seven": (7,),
    "3x5": (3, 5),
    "33x17": (33, 17),
}
SPECIAL: dict[str, tuple[int, ...]] = {"zero_params": (7,), "zero_grads": (4,), "zero_both": (3,)}
TREE = {**SHAPES, **SPECIAL}

ZERO_PARAMETERS = frozenset({"zero_params", "zero_both"})
ZERO_GRADIENTS = frozenset({"zero_grads", "zero_both"})
PAUSES = {"seven": 1, "3x5": 3}  # the step at which the gradient of one leaf is zero
PAUSE = 6  # the step at which all are


def parameters(case: str, leaves: Sequence[str], dtype: str) -> list[np.ndarray]:
    """What the leaves start from."""
    lane = _lanes(leaves)
    values = _uniform(f"{case}/w", lane.size) * np.where(lane % 5 == 1, 30.0, 3.0)
    return _tree(leaves, values, dtype, [leaf in ZERO_PARAMETERS for leaf in leaves])


def gradients(case: str, leaves: Sequence[str], t: int, dtype: str) -> list[np.ndarray]:
    """The gradients at step t."""
    lane = _lanes(leaves)
    values = _uniform(f"{case}/g{t}", lane.size) * np.select([lane % 7 == 3, lane % 7 == 5], [1e-12, 20.0], 2.0)
    if t <= 2:
        values = np.copysign(values, np.concatenate([w.ravel() for w in parameters(case, leaves, "float64")]))
    rests = [leaf in ZERO_GRADIENTS or t in (PAUSE, PAUSES.get(leaf)) for leaf in leaves]
    return _tree(leaves, values, dtype, rests)


def _lanes(leaves: Sequence[str]) -> np.ndarray:
    """The number of each element within its leaf."""
    return np.concatenate([np.arange(prod(TREE[leaf])) for leaf in leaves])


def _tree(leaves: Sequence[str], values: np.ndarray, dtype: str, zeros: Sequence[bool]) -> list[np.ndarray]:
    """The values cut into leaves; in some, nothing is left of them but the sign."""
    arrays, start = [], 0
    for leaf, zero in zip(leaves, zeros, strict=True):
        end = start + prod(TREE[leaf])
        part = values[start:end] * 0.0 if zero else values[start:end]
        arrays.append(part.reshape(TREE[leaf]).astype(PARAMETER_DTYPES[dtype]))
        start = end
    return arrays


def _uniform(seed: str, count: int) -> np.ndarray:
    """Numbers of magnitude 1/8 to 1 and either sign, from the raw bits of PCG64, which NumPy never changes."""
    digest = hashlib.sha256(seed.encode()).digest()
    raw = np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(max(count, 1))[:count]
    magnitude = 0.125 + 0.875 * 2.0**-52 * (raw >> np.uint64(12))
    return np.where(raw & np.uint64(1), magnitude, -magnitude)
