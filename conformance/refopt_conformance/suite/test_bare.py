"""What `refopt verify` says of a bare subject: the chains below show no more than the numbers that they set."""

from __future__ import annotations

import pytest

from refopt_conformance.bare import Bare


def test_some_variant_fits(bare: Bare) -> None:
    if bare.deviates:
        pytest.fail(bare.deviates, pytrace=False)
