"""What backends promise that compile their steps, and say so (`refopt.spec.backend.Compiling`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from refopt.clocks import estimates
from refopt.spec.errors import RefoptError
from refopt.spec.hyper import Hyper
from refopt_conformance.budgets import ONE_STEP
from refopt_conformance.cases import Case
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.laws.common import Inapplicable, demand, fewer, first_step, two_steps
from refopt_conformance.reference import REFERENCE, State, take
from refopt_conformance.stepping import element

# Steps between which only numbers change; what is decided once per step (the first is another, say) is seen in both.
SEEN, LATER = (1, 2, 300), (1, 3, 301, 2049)


def numbers_compile_nothing(case: Case, driver: Driver) -> None:
    """A step with another learning rate, t, or other number compiles nothing anew, nor does reading the average."""
    compilations = _member(driver, "compilations", "does not count what it compiles")
    few = fewer(case)
    step = first_step(few)
    params = driver.adopt([np.array(w) for w in step.before.params])
    grads = step.grads and driver.adopt(step.grads)
    slots = driver.backend.init(step.hyper, params)

    def take_steps(hyper: Hyper, ts: tuple[int, ...]) -> int:
        nonlocal params, slots
        for t in ts:
            params, slots = driver.backend.update(hyper, t, params, grads, slots, in_place=False)
            if hyper.program.evaluate:
                driver.backend.average(hyper, t, params, slots)
        return compilations()

    count = take_steps(step.hyper, SEEN)
    for name in step.hyper.read:
        again = take_steps(_changed(step.hyper, name), SEEN) - count
        demand(again == 0, case, f"with another {name}, steps compile anew: {again} more")
    again = take_steps(step.hyper, LATER) - count
    demand(again == 0, case, f"with another t, steps compile anew: {again} more")


def _changed(hyper: Hyper, name: str) -> Hyper:
    """A little less, or more, of a number. What is zero stays: it may decide on what is computed."""
    value = hyper.values[name]
    try:
        return hyper.replace(**{name: value * 0.875})
    except RefoptError:
        return hyper.replace(**{name: value * 1.125})


def eager_is_compiled(case: Case, driver: Driver) -> None:
    """A step that is not compiled comes to the same: to the same bits where no operation rounds, else within a step.

    Bits may differ where operations round: a compiler makes one rounding of the two in a*b + c. So eager and compiled
    are held against each other as a backend is against the definition: within the budget of one step, with the same
    infinities, NaNs and zeros; and, on inputs of few digits, whatever is exact must be equal.
    """
    eager = _member(driver, "eager", "computes in one way only, compiled or not")
    for one in (fewer(case), replace(fewer(case), numbers="dyadic")):
        for step in two_steps(one):
            compiled = driver.step(step)
            with eager():
                found = driver.step(step)
            Judge(one, ONE_STEP).compare(replace(step, after=_wide(compiled)), found)


def _wide(state: State) -> State:
    slots = {n: [x.astype(np.float64) for x in s] if isinstance(s, list) else s for n, s in state.slots.items()}
    return State([w.astype(np.float64) for w in state.params], slots)


def memory_may_be_donated(case: Case, driver: Driver) -> None:
    """A program of the user's around `update` may take the memory of parameters and slots: the bits are the same.

    It starts from what `init` hands out, and goes on from what it gave back itself. It is held against the definition
    too: inside such a program numbers are constants, which a compiler may fold. Its second gradients turn some elements
    and others not: only so does a step that is a sign show whether it is made from old or new momentum.
    """
    compiled = _member(driver, "compiled", "offers no program around update to donate to")
    if estimates(case.conventions.program):
        raise Inapplicable(f"{case.conventions.rule.name} reads a number of the model from the device after each step")
    few = fewer(case)
    step = first_step(few)
    if step.grads is None:  # what is watched is what `init` is given
        watched = step.before.params
        step = take(few, 1, State(watched, REFERENCE.init(step.hyper, watched)), watched)
    turning = step.grads and [-_rising(g) * g for g in step.grads]
    numbers: dict[str, float] = {}

    def body(params: list[Any], arrays: dict[str, Any], grads: list[Any] | None) -> tuple[list[Any], dict[str, Any]]:
        slots = {**step.before.slots, **arrays}
        new, slots = driver.backend.update(step.hyper, 1, params, grads, slots, in_place=False)
        numbers.update({name: value for name, value in slots.items() if name not in element(slots)})
        return list(new), dict(element(slots))

    results = []
    for donate in (False, True):
        program = compiled(body, donate=donate)
        params = driver.adopt([np.array(w) for w in step.before.params])
        arrays = dict(element(driver.backend.init(step.hyper, params)))
        found = []
        for given in (step.grads, turning):
            params, arrays = program(params, arrays, given and driver.adopt(given))
            found.append(driver.read(step.hyper, 1, params, arrays | numbers))
        results.append(found)
    for kept, donated in zip(*results, strict=True):
        for name, one, other in _quantities(kept, donated):
            same = [x.tobytes() for x in one] == [x.tobytes() for x in other]
            demand(same, case, f"where memory is donated, {name} comes to other values")
    Judge(few, ONE_STEP).compare(step, results[0][0])


def _rising(x: np.ndarray) -> np.ndarray:
    """From 0 to 1 over the elements."""
    return np.linspace(0, 1, x.size).reshape(x.shape).astype(x.dtype)


def _quantities(one: State, other: State) -> Iterator[tuple[str, list[np.ndarray], list[np.ndarray]]]:
    yield "w", one.params, other.params
    yield from ((name, slot, other.slots[name]) for name, slot in element(one.slots).items())


def _member(driver: Driver, name: str, without: str) -> Any:
    """What a backend has beside the contract."""
    found = getattr(driver.backend, name, None)
    if found is None:
        raise Inapplicable(f"{driver.backend.name} {without}: it has no {name}()")
    return found
