"""What a backend's arrays are: they come back as they went in, and what is none is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.rules import RULES
from refopt.spec.errors import Unsupported
from refopt_conformance.driver import Driver

SOME = next(iter(RULES.values())).hyper()


def test_assign_writes_into_the_arrays(driver: Driver) -> None:
    if not driver.backend.in_place:
        pytest.skip(f"{driver.backend.name} has no arrays that can be written to")
    old = [np.zeros(shape, np.float32) for shape in ((), (0,), (2, 3))]
    new = [np.full(array.shape, 1.5, np.float32) for array in old]
    params = driver.adopt(old)
    driver.backend.assign(params, driver.adopt(new))
    assert [driver.backend.to_numpy(w).tobytes() for w in params] == [array.tobytes() for array in new]


@pytest.mark.parametrize("dtype", PARAMETER_DTYPES)
def test_arrays_come_back_as_they_went_in(dtype: str, driver: Driver) -> None:
    if reason := driver.refuses(SOME, dtype):
        pytest.skip(reason)
    array = np.array([[0.0, -0.0, 1.0], [np.inf, -np.inf, np.nan]]).astype(PARAMETER_DTYPES[dtype])
    for given in (array, array[0, 0].reshape(()), array[:, :0]):
        adopted = driver.backend.adopt(given, driver.device)
        for one in (adopted, driver.backend.beside(given, adopted), driver.backend.beside(adopted, adopted)):
            found = driver.backend.to_numpy(one)
            assert (found.shape, found.dtype, found.tobytes()) == (given.shape, given.dtype, given.tobytes())


@pytest.mark.parametrize("value", [[1.0, 2.0], "weights", 1.0, None], ids=["list", "string", "number", "none"])
def test_what_is_no_array_is_refused(value: Any, driver: Driver) -> None:
    with pytest.raises(Unsupported):
        driver.backend.adopt(value, driver.device)
    assert not driver.backend.owns(value)


def test_refusals_are_sentences(driver: Driver) -> None:
    for reason in (
        driver.backend.supports(SOME, "int32", driver.device),
        driver.backend.supports(SOME, "float32", "nowhere"),
    ):
        assert isinstance(reason, str)
        assert len(reason.split()) > 3, f"{reason!r} says neither what nor why"
