"""How arrays lie in memory, how large and how many they are: none of it may matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from refopt.clocks import of_elements, of_model
from refopt.spec.errors import Unsupported
from refopt_conformance.amplification import MATRIX, largest, quantity_of
from refopt_conformance.budgets import BUDGETS, ONE_STEP
from refopt_conformance.cases import Case
from refopt_conformance.distance import distance
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.laws.common import Inapplicable, demand, fewer, first_step, needs_in_place
from refopt_conformance.reference import State, Step, chain, take
from refopt_conformance.stepping import Kept, arrays_of, element, mapped, only, packed, pick, run

Layout = Callable[[np.ndarray], np.ndarray]


def _with_gaps(x: np.ndarray) -> np.ndarray:
    return np.repeat(x, 2, axis=-1)[..., ::2]


def _backwards(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[::-1])[::-1]


# Each makes a copy of an array that lies otherwise.
LAYOUTS: dict[str, Layout] = {
    "column by column": lambda x: x.copy(order="F"),
    "with gaps": _with_gaps,
    "backwards": _backwards,
}
LARGE = 2**18 + 3  # elements: beyond every block, run and vector that we know of, and a multiple of none
COPIES = 23  # of five tensors: more than one launch of any kernel of many tensors takes


def layout_does_not_matter(case: Case, driver: Driver) -> None:
    """Transposed, strided and reversed arrays are read as what they are, one element for all as well.

    A norm may be summed in the order of memory. A backend may refuse a layout.
    """
    steps = _matrix(case)
    straight = run(driver, steps)
    for said, layout in LAYOUTS.items():
        try:
            other = run(driver, [mapped(step, layout) for step in steps], in_place=False)
        except Unsupported:
            continue
        demand(_same(case, other, straight), case, f"arrays that lie {said} in memory are updated otherwise")
    if steps[0].grads is not None:
        ones = [_with_gradient(step, lambda g: np.full(g.shape, g.flat[0])) for step in steps]
        spread = [_with_gradient(step, lambda g: np.broadcast_to(g.flat[0], g.shape)) for step in steps]
        same = _same(case, run(driver, spread, in_place=False), run(driver, ones, in_place=False))
        demand(same, case, "gradients whose elements are all one in memory are read otherwise")


def layout_in_place_does_not_matter(case: Case, driver: Driver) -> None:
    """Arrays are updated in place however they lie in memory, and what lies between their elements is left alone."""
    needs_in_place(driver)
    steps = _matrix(case)
    straight = run(driver, steps)
    for said, layout in LAYOUTS.items():
        w = layout(steps[0].before.params[0])
        between = _between(w)
        try:
            params = driver.adopt([w])
            gradients = [step.grads and driver.adopt([layout(g) for g in step.grads]) for step in steps]
        except Unsupported:
            continue
        slots = driver.backend.init(steps[0].hyper, params)
        for step, grads in zip(steps, gradients, strict=True):
            if step.grads is None:
                params = driver.adopt([layout(v) for v in step.before.params])
            params, slots = driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=True)
        found = driver.backend.to_numpy(params[0])
        kept: Kept = (
            [np.array(found)],
            {
                n: [np.array(driver.backend.to_numpy(x)) for x in s] if isinstance(s, list) else s
                for n, s in slots.items()
            },
        )
        demand(_same(case, kept, straight), case, f"arrays that lie {said} in memory are updated in place otherwise")
        demand(_between(w) == between, case, f"what lies between the elements of an array that lies {said} has changed")


def _between(w: np.ndarray) -> bytes:
    """What of the memory belongs to an array with gaps, but is no element of it."""
    return w.base[..., 1::2].tobytes() if isinstance(w.base, np.ndarray) and w.base.size == 2 * w.size else b""


def size_does_not_matter(case: Case, driver: Driver) -> None:
    """A long array is updated as its elements would be in a short one, to the same bits."""
    if not of_elements(case.conventions.program):
        raise Inapplicable(f"{case.conventions.rule.name} takes norms, sums or maxima, which differ with the size")
    half = replace(case, dtype="bfloat16")
    for one in (case, half) if driver.refuses(half.hyper(1), half.dtype) is None else (case,):
        _long(one, driver)


def _long(case: Case, driver: Driver) -> None:
    steps = _matrix(case)

    def long(x: np.ndarray) -> np.ndarray:
        return np.resize(x.reshape(-1), LARGE)

    short, found = run(driver, steps), run(driver, [mapped(step, long) for step in steps], in_place=False)
    compiles = getattr(driver.backend, "compiled", None) is not None  # for each size anew: roundings may be others
    before = arrays_of((steps[-1].before.params, steps[-1].before.slots))
    for one, other, size in zip(arrays_of(short), arrays_of(found), before, strict=True):
        bits = long(one).view(f"V{one.itemsize}") != other.view(f"V{one.itemsize}")
        differ = np.flatnonzero(_far(case, long(one), other, long(np.abs(size))) if compiles else bits)
        where = f": the first is element {differ[0]}" if differ.size else ""
        demand(not differ.size, case, f"{differ.size} of {LARGE} elements of a long array come to other values{where}")


def _far(case: Case, one: np.ndarray, other: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where two results are further apart than two right ones can be: each within the budget of a step."""
    wide = one.astype(np.float64)
    ulps = distance(other, wide, np.fmax(np.abs(wide), size.astype(np.float64)))
    return ~(ulps <= 2 * max(BUDGETS[quantity, case.precision, ONE_STEP].ulps for quantity in ("parameter", "slot")))


