"""Steps one after the other, the backend carrying its own state: what drifts, and what a single step cannot show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from refopt_conformance.budgets import CHAIN, LONG_CHAIN
from refopt_conformance.cases import Case, alone, dialects, mixed
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.reference import chain, initial

# No tensor of one element: over a long run of lars it crosses zero, its rate goes to zero with it, its digits are lost.
LONG = ("seven", "3x5", "zero_params", "zero_grads")


def follow(case: Case, steps: int, driver: Driver, book: Judge) -> None:
    """Every step is compared. In place where the backend can, so that this way of stepping is covered too."""
    params = driver.adopt([np.array(w) for w in initial(case).params])
    slots = driver.backend.init(case.hyper(1), params)
    for step in chain(case, steps):
        grads = None
        if step.grads is None:  # the caller brings the parameters
            params = driver.adopt(step.before.params)
        else:
            grads = driver.adopt(step.grads)
        in_place = driver.backend.in_place
        params, slots = driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=in_place)
        book.compare(step, driver.read(step.hyper, step.t, params, slots))


@pytest.mark.parametrize("case", [*mixed(), *alone()], ids=str)
def test_chain(case: Case, driver: Driver, judge: Callable[[Case, str], Judge]) -> None:
    follow(case, 12, driver, judge(case, CHAIN))


@pytest.mark.parametrize("case", dialects(leaves=LONG), ids=str)
def test_long_chain(case: Case, driver: Driver, judge: Callable[[Case, str], Judge]) -> None:
    follow(case, 100, driver, judge(case, LONG_CHAIN))
