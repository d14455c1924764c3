"""Every check of the profile: a backend against the reference, and by the laws."""

from __future__ import annotations

import pytest

from refopt_conformance.checks import Check
from refopt_conformance.driver import Driver
from refopt_conformance.laws import Inapplicable
from refopt_conformance.records import Record


def test(check: Check, driver: Driver, record: Record) -> None:
    if reason := driver.refuses(check.case.hyper(1), check.case.dtype):
        pytest.skip(reason)
    try:
        record.books(check.run(driver))
    except Inapplicable as reason:
        pytest.skip(str(reason))
