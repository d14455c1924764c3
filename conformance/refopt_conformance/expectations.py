"""What is known to fail: `{pattern of checks: reason}`. An expectation that is met no more is a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import pytest

from refopt.spec.errors import RefoptError


def expect(reasons: Mapping[str, Any], items: Sequence[pytest.Item]) -> None:
    """Mark the checks whose name a pattern matches (`*` stands for anything) as expected to fail, strictly.

    Raises RefoptError for a pattern that matches no check, or a reason that says nothing.
    """
    for pattern, reason in reasons.items():
        if not isinstance(reason, str) or len(reason.split()) < 2:
            raise RefoptError(f"expectations: {pattern!r} needs its reason, a sentence; got {reason!r}")
        matching = [item for item in items if fnmatchcase(name_of(item.nodeid), pattern)]
        if not matching:
            raise RefoptError(f"expectations: {pattern!r} matches no check of this run; take it out, or mend it")
        for item in matching:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def name_of(nodeid: str) -> str:
    """The name of a check, or of another test: `chain/adam/paper/float32/mixed`."""
    test, _, check = nodeid.rpartition("::")[2].rstrip("]").partition("[")
    return check if check and test == "test" else nodeid.rpartition("::")[2]
