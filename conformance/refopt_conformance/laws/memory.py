"""Whose memory is whose: who may write where, what shares memory with what, and what is held on to after a step."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations
from typing import Any

import numpy as np

from refopt_conformance.cases import Case, conventions
from refopt_conformance.driver import Driver
from refopt_conformance.laws.common import (
    Inapplicable,
    arrays_in,
    bits,
    demand,
    fewer,
    first_step,
    needs_in_place,
    two_steps,
)
from refopt_conformance.reference import Step
from refopt_conformance.stepping import element


def inputs_are_not_written(case: Case, driver: Driver) -> None:
    """Without in_place nothing that was given is written, and read-only arrays are accepted."""
    for step in two_steps(case):
        for read_only in (True, False):
            _writes_nothing(case, driver, step, read_only)


def _writes_nothing(case: Case, driver: Driver, step: Step, read_only: bool) -> None:
    def copies(arrays: list[np.ndarray]) -> list[np.ndarray]:
        own = [np.array(x) for x in arrays]
        for x in own:
            x.flags.writeable = not read_only  # a backend that shares the memory must not write there
        return own

    params, grads = driver.adopt(copies(step.before.params)), step.grads and driver.adopt(copies(step.grads))
    slots = driver.adopt_slots({n: copies(s) if isinstance(s, list) else s for n, s in step.before.slots.items()})
    given = [*params, *(grads or []), *arrays_in(slots)]
    before = bits(driver, given)
    driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=False)
    demand(bits(driver, given) == before, case, "update(in_place=False) wrote into what it was given")


def in_place_keeps_the_arrays(case: Case, driver: Driver) -> None:
    """With in_place parameters and slots stay the same arrays, gradients stay as they are, the result is the same."""
    needs_in_place(driver)
    steps = list(two_steps(case))
    params = driver.adopt([np.array(w) for w in steps[0].before.params])
    slots = driver.backend.init(steps[0].hyper, params)
    arrays = {name: list(slot) for name, slot in element(slots).items()}
    for step in steps:
        grads = step.grads and driver.adopt([np.array(g) for g in step.grads])
        gradient_bits = bits(driver, grads)
        old = driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=False)
        beside = driver.read(step.hyper, step.t, *old)
        new, slots = driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=True)
        demand([id(w) for w in new] == [id(w) for w in params], case, "the parameters are other arrays")
        for name, slot in arrays.items():
            demand([id(x) for x in slots[name]] == [id(x) for x in slot], case, f"{name} are other arrays")
        demand(bits(driver, grads) == gradient_bits, case, "the gradients were written to")
        demand(bits(driver, new) == [w.tobytes() for w in beside.params], case, "in place, the result is another")


def nothing_shares_memory(case: Case, driver: Driver) -> None:
    """No two parameters and slots are one array or share memory: of `init`, and after a step with what was given to it.

    Arrays that cannot be written to may be donated: two of them in one memory, and the step of whoever donates fails. A
    rule that moves no parameter may give them back. Slots are looked at under all conventions of the rule that start
    them otherwise.
    """
    step = first_step(fewer(case))
    params = driver.adopt([np.array(w) for w in step.before.params])
    starts = {hyper.program.slots: hyper for hyper in conventions(case.conventions.rule).values()}
    for hyper in starts.values():
        if driver.refuses(hyper, case.dtype) is None:
            slots = driver.backend.init(hyper, params)
            _apart(case, driver, f"of init under {hyper}", _named(params, slots, ""))
    slots = driver.backend.init(step.hyper, params)
    grads = step.grads and driver.adopt([np.array(g) for g in step.grads])
    given = _named(params, slots, "the old ") | {f"gradient {i}": g for i, g in enumerate(grads or [])}
    new, new_slots = driver.backend.update(step.hyper, 1, params, grads, slots, in_place=False)
    moved = new if step.hyper.program.writes_parameter else []
    after = given | _named(moved, new_slots, "the new ")
    if step.hyper.program.evaluate:
        averages = driver.backend.average(step.hyper, 1, new, new_slots)
        after |= {f"average {i}": a for i, a in enumerate(averages)}
    _apart(case, driver, "after update(in_place=False)", after)


def _named(params: list[Any], slots: dict[str, Any], which: str) -> dict[str, Any]:
    named = {f"{which}w {i}": w for i, w in enumerate(params)}
    return named | {f"{which}{name} {i}": x for name, slot in element(slots).items() for i, x in enumerate(slot)}


def _apart(case: Case, driver: Driver, when: str, arrays: dict[str, Any]) -> None:
    """An array is itself; what `to_numpy` shows of two may share memory, where it is no copy."""
    seen = {name: driver.backend.to_numpy(array) for name, array in arrays.items()}
    for one, other in combinations(arrays, 2):
        shared = arrays[one] is arrays[other] or np.shares_memory(seen[one], seen[other])
        demand(not shared, case, f"{one} and {other} {when} share their memory")


def gradients_are_not_kept(case: Case, driver: Driver) -> None:
    """After a step nothing holds on to the gradients: they can be overwritten, and forgotten."""
    step = first_step(case)
    if step.grads is None:
        raise Inapplicable(f"{case.conventions.rule.name} reads no gradient")
    for in_place in (False, True) if driver.backend.in_place else (False,):
        params = driver.adopt([np.array(w) for w in step.before.params])
        slots = driver.backend.init(step.hyper, params)
        grads = driver.adopt([np.array(g) for g in step.grads])
        new, slots = driver.backend.update(step.hyper, 1, params, grads, slots, in_place=in_place)
        held = [*new, *arrays_in(slots)]
        before = bits(driver, held)
        if driver.backend.in_place:
            driver.backend.assign(grads, driver.adopt([np.full_like(g, 7.0) for g in step.grads]))
            demand(bits(driver, held) == before, case, "the state changes when the gradients are overwritten")
        watched = list(_watched(grads))
        del grads
        gc.collect(0)
        demand(all(ref() is None for ref in watched), case, "the gradients are still held after the step")


def old_arrays_are_not_kept(case: Case, driver: Driver) -> None:
    """After a step nothing holds on to the parameters and slots that were given, and the state to no parameter."""
    step = first_step(fewer(case))
    for in_place in (False, True) if driver.backend.in_place else (False,):
        params = driver.adopt([np.array(w) for w in step.before.params])
        slots = driver.backend.init(step.hyper, params)
        grads = step.grads and driver.adopt(step.grads)
        new, new_slots = driver.backend.update(step.hyper, 1, params, grads, slots, in_place=in_place)
        kept = {id(array) for array in arrays_in(new_slots)}  # in place, slots are what they were
        watched = list(_watched([x for x in (*params, *new, *arrays_in(slots)) if id(x) not in kept]))
        if not watched:
            raise Inapplicable(f"{driver.backend.name} has arrays that cannot be watched: no weak reference to them")
        del params, slots, new
        gc.collect(0)
        said = f"after update(in_place={in_place}) old parameters or slots are still held"
        demand(all(ref() is None for ref in watched), case, said)


def _watched(arrays: list[Any]) -> Iterator[weakref.ref[Any]]:
    """A weak reference to each array that can have one."""
    for array in arrays:
        with suppress(TypeError):
            yield weakref.ref(array)
