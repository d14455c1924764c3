"""How a backend is compared with the reference: single steps from the reference's state, or chains from its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from refopt.spec.backend import Slots
from refopt_conformance.cases import Case
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.reference import SHORT, Step, arriving, chain, initial, one_steps, take

CHECKPOINTS = (1, 2, 3, 10, 100, 256, 257, 300, 1000, 2048, 2049)  # around powers of two: counters stop there


def single(book: Judge, driver: Driver) -> None:
    """Teacher-forced: the tight comparison, and a test that a foreign state can be taken up."""
    on_the_way = {step.t: step for step in chain(book.case, SHORT)}
    for step in one_steps(book.case):
        for t in [t for t in on_the_way if t < step.t]:
            book.pass_by(on_the_way.pop(t))
        book.compare(step, driver.step(step))


def short(book: Judge, driver: Driver) -> None:
    """Twelve steps, each compared: what drifts, and what a single step cannot show."""
    follow(book, driver, SHORT, range(SHORT + 1))


def follow(book: Judge, driver: Driver, steps: int, looked_at: range | tuple[int, ...] = CHECKPOINTS) -> None:
    """Steps one after the other, in place where the backend can, so that this way of stepping is covered too."""
    params, slots = _start(book.case, driver)
    for step in chain(book.case, steps):
        params, slots = _advance(driver, step, params, slots)
        if step.t in looked_at or step.t == steps:
            book.compare(step, driver.read(step.hyper, step.t, params, slots))
        else:
            book.pass_by(step)


def led(book: Judge, driver: Driver, steps: int = SHORT) -> None:
    """Steps of the backend's own, each compared with the reference's from the state that the backend had.

    State of few digits drifts from that of a float64 run however right each step is: a second moment may stand still.
    """
    case, before = book.case, initial(book.case)
    params, slots = _start(case, driver)
    for t in [step.t for step in chain(case, steps)]:
        step = take(case, t, before, arriving(case, t))
        params, slots = _advance(driver, step, params, slots)
        before = driver.read(step.hyper, t, params, slots)
        book.compare(step, before)


def _start(case: Case, driver: Driver) -> tuple[list[Any], Slots]:
    """The backend's own state before the first step."""
    params = driver.adopt([np.array(w) for w in initial(case).params])
    return params, driver.backend.init(case.hyper(1), params)


def _advance(driver: Driver, step: Step, params: list[Any], slots: Slots) -> tuple[list[Any], Slots]:
    """The backend's state after a step, from the state that it had."""
    grads = None
    if step.grads is None:  # the caller brings the parameters
        params = driver.adopt([np.array(w) for w in step.before.params])
    else:
        grads = driver.adopt([np.array(g) for g in step.grads])
    return driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=driver.backend.in_place)
