"""Stepping a backend for its laws: from the beginning or from a kept state, on all tensors or one, changed or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refopt_conformance.driver import Driver
from refopt_conformance.reference import State, Step

Kept = tuple[list[np.ndarray], dict[str, Any]]  # parameters and slots as NumPy has them


def run(driver: Driver, steps: list[Step], state: Kept | None = None, *, in_place: bool = True) -> Kept:
    """The backend's own steps with these gradients, from the beginning or from a kept state; what comes out, copied."""
    backend, hyper = driver.backend, steps[0].hyper
    if state is None:
        params = driver.adopt([np.array(w) if in_place else w for w in steps[0].before.params])
        slots = backend.init(hyper, params)
    else:
        params = driver.adopt([np.array(w) for w in state[0]])
        slots = driver.adopt_slots(
            {n: [np.array(x) for x in s] if isinstance(s, list) else s for n, s in state[1].items()}
        )
    for step in steps:
        grads = None
        if step.grads is None:
            params = driver.adopt([np.array(w) if in_place else w for w in step.before.params])
        else:
            grads = driver.adopt([np.array(g) if in_place else g for g in step.grads])
        params, slots = backend.update(step.hyper, step.t, params, grads, slots, in_place=in_place and backend.in_place)
    out = {n: [np.array(backend.to_numpy(x)) for x in s] if isinstance(s, list) else s for n, s in slots.items()}
    return [np.array(backend.to_numpy(w)) for w in params], out


def arrays_of(kept: Kept) -> list[np.ndarray]:
    return [*kept[0], *(x for name in sorted(element(kept[1])) for x in kept[1][name])]


def packed(kept: Kept) -> list[Any]:
    numbers = sorted((name, value) for name, value in kept[1].items() if not isinstance(value, list))
    return [[a.tobytes() for a in arrays_of(kept)], numbers]


def pick(kept: Kept, i: int) -> Kept:
    return [kept[0][i]], {name: [slot[i]] if isinstance(slot, list) else slot for name, slot in kept[1].items()}


def only(step: Step, i: int) -> Step:
    """The step of one of the tensors, where the others do not matter to it."""
    return Step(step.t, step.hyper, _only(step.before, i), step.grads and [step.grads[i]], _only(step.after, i))


def _only(state: State, i: int) -> State:
    return State([state.params[i]], {n: [s[i]] if isinstance(s, list) else s for n, s in state.slots.items()})


def mapped(step: Step, change: Callable[[np.ndarray], np.ndarray]) -> Step:
    """The step with every parameter and gradient changed. Its `after` is not to be used."""
    before = State([change(w) for w in step.before.params], step.before.slots)
    return Step(step.t, step.hyper, before, step.grads and [change(g) for g in step.grads], before)


def element(slots: dict[str, Any]) -> dict[str, list[Any]]:
    """The slots that are arrays."""
    return {name: slot for name, slot in slots.items() if isinstance(slot, list)}
