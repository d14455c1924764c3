"""One step from the reference's own state: the tight comparison, and a test that a foreign state can be taken up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from refopt_conformance.budgets import ONE_STEP
from refopt_conformance.cases import HALF_DTYPES, Case, alone, dialects, mixed
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.reference import one_steps

HALF = ("scalar", "empty", "seven", "3x5", "zero_params")


@pytest.mark.parametrize("case", [*mixed(), *dialects(HALF_DTYPES, HALF), *alone()], ids=str)
def test_one_step(case: Case, driver: Driver, judge: Callable[[Case, str], Judge]) -> None:
    book = judge(case, ONE_STEP)
    for step in one_steps(case):
        book.compare(step, driver.step(step))
