"""The parameters and gradients of the cases: the same bits on every machine, chosen so that conventions show.

All values are a function of (case, step) alone. A tree holds tensors of every shape, whose magnitudes differ from lane
to lane (parameters above 10, gradients above 1 and tiny ones), and a small tensor for each *regime*: what happens to it
over the steps. In the first two steps gradients have the sign of the parameter, so that `g + wd * w` cannot cancel
while there is nothing beside it in a moment: what is left of a cancellation says nothing about a port.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from math import prod

import ml_dtypes
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
ZEROS: dict[str, tuple[int, ...]] = {"zero_params": (7,), "zero_grads": (4,), "zero_both": (3,)}

Course = Callable[[np.ndarray, int, str], np.ndarray]  # (values of magnitude 1/8 to 1, t, dtype) -> the gradient


def _from(values: Mapping[str, float], dtype: str, default: float) -> float:
    return values.get(dtype, default)


def _lanes_of(u: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    return u * np.resize(np.array(sizes), u.size)


def _poisoned(u: np.ndarray, lane: int, value: float) -> np.ndarray:
    return np.where(np.arange(u.size) == lane, value, u)


# What happens to a tensor of four elements over the steps.
REGIMES: dict[str, Course] = {
    "near_eps": lambda u, t, dtype: _lanes_of(u, [2**-6, 1e-8, 2**-8, 1e-4]),
    "huge": lambda u, t, dtype: u * _from({"float16": 2.0**8}, dtype, 2.0**40),
    "underflow": lambda u, t, dtype: _lanes_of(u, [8, 2**-4, 2**8, 2**12]) * float(ml_dtypes.finfo(dtype).tiny),
    "late": lambda u, t, dtype: u * (t > 3),
    "now_and_then": lambda u, t, dtype: u * (t % 2),
    "alternating": lambda u, t, dtype: np.full(u.size, 0.75) * (1 if t % 2 else -1),
    "burst": lambda u, t, dtype: u * (64.0 if t == 4 else 2.0**-10),
    "heavy": lambda u, t, dtype: u,
    "nan_lane": lambda u, t, dtype: _poisoned(u, 2, np.nan) if t == 3 else u,
    "inf_lane": lambda u, t, dtype: _poisoned(u, 1, np.inf) if t == 3 else u,
    "faint": lambda u, t, dtype: u,
    "faint_grads": lambda u, t, dtype: u * 1e-10,
    "vast": lambda u, t, dtype: u,
}
# How large the parameters of a regime are: those of `vast` have squares that are too large for float32.
WEIGHTS = {"heavy": 300.0, "underflow": 0.0, "near_eps": 0.0, "faint": 1e-10, "vast": 2.0**61}
WEIGHTS_OF_FLOAT16 = WEIGHTS | {"vast": 300.0}
OF_REGIMES: dict[str, tuple[int, ...]] = {  # of four elements all: of the others, a vector
    "late": (4, 1),
    "now_and_then": (2, 1, 2),
    "alternating": (2, 1, 2, 1),
    "burst": (1, 2, 1, 2, 1, 1),
}
TREE = {**SHAPES, **ZEROS, **dict.fromkeys(REGIMES, (4,)), **OF_REGIMES}
# For rules that look along dimensions: what one element does to its row and its column, and which the columns are.
OF_MATRICES: dict[str, tuple[int, ...]] = {"nan_matrix": (2, 2), "2x3x2": (2, 3, 2)}
# For those that tell large matrices apart: two dimensions of at least 128, beside which there is a shorter one.
OF_LARGE: dict[str, tuple[int, ...]] = {"129x2x128": (129, 2, 128)}
REGIME_OF = {"nan_matrix": "nan_lane"}
JOINED: dict[str, tuple[int, ...]] = {"regimes": (4 * len(REGIMES),)}  # all of them in one tensor
# The trees of sets of choices that no dialect has: a tensor costs a kernel where steps are compiled, an element costs
# nothing. Where tensors are measured as a whole, a regime needs one of its own.
OF_ELEMENTS = ("scalar", "empty", "seven", "33x17", "zero_params", "zero_both", "regimes")
OF_TENSORS = ("scalar", "empty", "seven", "33x17", *ZEROS, "near_eps", "now_and_then", "nan_lane")
# Where an element may depend on all of the model: nothing that is no number, or beside which nothing else counts.
OF_MODELS = (*SHAPES, *ZEROS, "near_eps", "late", "now_and_then", "alternating", "burst", "faint", "faint_grads")
# In brief, where a new kernel is all that costs: no shape, which the dialects' own choices show, but what may happen.
FEW_OF_ELEMENTS = ("33x17", "zero_both", "regimes")
FEW_OF_TENSORS = ("seven", "33x17", *ZEROS, "now_and_then", "nan_lane")
FEW_OF_MODELS = ("33x17", *ZEROS, "near_eps", "now_and_then", "faint")
LARGE = {"100003": (100003,)}  # for norms, whose rounding errors grow with the number of elements
BRIM: dict[str, tuple[int, ...]] = {"brim": (4,)}  # whose parameters are about to leave what their dtype holds
ALMOST = 0.998
SHAPE_OF = {**TREE, **OF_MATRICES, **OF_LARGE, **JOINED, **LARGE, **BRIM}

ZERO_PARAMETERS = frozenset({"zero_params", "zero_both"})
ZERO_GRADIENTS = frozenset({"zero_grads", "zero_both"})
PAUSES = {"seven": 1, "3x5": 3}  # the step at which the gradient of one leaf is zero
PAUSE = 6  # the step at which those of all shapes are
COARSE = 8.0  # coarse values are multiples of one eighth: few digits, so that arithmetic on them is exact


def parameters(case: str, leaves: Sequence[str], dtype: str, *, coarse: bool = False) -> list[np.ndarray]:
    """What the leaves start from."""
    lane = _lanes(leaves)
    values = _uniform(f"{case}/w", lane.size) * np.where(lane % 5 == 1, 30.0, 3.0)
    arrays = []
    for leaf, part in zip(leaves, _cut(leaves, values), strict=True):
        weights = WEIGHTS_OF_FLOAT16 if dtype == "float16" else WEIGHTS
        sized = part * (leaf not in ZERO_PARAMETERS)
        for regime, lanes in regimes_of(leaf):
            sized[lanes] *= weights.get(regime, 1.0)
        if leaf in BRIM:
            sized = np.copysign(ALMOST * float(ml_dtypes.finfo(dtype).max), part)
        arrays.append(_shaped(leaf, _rounded(sized) if coarse else sized, dtype))
    return arrays


def gradients(case: str, leaves: Sequence[str], t: int, dtype: str, *, coarse: bool = False) -> list[np.ndarray]:
    """The gradients at step t."""
    lane = _lanes(leaves)
    raw = _uniform(f"{case}/g{t}", lane.size)
    if t <= 2:
        raw = np.copysign(raw, np.concatenate([w.ravel() for w in parameters(case, leaves, "float64")]))
    if coarse:
        raw = _rounded(raw)
    values = raw * np.select([lane % 7 == 3, lane % 7 == 5], [2.0**-40 if coarse else 1e-12, 20.0], 2.0)
    arrays = []
    for leaf, unit, value in zip(leaves, _cut(leaves, raw), _cut(leaves, values), strict=True):
        for regime, lanes in regimes_of(leaf):
            value[lanes] = REGIMES[regime](unit[lanes], t, dtype)
        if leaf in BRIM:  # outwards, at the first steps
            value = np.copysign(ALMOST * float(ml_dtypes.finfo(dtype).max), -unit)
        elif leaf in ZERO_GRADIENTS or (t in (PAUSE, PAUSES.get(leaf)) and not regimes_of(leaf)):
            value = value * (-0.0 if leaf in ZERO_PARAMETERS else 0.0)  # of a sign that leaves a zero its own
        arrays.append(_shaped(leaf, value, dtype))
    return arrays


def regimes_of(leaf: str) -> list[tuple[str, slice]]:
    """The regimes of a leaf, and which of its elements each has."""
    if leaf in JOINED:
        return [(regime, slice(4 * i, 4 * i + 4)) for i, regime in enumerate(REGIMES)]
    regime = REGIME_OF.get(leaf, leaf)
    return [(regime, slice(None))] if regime in REGIMES else []


def _lanes(leaves: Sequence[str]) -> np.ndarray:
    """The number of each element within its leaf."""
    return np.concatenate([np.arange(prod(SHAPE_OF[leaf])) for leaf in leaves])


def _cut(leaves: Sequence[str], values: np.ndarray) -> list[np.ndarray]:
    """The values, leaf by leaf."""
    ends = np.cumsum([prod(SHAPE_OF[leaf]) for leaf in leaves]).tolist()
    return [values[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def _shaped(leaf: str, values: np.ndarray, dtype: str) -> np.ndarray:
    return values.reshape(SHAPE_OF[leaf]).astype(PARAMETER_DTYPES[dtype])


def _rounded(values: np.ndarray) -> np.ndarray:
    """To the nearest multiple of one eighth, away from zero where that is nearest."""
    nearest = np.rint(values * COARSE) / COARSE
    return np.where((nearest == 0) & (values != 0), np.copysign(1 / COARSE, values), nearest)


def _uniform(seed: str, count: int) -> np.ndarray:
    """Numbers of magnitude 1/8 to 1 and either sign, from the raw bits of PCG64, which NumPy never changes."""
    digest = hashlib.sha256(seed.encode()).digest()
    raw = np.random.PCG64(int.from_bytes(digest[:16], "big")).random_raw(max(count, 1))[:count]
    magnitude = 0.125 + 0.875 * 2.0**-52 * (raw >> np.uint64(12))
    return np.where(raw & np.uint64(1), magnitude, -magnitude)
