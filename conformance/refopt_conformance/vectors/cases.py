"""Which cases become vectors, and the steps that they take.

The dialects have all dtypes, with changing and with usual numbers, and a long run; every other set of choices has one
case in float64. Inputs go round after a few steps, so that a long run needs no long file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from refopt.spec.declare import Rule
from refopt.spec.hyper import Hyper
from refopt_conformance.cases import DTYPES, HALF_DTYPES, Case, canonical, conventions
from refopt_conformance.inputs import REGIMES, ZEROS
from refopt_conformance.reference import State, Step, arriving, initial, take

LEAVES = ("scalar", "empty", "one", "seven", *ZEROS, *REGIMES)
FEW = ("one", "zero_grads")  # of a long run
SHORT_STEPS, SHORT_CHECKPOINTS = 6, (1, 2, 4, 6)  # a burst comes at 4: a slot is never larger
LONG_STEPS, LONG_CHECKPOINTS = 2049, (1, 10, 100, 300, 2049)  # where narrow counters stop: 256, 2048
LONG_INPUTS = 3


@dataclass(frozen=True)
class Course:
    """A case, how many steps it takes, how many inputs go round, and when its state is written down."""

    case: Case
    steps: int
    inputs: int
    checkpoints: tuple[int, ...]

    @property
    def first(self) -> int:
        """The number of the first step: 2 where the rule's first is infinite on purpose."""
        before = initial(self.case)
        after = take(self.case, 1, before, self.arriving(1)).after
        return 1 if all(np.isfinite(w).all() for w in after.params) else 2

    def arriving(self, t: int) -> list[np.ndarray]:
        """The gradients of step t, or the values of the parameters for a rule that only watches them."""
        return arriving(self.case, (t - 1) % self.inputs + 1)

    def follow(self) -> Iterator[Step]:
        """The steps of the float64 reference."""
        state: State = initial(self.case)
        for t in range(self.first, self.steps + 1):
            step = take(self.case, t, state, self.arriving(t))
            yield step
            state = step.after


def courses(name: str, hyper: Hyper) -> Iterator[Course]:
    """The cases of one set of choices."""
    if name not in canonical():
        yield Course(Case(name, hyper, "float64", LEAVES, "mixed"), SHORT_STEPS, SHORT_STEPS, (2, SHORT_STEPS))
        return
    for dtype in (*DTYPES, *HALF_DTYPES):
        yield _short(Case(name, hyper, dtype, LEAVES, "mixed"))
    yield _short(Case(name, hyper, "float64", LEAVES, "usual"))
    for dtype in DTYPES:
        yield Course(Case(name, hyper, dtype, FEW, "usual"), LONG_STEPS, LONG_INPUTS, LONG_CHECKPOINTS)


def _short(case: Case) -> Course:
    return Course(case, SHORT_STEPS, SHORT_STEPS, SHORT_CHECKPOINTS)


def everything(rule: Rule) -> list[Course]:
    """All courses of a rule."""
    return [course for name, hyper in conventions(rule).items() for course in courses(name, hyper)]
