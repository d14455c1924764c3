"""What holds for every backend without a budget: who may write where, what must not matter, what comes back unchanged.

Each law is a function of a case and a driver, and raises Deviation where it is broken, Inapplicable where it says
nothing about the backend or the rule.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from refopt.clocks import Clock, clocks
from refopt_conformance.budgets import BUDGETS, ONE_STEP
from refopt_conformance.cases import DTYPES, HALF_DTYPES, Case
from refopt_conformance.distance import distance
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Deviation, Judge
from refopt_conformance.reference import SHORT, State, Step, arriving, chain, initial, rounded, take, wide_step
from refopt_conformance.stepping import Kept, arrays_of, element, mapped, only, packed, pick, run

Law = Callable[[Case, Driver], None]


class Inapplicable(Exception):
    """The law says nothing about this backend or rule; the message says why."""


def bits(driver: Driver, arrays: list[Any] | None) -> list[bytes]:
    return [driver.backend.to_numpy(array).tobytes() for array in arrays or []]


def first_step(case: Case) -> Step:
    return take(case, 1, initial(case), arriving(case, 1))


def demand(holds: bool, case: Case, said: str) -> None:
    if not holds:
        raise Deviation(f"{case}: {said}", t=1)


def inputs_are_not_written(case: Case, driver: Driver) -> None:
    """Without in_place nothing that was given is written, and read-only arrays are accepted."""
    step = first_step(case)
    arrays = [*step.before.params, *(step.grads or []), *(x for s in element(step.before.slots).values() for x in s)]
    for array in arrays:
        array.flags.writeable = False  # a backend that shares the memory must not write there
    params, grads = driver.adopt(step.before.params), step.grads and driver.adopt(step.grads)
    slots = driver.adopt_slots(step.before.slots)
    given = [*params, *(grads or []), *(x for slot in element(slots).values() for x in slot)]
    before = bits(driver, given)
    driver.backend.update(step.hyper, 1, params, grads, slots, in_place=False)
    demand(bits(driver, given) == before, case, "update(in_place=False) wrote into what it was given")


def in_place_keeps_the_arrays(case: Case, driver: Driver) -> None:
    """With in_place parameters and slots stay the same arrays, gradients stay as they are, the result is the same."""
    needs_in_place(driver)
    step = first_step(case)
    params = driver.adopt([np.array(w) for w in step.before.params])
    slots, grads = driver.backend.init(step.hyper, params), step.grads and driver.adopt(step.grads)
    gradient_bits = bits(driver, grads)
    arrays = {name: list(slot) for name, slot in element(slots).items()}
    beside = driver.read(step.hyper, 1, *driver.backend.update(step.hyper, 1, params, grads, slots, in_place=False))
    new, new_slots = driver.backend.update(step.hyper, 1, params, grads, slots, in_place=True)
    demand([id(w) for w in new] == [id(w) for w in params], case, "the parameters are other arrays")
    for name, slot in arrays.items():
        demand([id(x) for x in new_slots[name]] == [id(x) for x in slot], case, f"{name} are other arrays")
    demand(bits(driver, grads) == gradient_bits, case, "the gradients were written to")
    demand(bits(driver, new) == [w.tobytes() for w in beside.params], case, "in place, the result is another")


def no_parameters(case: Case, driver: Driver) -> None:
    """A model may have none."""
    hyper = case.hyper(1)
    slots = driver.backend.init(hyper, [])
    grads: list[Any] | None = [] if hyper.program.reads_gradient else None
    params, slots = driver.backend.update(hyper, 1, [], grads, slots, in_place=driver.backend.in_place)
    demand(list(params) == [], case, "a model without parameters has some after a step")
    demand(all(len(slot) == 0 for slot in element(slots).values()), case, "a model without parameters has slots")


def dtypes_may_be_mixed(case: Case, driver: Driver) -> None:
    """In a model of several dtypes each parameter is updated as if it were alone."""
    dtypes = [dtype for dtype in (*DTYPES, *HALF_DTYPES) if driver.refuses(case.hyper(1), dtype) is None]
    cases = [Case(case.name, case.conventions, dtype, ("3x5",), case.numbers) for dtype in dtypes]
    steps = [first_step(one) for one in cases]
    slots = {
        slot: [x for step in steps for x in step.before.slots[slot]] if isinstance(value, list) else value
        for slot, value in steps[0].before.slots.items()
    }
    grads = None if steps[0].grads is None else [g for step in steps for g in step.grads or []]
    before = State([w for step in steps for w in step.before.params], slots)
    found = driver.step(Step(1, steps[0].hyper, before, grads, before))
    for i, (one, step) in enumerate(zip(cases, steps, strict=True)):
        mine = {slot: value[i : i + 1] if isinstance(value, list) else value for slot, value in found.slots.items()}
        average = None if found.average is None else found.average[i : i + 1]
        Judge(one, ONE_STEP).compare(step, State(found.params[i : i + 1], mine, average))


def restart_changes_nothing(case: Case, driver: Driver) -> None:
    """A state that was taken out, and put back into new arrays, goes on as if nothing had happened."""
    steps = list(chain(case, SHORT))
    straight = run(driver, steps)
    for at in (1, SHORT // 2):
        resumed = run(driver, steps[at:], run(driver, steps[:at]))
        same = packed(resumed) == packed(straight)
        demand(same, case, f"stopped after {at} steps and resumed from the saved state, it ends elsewhere")


def tensors_do_not_mix(case: Case, driver: Driver) -> None:
    """A tensor is updated to the same bits alone and among others."""
    steps = list(chain(case, 3))
    together = run(driver, steps)
    for i, leaf in enumerate(case.leaves):
        alone = run(driver, [only(step, i) for step in steps])
        same = packed(alone) == packed(pick(together, i))
        demand(same, case, f"{leaf} is updated to other values when it is alone")


def order_of_elements_does_not_matter(case: Case, driver: Driver) -> None:
    """Elements that change places are updated to the same bits; so are halves of a tensor."""
    if Clock.TENSOR in clocks(case.conventions.program):
        raise Inapplicable(f"{case.conventions.rule.name} takes norms: its elements are not independent")
    i = case.leaves.index("33x17")
    steps = [only(step, i) for step in chain(case, 3)]
    straight = run(driver, steps)
    for said, change in (
        ("in reverse order", lambda x: np.ascontiguousarray(x.reshape(-1)[::-1])),
        ("of a part", lambda x: x.reshape(-1)[:200]),
    ):
        moved = run(driver, [mapped(step, change) for step in steps], in_place=False)
        wanted = [change(w).tobytes() for w in arrays_of(straight)]
        demand([w.tobytes() for w in arrays_of(moved)] == wanted, case, f"elements {said} come to other values")


def layout_does_not_matter(case: Case, driver: Driver) -> None:
    """Transposed and strided arrays are read as what they are; a norm may be summed in the order of memory."""
    norms = Clock.TENSOR in clocks(case.conventions.program)
    i = case.leaves.index("33x17")
    steps = [only(step, i) for step in chain(case, 2)]
    straight = run(driver, steps)
    for said, layout in (
        ("column by column", np.asfortranarray),
        ("with gaps", lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x),
    ):
        other = run(driver, [mapped(step, layout) for step in steps], in_place=False)
        same = packed(other) == packed(straight) or (norms and _near(case, other, straight))
        demand(same, case, f"arrays that lie {said} in memory are updated otherwise")


def _near(case: Case, one: Kept, other: Kept) -> bool:
    """Whether two results are as near as two orders of summing a norm may bring them."""
    allowed = BUDGETS["parameter", case.dtype, ONE_STEP].ulps + Judge(case, ONE_STEP).growth
    return all(
        distance(a, b.astype(np.float64), np.abs(b.astype(np.float64))).max() <= allowed
        for a, b in zip(arrays_of(one), arrays_of(other), strict=True)
    )


def powers_of_two_scale(case: Case, driver: Driver) -> None:
    """Where four times the gradient scales every bit of the result, by the definition, it does so in the backend."""
    step = first_step(case)
    if step.grads is None:
        raise Inapplicable(f"{case.conventions.rule.name} reads no gradient")
    keep = [i for i, leaf in enumerate(case.leaves) if leaf not in ("underflow", "huge", "nan_lane", "inf_lane")]
    fewer = Case(case.name, case.conventions, case.dtype, tuple(case.leaves[i] for i in keep), case.numbers)
    base = initial(fewer)
    zero = State([w * 0 for w in base.params], base.slots)
    grads = [g for i, g in enumerate(step.grads) if i in keep]
    one = take(fewer, 1, rounded(zero, case.dtype), grads)
    four = take(fewer, 1, rounded(zero, case.dtype), [4 * g for g in grads])
    found, found_four = driver.step(one), driver.step(four)
    for name, small, large, mine, mine_four in _quantities(one.after, four.after, found, found_four):
        for power in (0, 1, 2):
            if all(np.array_equal(a * 4.0**power, b, equal_nan=True) for a, b in zip(small, large, strict=True)):
                same = all(
                    np.array_equal(a.astype(np.float64) * 4.0**power, b.astype(np.float64), equal_nan=True)
                    for a, b in zip(mine, mine_four, strict=True)
                )
                demand(same, case, f"with four times the gradient, {name} is not {4**power} times what it was")
                break


def without_rate_nothing_moves(case: Case, driver: Driver) -> None:
    """With a learning rate, or gradients, of zero a parameter keeps its bits, where the definition says so."""
    base = first_step(case)
    if base.grads is None:
        raise Inapplicable(f"{case.conventions.rule.name} reads no gradient")
    still = [
        ("a learning rate of 0", Step(1, base.hyper.replace(lr=0.0), base.before, base.grads, base.after)),
        ("gradients of 0", Step(1, base.hyper, base.before, [0 * g for g in base.grads], base.after)),
    ]
    for said, step in still:
        after = wide_step(step)
        found = driver.step(step)
        for leaf, w, wanted, new in zip(case.leaves, base.before.params, after, found.params, strict=True):
            if leaf != "underflow" and np.array_equal(w.astype(np.float64), wanted):
                demand(np.array_equal(w, new), case, f"{leaf} moves on {said}")


def gradients_are_not_kept(case: Case, driver: Driver) -> None:
    """After a step nothing holds on to the gradients: they can be overwritten, and forgotten."""
    step = first_step(case)
    if step.grads is None:
        raise Inapplicable(f"{case.conventions.rule.name} reads no gradient")
    params = driver.adopt([np.array(w) for w in step.before.params])
    slots = driver.backend.init(step.hyper, params)
    grads = driver.adopt([np.array(g) for g in step.grads])
    in_place = driver.backend.in_place
    new, slots = driver.backend.update(step.hyper, 1, params, grads, slots, in_place=in_place)
    held = [*new, *(x for slot in element(slots).values() for x in slot)]
    before = bits(driver, held)
    if in_place:
        driver.backend.assign(grads, driver.adopt([np.full_like(g, 7.0) for g in step.grads]))
        demand(bits(driver, held) == before, case, "the state changes when the gradients are overwritten")
    watched = list(_watched(grads))
    del grads
    gc.collect(0)
    demand(all(ref() is None for ref in watched), case, "the gradients are still held after the step")


def _watched(arrays: list[Any]) -> Iterator[weakref.ref[Any]]:
    """A weak reference to each array that can have one."""
    for array in arrays:
        with suppress(TypeError):
            yield weakref.ref(array)


def needs_in_place(driver: Driver) -> None:
    if not driver.backend.in_place:
        raise Inapplicable(f"{driver.backend.name} has no arrays that can be written to")


def _quantities(one: State, four: State, mine: State, mine_four: State) -> list[tuple[Any, ...]]:
    names = [("w", one.params, four.params, mine.params, mine_four.params)]
    return names + [(n, s, four.slots[n], mine.slots[n], mine_four.slots[n]) for n, s in element(one.slots).items()]


LAWS: dict[str, Law] = {
    law.__name__: law
    for law in (
        inputs_are_not_written,
        in_place_keeps_the_arrays,
        no_parameters,
        dtypes_may_be_mixed,
        restart_changes_nothing,
        tensors_do_not_mix,
        order_of_elements_does_not_matter,
        layout_does_not_matter,
        powers_of_two_scale,
        without_rate_nothing_moves,
        gradients_are_not_kept,
    )
}
