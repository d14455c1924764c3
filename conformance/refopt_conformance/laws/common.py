"""What laws are made of: what a law is and how it answers, the step that most of them take, arrays as bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from refopt.clocks import of_model
from refopt_conformance.cases import Case
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Deviation
from refopt_conformance.reference import Step, arriving, initial, rounded, take
from refopt_conformance.stepping import element

Law = Callable[[Case, Driver], None]

# For laws about a backend's memory and programs, which each list of shapes costs one. Two are of one shape.
FEW = ("scalar", "empty", "seven", "zero_params", "3x5")


class Inapplicable(Exception):
    """The law says nothing about this backend or rule; the message says why."""


def bits(driver: Driver, arrays: list[Any] | None) -> list[bytes]:
    return [driver.backend.to_numpy(array).tobytes() for array in arrays or []]


def first_step(case: Case) -> Step:
    return take(case, 1, initial(case), arriving(case, 1))


def two_steps(case: Case) -> Iterator[Step]:
    """The first steps: in the second, numbers that start at 0 have another value."""
    first = first_step(case)
    yield first
    yield take(case, 2, rounded(first.after, case), arriving(case, 2))


def fewer(case: Case) -> Case:
    """The case on few tensors."""
    return Case(case.name, case.conventions, case.dtype, FEW, case.numbers)


def arrays_in(slots: dict[str, Any]) -> list[Any]:
    """The arrays of all slots."""
    return [array for slot in element(slots).values() for array in slot]


def demand(holds: bool, case: Case, said: str) -> None:
    if not holds:
        raise Deviation(f"{case}: {said}", t=1)


def alone(case: Case) -> None:
    if of_model(case.conventions.program):
        raise Inapplicable(f"{case.conventions.rule.name} adds over the model: what is in it matters")


def needs_in_place(driver: Driver) -> None:
    if not driver.backend.in_place:
        raise Inapplicable(f"{driver.backend.name} has no arrays that can be written to")