def number_of_tensors_does_not_matter(case: Case, driver: Driver) -> None:
    """A model of hundreds of tensors is updated as one of a few, to the same bits.

    One that adds over its tensors: as the definition says.
    """
    few = fewer(case)
    if of_model(case.conventions.program):
        _as_defined(few, _many(first_step(few)), driver)
        return
    steps = list(chain(few, 2))
    one, found = run(driver, steps), run(driver, [_many(step) for step in steps])
    count = len(few.leaves)
    for i in range(COPIES * count):
        same = packed(pick(found, i)) == packed(pick(one, i % count))
        demand(
            same, case, f"of {COPIES * count} tensors, number {i + 1} is updated to other values than in a small model"
        )


def _as_defined(case: Case, step: Step, driver: Driver) -> None:
    before, after = step.before, take(case, 1, step.before, step.grads or []).after
    kept = [arrays_of((state.params, state.slots)) for state in (before, after, driver.step(step))]
    for old, wanted, found in zip(*kept, strict=True):
        far = _far(case, wanted, found, np.abs(old)).any()
        demand(not far, case, f"in a model of {len(before.params)} tensors, one is updated otherwise than defined")


def _many(step: Step) -> Step:
    before = State(
        step.before.params * COPIES,
        {n: s * COPIES if isinstance(s, list) else s for n, s in step.before.slots.items()},
    )
    return Step(step.t, step.hyper, before, step.grads and step.grads * COPIES, before)


def _matrix(case: Case) -> list[Step]:
    """Two steps of one matrix."""
    return [only(step, case.leaves.index("33x17")) for step in chain(case, 2)]


def _with_gradient(step: Step, change: Layout) -> Step:
    return Step(step.t, step.hyper, step.before, step.grads and [change(g) for g in step.grads], step.after)


def _same(case: Case, one: Kept, other: Kept) -> bool:
    """Whether two results are the same; with norms, as near as two orders of summing may bring them."""
    if packed(one) == packed(other):
        return True
    if of_elements(case.conventions.program) or element(one[1]).keys() != element(other[1]).keys():
        return False
    quantity = quantity_of(case.conventions.program)
    allowed = BUDGETS[quantity, case.precision, ONE_STEP].ulps + Judge(case, ONE_STEP).growth
    return all(
        distance(a, b.astype(np.float64), _sizes(quantity, b)).max() <= allowed
        for a, b in zip(arrays_of(one), arrays_of(other), strict=True)
    )


def _sizes(quantity: str, x: np.ndarray) -> np.ndarray:
    size = np.abs(x.astype(np.float64))
    return largest(size.ravel(), [size.size]).reshape(x.shape) if quantity == MATRIX else size
