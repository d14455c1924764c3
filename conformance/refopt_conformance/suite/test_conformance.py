"""Every check of the profile: a backend against the reference, and by the laws."""

from __future__ import annotations

import pytest

from refopt.spec.errors import Broken, Unsupported
from refopt_conformance.bare import Bare
from refopt_conformance.checks import Check
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Deviation
from refopt_conformance.laws import Inapplicable
from refopt_conformance.records import Record
from refopt_conformance.reference import SHORT


def test(check: Check, driver: Driver | Bare, record: Record) -> None:
    if reason := driver.refuses(check.case.hyper(1), check.case.dtype):
        pytest.skip(reason)
    book = check.book()
    try:
        if isinstance(driver, Bare):
            driver.follow(book, check.steps or SHORT)
        else:
            check.run(driver, book)
    except Broken as defect:
        raise Deviation(str(defect)) from defect
    except (Inapplicable, Unsupported) as reason:
        if isinstance(reason, Unsupported) and not isinstance(driver, Bare):
            raise
        pytest.skip(str(reason))
    except Deviation:
        why = driver.other(check) if isinstance(driver, Bare) else None
        if why is None:
            raise
        pytest.xfail(why)  # that a bare subject is no other dialect than its own is no failure
    finally:
        record.books(book)
