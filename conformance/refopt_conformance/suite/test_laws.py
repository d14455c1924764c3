"""What holds for every backend without a number: who may write where, what is refused, what comes back unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.spec.errors import Unsupported
from refopt_conformance.budgets import ONE_STEP
from refopt_conformance.cases import DTYPES, HALF_DTYPES, Case, canonical, dialects
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.reference import State, Step, arriving, initial, take

NAMES = list(canonical())


def bits(driver: Driver, arrays: list[Any] | None) -> list[bytes]:
    return [driver.backend.to_numpy(array).tobytes() for array in arrays or []]


def first_step(case: Case) -> Step:
    return take(case, 1, initial(case), arriving(case, 1))


@pytest.fixture(params=dialects(("float32",)), ids=str)
def case(request: pytest.FixtureRequest, driver: Driver) -> Case:
    if reason := driver.refuses(request.param.hyper(1), request.param.dtype):
        pytest.skip(reason)
    return request.param


def test_without_in_place_nothing_is_written(case: Case, driver: Driver) -> None:
    step = first_step(case)
    arrays = [*step.before.params, *(step.grads or []), *(x for s in _element(step.before.slots).values() for x in s)]
    for array in arrays:
        array.flags.writeable = False  # a backend that shares the memory must not write there
    params, grads = driver.adopt(step.before.params), step.grads and driver.adopt(step.grads)
    slots = driver.adopt_slots(step.before.slots)
    given = [*params, *(grads or []), *(x for slot in _element(slots).values() for x in slot)]
    before = bits(driver, given)
    driver.backend.update(step.hyper, 1, params, grads, slots, in_place=False)
    assert bits(driver, given) == before, f"{case}: update(in_place=False) wrote into what it was given"


def test_in_place_keeps_the_arrays(case: Case, driver: Driver) -> None:
    if not driver.backend.in_place:
        pytest.skip(f"{driver.backend.name} has no arrays that can be written to")
    step = first_step(case)
    params = driver.adopt([np.array(w) for w in step.before.params])
    slots, grads = driver.backend.init(step.hyper, params), step.grads and driver.adopt(step.grads)
    gradient_bits = bits(driver, grads)
    arrays = {name: list(slot) for name, slot in _element(slots).items()}
    beside = driver.read(step.hyper, 1, *driver.backend.update(step.hyper, 1, params, grads, slots, in_place=False))
    new, new_slots = driver.backend.update(step.hyper, 1, params, grads, slots, in_place=True)
    assert [id(w) for w in new] == [id(w) for w in params], f"{case}: the parameters are other arrays"
    for name, slot in arrays.items():
        assert [id(x) for x in new_slots[name]] == [id(x) for x in slot], f"{case}: {name} are other arrays"
    assert bits(driver, grads) == gradient_bits, f"{case}: the gradients were written to"
    assert bits(driver, new) == [w.tobytes() for w in beside.params], f"{case}: in place, the result is another"


def test_assign_writes_into_the_arrays(driver: Driver) -> None:
    if not driver.backend.in_place:
        pytest.skip(f"{driver.backend.name} has no arrays that can be written to")
    old = [np.zeros(shape, np.float32) for shape in ((), (0,), (2, 3))]
    new = [np.full(array.shape, 1.5, np.float32) for array in old]
    params = driver.adopt(old)
    driver.backend.assign(params, driver.adopt(new))
    assert bits(driver, params) == [array.tobytes() for array in new]


def test_no_parameters(case: Case, driver: Driver) -> None:
    """A model may have none."""
    hyper = case.hyper(1)
    slots = driver.backend.init(hyper, [])
    grads: list[Any] | None = [] if hyper.program.reads_gradient else None
    params, slots = driver.backend.update(hyper, 1, [], grads, slots, in_place=driver.backend.in_place)
    assert list(params) == []
    assert all(len(slot) == 0 for slot in _element(slots).values())


@pytest.mark.parametrize("name", NAMES)
def test_one_model_of_several_dtypes(name: str, driver: Driver, judge: Callable[[Case, str], Judge]) -> None:
    """Each parameter is updated as if it were alone."""
    cases = [Case(f"{name}/3x5", canonical()[name], dtype, ("3x5",)) for dtype in (*DTYPES, *HALF_DTYPES)]
    books = [judge(case, ONE_STEP) for case in cases]
    steps = [first_step(case) for case in cases]
    slots = {
        slot: [x for step in steps for x in step.before.slots[slot]] if isinstance(value, list) else value
        for slot, value in steps[0].before.slots.items()
    }
    grads = None if steps[0].grads is None else [g for step in steps for g in step.grads or []]
    before = State([w for step in steps for w in step.before.params], slots)
    found = driver.step(Step(1, steps[0].hyper, before, grads, before))
    for i, (book, step) in enumerate(zip(books, steps, strict=True)):
        mine = {slot: value[i : i + 1] if isinstance(value, list) else value for slot, value in found.slots.items()}
        average = None if found.average is None else found.average[i : i + 1]
        book.compare(step, State(found.params[i : i + 1], mine, average))


@pytest.mark.parametrize("dtype", PARAMETER_DTYPES)
def test_arrays_come_back_as_they_went_in(dtype: str, driver: Driver) -> None:
    if reason := driver.refuses(canonical()[NAMES[0]], dtype):
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
    hyper = canonical()[NAMES[0]]
    for reason in (
        driver.backend.supports(hyper, "complex64", driver.device),
        driver.backend.supports(hyper, "float32", "nowhere"),
    ):
        assert isinstance(reason, str)
        assert len(reason.split()) > 3, f"{reason!r} says neither what nor why"


def _element(slots: dict[str, Any]) -> dict[str, list[Any]]:
    """The slots that are arrays."""
    return {name: slot for name, slot in slots.items() if isinstance(slot, list)}
