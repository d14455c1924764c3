"""How a backend is compared with the reference: single steps from the reference's state, or chains from its own."""

from __future__ import annotations

import numpy as np

from refopt_conformance.driver import Driver
from refopt_conformance.judge import Judge
from refopt_conformance.reference import SHORT, chain, initial, one_steps

CHECKPOINTS = (1, 2, 3, 10, 100, 256, 257, 300, 1000, 2048, 2049)  # around powers of two: counters stop there


def single(book: Judge, driver: Driver) -> None:
    """Teacher-forced: the tight comparison, and a test that a foreign state can be taken up."""
    for step in one_steps(book.case):
        book.compare(step, driver.step(step))


def short(book: Judge, driver: Driver) -> None:
    """Twelve steps, each compared: what drifts, and what a single step cannot show."""
    follow(book, driver, SHORT, range(SHORT + 1))


def follow(book: Judge, driver: Driver, steps: int, looked_at: range | tuple[int, ...] = CHECKPOINTS) -> None:
    """Steps one after the other, in place where the backend can, so that this way of stepping is covered too."""
    case = book.case
    params = driver.adopt([np.array(w) for w in initial(case).params])
    slots = driver.backend.init(case.hyper(1), params)
    for step in chain(case, steps):
        grads = None
        if step.grads is None:  # the caller brings the parameters
            params = driver.adopt([np.array(w) for w in step.before.params])
        else:
            grads = driver.adopt([np.array(g) for g in step.grads])
        in_place = driver.backend.in_place
        params, slots = driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=in_place)
        if step.t in looked_at or step.t == steps:
            book.compare(step, driver.read(step.hyper, step.t, params, slots))
        else:
            book.pass_by(step)
