"""Steps a model sharded and unsharded, side by side, and says how far the sharded one is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from refopt_conformance.amplification import MATRIX, largest, quantity_of
from refopt_conformance.budgets import BUDGETS, CHAIN
from refopt_conformance.cases import Case
from refopt_conformance.distance import distance
from refopt_conformance.driver import Driver
from refopt_conformance.reference import State, Step
from refopt_conformance.sharded.models import Leaf, chain, takes_norms
from refopt_conformance.sharded.results import Result

Place = Callable[[list[np.ndarray]], list[Any]]  # from NumPy's arrays to the backend's, where they are to lie
States = Iterator[State]


class _Quantity(NamedTuple):
    kind: str
    name: str
    before: list[np.ndarray]
    after: list[np.ndarray]
    found: list[np.ndarray]
    unsharded: list[np.ndarray]


def follow(driver: Driver, steps: Sequence[Step], place: Place, update: Callable[..., Any] | None = None) -> States:
    """The backend's states after each step, on parameters and gradients that are placed so."""
    update, in_place = update or driver.backend.update, driver.backend.in_place
    params = place([np.array(w) for w in steps[0].before.params])
    slots = driver.backend.init(steps[0].hyper, params)
    for step in steps:
        grads = None
        if step.grads is None:  # the caller brings the parameters
            params = place([np.array(w) for w in step.before.params])
        else:
            grads = place([np.array(g) for g in step.grads])
        params, slots = update(step.hyper, step.t, params, grads, slots, in_place=in_place)
        yield driver.read(step.hyper, step.t, params, slots)


def judged(
    layout: str,
    case: Case,
    leaves: Sequence[Leaf],
    driver: Driver,
    sharded: Callable[[list[Step]], States],
    whole: Place | None = None,
) -> Result:
    """The result of a case: `sharded` steps the model on its layout. `whole` places what is not, if not as it comes."""
    name, worst, worst_at, said = f"{layout}/{case.name}/{case.precision}", 0.0, "", ""
    steps, sizes = list(chain(case, leaves)), dict[str, np.ndarray]()
    for step, found, beside in zip(steps, sharded(steps), follow(driver, steps, whole or driver.adopt), strict=True):
        for quantity in _quantities(step, found, beside):
            ulps, allowed, where = _distance(case, leaves, quantity, sizes, found.params[0].dtype)
            if ulps > worst:
                worst, worst_at = ulps, f"t={step.t}, {where}"
            if not ulps <= allowed and not said:  # the first; the processes go on together to the end
                whom = "the float64 reference" if takes_norms(case.conventions) else "the unsharded run"
                said = f"t={step.t}, {where}: {ulps:.3g} ULPs from {whom}, {allowed:g} are allowed"
    return Result(name, "failed" if said else "passed", said, worst, worst_at)


def _quantities(step: Step, found: State, beside: State) -> Iterator[_Quantity]:
    before, after = step.before, step.after
    yield _Quantity(quantity_of(step.hyper.program), "w", before.params, after.params, found.params, beside.params)
    for name, slot in found.slots.items():
        if isinstance(slot, list):
            yield _Quantity("slot", name, before.slots[name], after.slots[name], slot, beside.slots[name])
    if found.average is not None and beside.average is not None:
        yield _Quantity("average", "average", [], [], found.average, beside.average)


def _distance(
    case: Case, leaves: Sequence[Leaf], quantity: _Quantity, sizes: dict[str, np.ndarray], dtype: np.dtype
) -> tuple[float, float, str]:
    """The largest distance of a quantity, what is allowed, and where it is: in units of the parameters' dtype.

    Slots of half-precision parameters have more digits, but follow parameters that are rounded at each step.
    """
    found = np.concatenate([x.ravel() for x in quantity.found])
    wanted, size, allowed = quantity.unsharded, np.zeros(found.size), 0.0
    if takes_norms(case.conventions):
        wanted, allowed = quantity.after, BUDGETS[quantity.kind, case.precision, CHAIN].ulps
        for arrays in (quantity.before, quantity.after):
            size = np.fmax(size, np.abs(_flat(arrays)))
        size = sizes[quantity.name] = np.fmax(size, sizes.get(quantity.name, 0.0))
        if quantity.kind == MATRIX:
            size = largest(size, [x.size for x in quantity.found])
    ulps = distance(found, _flat(wanted), size, dtype)
    at = int(np.argmax(ulps))
    ends = np.cumsum([x.size for x in quantity.found])
    return (
        float(ulps[at]),
        allowed,
        f"{quantity.name} of the leaf {leaves[int(np.searchsorted(ends, at, 'right'))].name}",
    )


def _flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([x.ravel() for x in arrays]).astype(np.float64)
