"""The run that proves a translation: a hundred steps in float64, under a learning rate that changes, or does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from refopt.verifying.distance import rounding
from refopt.verifying.subjects.base import Subject

STEPS = 100
SHAPES = ((), (3,), (5,), (2, 3), (4, 4))
ZEROS = 2  # the index of the tensor that starts at zero
Arrays = list[np.ndarray]
# The schedule: what the learning rate is multiplied by. It rises, falls, rises again and falls.
SCHEDULE = tuple((step + 1) / 8 if step < 8 else 1.0 if step < 40 else 0.25 if step < 70 else 0.5 if step < 85 else 1/16
                 for step in range(STEPS))  # fmt: skip
STILL = (1.0,) * STEPS

DIGITS = 2**10  # binary digits of numbers that no framework rounds, nor a product of two of them: float32 has 24


# In ULPs of float64: how far two runs come apart where one of them computes in float32 what was given in float64.
NARROW = 64 * 2.0**29


@dataclass(frozen=True)
class Input:
    """Parameters, and gradients for each step."""

    params: Arrays
    grads: list[Arrays]


@dataclass(frozen=True)
class Difference:
    """How far two runs come apart.

    `distance` is the largest in ULPs of the element, `first_step` the first at which it is no rounding (None: never).
    The largest in numbers is between `source` and `target`, in `quantity` at `step`, where gradients are of the size
    `gradient`: it is `share` of the farthest that the tensor has come from its start. `rounded` says that it all
    comes from float32: with numbers of few digits they are the same, or one of the two computes in it.
    """

    distance: float
    first_step: int | None
    step: int
    quantity: str
    source: float
    target: float
    share: float
    gradient: float = 0.0
    rounded: bool = False

    @property
    def same(self) -> bool:
        return self.first_step is None or self.rounded

    def or_rounded(self) -> Difference:
        """The same, but that what float32 explains is said to be rounded."""
        return replace(self, rounded=self.first_step is not None and self.distance <= NARROW)


def example() -> Input:
    """Gradients large and tiny, a tensor that starts at zero, and gradients of zero at the first step and midway."""
    random = np.random.default_rng(20150508)

    def draw(shape: tuple[int, ...], size: float) -> np.ndarray:
        return np.asarray(size * random.standard_normal(shape)).astype(np.float32).astype(np.float64)

    params = [draw(shape, 1.0) for shape in SHAPES]
    params[ZEROS] = np.zeros(SHAPES[ZEROS])
    sizes = (0.5, 2.0**-20, 0.25, 1.0, 0.0625)
    mean = [draw(shape, size / 4) for shape, size in zip(SHAPES, sizes, strict=True)]
    grads = []
    for step in range(1, STEPS + 1):
        now = [m + draw(shape, size) for m, shape, size in zip(mean, SHAPES, sizes, strict=True)]
        if step in (1, 30):
            now[3] = np.zeros_like(now[3])
        grads.append(now)
    return Input(params, grads)


def drive(
    subject: Subject, given: Input, numbers: Callable[[int, float, float], Mapping[str, float]], rates: Sequence[float]
) -> list[Arrays]:
    """The parameters after each step, of the numbers that `numbers(t, lr, lr_before)` gives. Raises Unsupported."""
    before = (rates[0], *rates)
    hyper = [dict(numbers(t, lr, before[t - 1])) for t, lr in enumerate(rates, start=1)]
    return subject.drive(given.params, given.grads, hyper)


def difference(
    start: Arrays, source: list[Arrays], target: list[Arrays], grads: list[Arrays] | None = None, first: int = 1
) -> Difference:
    """Between two runs from the same start; `first` is the number of their first step."""
    spacing, allowed = float(np.finfo(np.float64).eps), rounding(np.dtype(np.float64), STEPS)
    way = [max(float(np.abs(now[i] - w).max()) for now in source) for i, w in enumerate(start)]
    largest = [np.abs(w) for w in start]
    distance, first_step, worst = 0.0, None, Difference(0.0, None, first, "params[0].flat[0]", 0.0, 0.0, 0.0)
    for step, (ours, theirs) in enumerate(zip(source, target, strict=True), start=first):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            largest[i] = np.fmax(largest[i], np.abs(a))
            with np.errstate(all="ignore"):
                gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
                gap = np.where(np.isnan(gap), np.inf, gap)
                ulps = float(np.where(gap == 0, 0.0, gap / (spacing * largest[i])).max())
            distance = max(distance, ulps)
            if first_step is None and ulps > allowed:
                first_step = step
            at = int(gap.argmax())
            share = float(gap.flat[at]) / way[i] if way[i] else float(np.inf if gap.any() else 0.0)
            if share > worst.share:
                place = f"params[{i}].flat[{at}]"
                size = np.median(np.abs([now[i] for now in grads])) if grads else 0.0
                worst = Difference(0.0, None, step, place, float(a.flat[at]), float(b.flat[at]), share, float(size))
    return replace(worst, distance=distance, first_step=first_step)


def short(value: float) -> float:
    """The nearest number of few binary digits, on the same side of 1."""
    mantissa, exponent = math.frexp(value)
    near = math.ldexp(round(mantissa * DIGITS) / DIGITS, exponent)
    return near if (near < 1) == (value < 1) else math.ldexp(math.floor(mantissa * DIGITS) / DIGITS, exponent)
