"""What must not matter: what else is in the model, the order of elements, their scale, a restart."""

from __future__ import annotations

from typing import Any

import numpy as np

from refopt.clocks import of_elements
from refopt_conformance.budgets import ONE_STEP
from refopt_conformance.cases import DTYPES, HALF_DTYPES, Case
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.laws.common import Inapplicable, alone, demand, first_step, two_steps
from refopt_conformance.reference import SHORT, State, Step, chain, initial, rounded, take, wide_step
from refopt_conformance.stepping import arrays_of, element, mapped, only, packed, pick, run


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
    alone(case)
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
    """A tensor is updated to the same bits alone and among others; where it is added up, within the budget of a step.

    What a compiled program adds up beside other things it may add in another order, on a GPU for one.
    """
    alone(case)
    if not of_elements(case.conventions.program):
        for step in two_steps(case):
            Judge(case, ONE_STEP).compare(step, driver.step(step))
            for i, leaf in enumerate(case.leaves):
                one = Case(case.name, case.conventions, case.dtype, (leaf,), case.numbers)
                Judge(one, ONE_STEP).compare(only(step, i), driver.step(only(step, i)))
        return
    steps = list(chain(case, 3))
    together = run(driver, steps)
    for i, leaf in enumerate(case.leaves):
        by_itself = run(driver, [only(step, i) for step in steps])
        same = packed(by_itself) == packed(pick(together, i))
        demand(same, case, f"{leaf} is updated to other values when it is alone")


def order_of_elements_does_not_matter(case: Case, driver: Driver) -> None:
    """Elements that change places are updated to the same bits; so are halves of a tensor."""
    if not of_elements(case.conventions.program):
        raise Inapplicable(f"{case.conventions.rule.name} takes norms, sums or maxima: its elements depend on others")
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
    one = take(fewer, 1, rounded(zero, fewer), grads)
    four = take(fewer, 1, rounded(zero, fewer), [4 * g for g in grads])
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


def _quantities(one: State, four: State, mine: State, mine_four: State) -> list[tuple[Any, ...]]:
    names = [("w", one.params, four.params, mine.params, mine_four.params)]
    return names + [(n, s, four.slots[n], mine.slots[n], mine_four.slots[n]) for n, s in element(one.slots).items()]
