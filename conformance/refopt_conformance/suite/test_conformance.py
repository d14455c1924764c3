"""Every check of the profile: a backend against the reference, and by the laws."""

from __future__ import annotations

import pytest

from refopt.spec.errors import Unsupported
from refopt_conformance.bare import Bare
from refopt_conformance.checks import Check
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Deviation, Judge
from refopt_conformance.laws import Inapplicable
from refopt_conformance.records import Record
from refopt_conformance.reference import SHORT


def test(check: Check, driver: Driver | Bare, record: Record) -> None:
    if reason := driver.refuses(check.case.hyper(1), check.case.dtype):
        pytest.skip(reason)
    try:
        record.books(check.run(driver) if isinstance(driver, Driver) else run_bare(check, driver))
    except Inapplicable as reason:
        pytest.skip(str(reason))


def run_bare(check: Check, subject: Bare) -> Judge:
    """A check of a bare subject; that it is another dialect than its own is no failure."""
    book = Judge(check.case, check.kind)
    try:
        subject.follow(book, check.steps or SHORT)
    except Unsupported as reason:
        pytest.skip(str(reason))
    except Deviation:
        why = subject.other(check)
        if why is None:
            raise
        pytest.xfail(why)
    return book
