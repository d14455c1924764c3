"""What the gradients do over a thousand steps: the same numbers on every machine, rounded to the dtype under test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache

import numpy as np

from refopt.engines.dtypes import PARAMETER_DTYPES

STEPS = 1000
ELEMENTS = 1024

Noise = np.ndarray  # standard normal numbers, a row per step

COURSES: dict[str, Callable[[Noise], np.ndarray]] = {
    "normal": lambda n: n,
    "one sign": lambda n: np.abs(n),
    "constant": lambda n: np.broadcast_to(n[0], n.shape),
    "alternating": lambda n: np.abs(n[0]) * np.where(np.arange(len(n)) % 2, 1, -1)[:, None],
    "tiny": lambda n: n * 1e-4,
    "bursts": lambda n: n * np.where(np.arange(len(n)) % 97 == 0, 50.0, 1.0)[:, None],
}


@cache
def gradients(course: str, dtype: str) -> np.ndarray:
    """A row of gradients per step."""
    values = np.ascontiguousarray(COURSES[course](_noise(course, STEPS))).astype(PARAMETER_DTYPES[dtype])
    values.flags.writeable = False
    return values


def parameters(course: str, dtype: str, *, zeros: bool) -> np.ndarray:
    """What training starts from: zeros, so that a parameter shows the steps and little else; or normal numbers."""
    values = np.zeros(ELEMENTS) if zeros else _noise(f"parameters, {course}", 1)[0]
    return values.astype(PARAMETER_DTYPES[dtype])


def _noise(name: str, steps: int) -> Noise:
    # Sums of uniform numbers: normal enough, and unlike a generator's normal numbers the same in every version.
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    uniform = np.random.Generator(np.random.PCG64(seed)).random((steps, ELEMENTS, 12))
    return uniform.sum(axis=-1) - 6.0
