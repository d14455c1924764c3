"""What is expected: the reference's own source in float64, on inputs rounded to the dtype under test.

Rules that move the parameters are driven by gradients. A rule that only watches them (an average) watches a new tree of
values at every step: those that would have been the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from refopt.clocks import of_elements
from refopt.engines.dtypes import PARAMETER_DTYPES, slot_dtype
from refopt.engines.dtypes import rounded as _cast
from refopt.engines.numpy_engine import BACKEND as REFERENCE
from refopt.spec.hyper import Hyper
from refopt_conformance.cases import Case
from refopt_conformance.inputs import gradients, parameters

ONE_STEP_AT = (1, 2, 3, 10, 300, 2049)  # bfloat16 counts to 256, float16 to 2048
LATE = (1, 2, 3, 2049, 40002, 200001)  # 16 bits count to 32767; only at the ends of intervals a beta remembers so much
SHORT = 12  # a short chain; single steps after it start from its last state: any state is as good as another


@dataclass(frozen=True)
class State:
    """Parameters and slots; of a backend also what to evaluate with, if the rule says so."""

    params: list[np.ndarray]
    slots: dict[str, Any]
    average: list[np.ndarray] | None = None


@dataclass(frozen=True)
class Step:
    """Step number t: from one state, with these gradients, to the next."""

    t: int
    hyper: Hyper
    before: State
    grads: list[np.ndarray] | None
    after: State


def initial(case: Case) -> State:
    """The state before the first step, in the dtypes under test."""
    params = parameters(case.name, case.leaves, case.dtype, coarse=case.coarse)
    return State(params, REFERENCE.init(case.hyper(1), params))


def arriving(case: Case, t: int) -> list[np.ndarray]:
    """What the caller brings to step t: gradients, or the parameters to be watched."""
    return gradients(case.name, case.leaves, t, case.dtype, coarse=case.coarse)


def take(case: Case, t: int, before: State, arrays: list[np.ndarray]) -> Step:
    """One step in float64."""
    hyper = case.hyper(t)
    watches = not hyper.program.reads_gradient
    given = State(arrays, before.slots) if watches else before
    grads = None if watches else arrays
    wide = Wide([w.shape for w in given.params], joined=of_elements(hyper.program))
    params, slots = REFERENCE.update(
        hyper, t, wide.of(given.params), grads and wide.of(grads), wide.slots(given.slots, wide.of), in_place=False
    )
    return Step(t, hyper, given, grads, State(wide.leaves(params), wide.slots(slots, wide.leaves)))


def wide_step(step: Step) -> list[np.ndarray]:
    """The parameters after a step from any state, in float64."""
    wide = Wide([w.shape for w in step.before.params], joined=False)
    slots = wide.slots(step.before.slots, wide.of)
    params, _ = REFERENCE.update(
        step.hyper, step.t, wide.of(step.before.params), wide.of(step.grads or []), slots, in_place=False
    )
    return params


def narrow(step: Step, case: Case) -> State:
    """The same step by the definition itself: NumPy in the dtype under test, from the state rounded to it."""
    before = rounded(step.before, case)
    params, slots = REFERENCE.update(step.hyper, step.t, before.params, step.grads, before.slots, in_place=False)
    return State(params, slots)


def average(hyper: Hyper, t: int, state: State) -> list[np.ndarray]:
    """What to evaluate with after step t, in float64, from any state."""
    wide = Wide([w.shape for w in state.params], joined=False)
    return REFERENCE.average(hyper, t, wide.of(state.params), wide.slots(state.slots, wide.of))


@dataclass(frozen=True)
class Wide:
    """Leaves in float64; joined into one long array, which is faster, for rules that do not tell tensors apart."""

    shapes: list[tuple[int, ...]]
    joined: bool

    def of(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        if self.joined:
            return [np.concatenate([a.ravel() for a in arrays]).astype(np.float64)]
        return [a.astype(np.float64) for a in arrays]

    def leaves(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        if not self.joined:
            return arrays
        ends = np.cumsum([math.prod(shape) for shape in self.shapes]).tolist()
        starts = [0, *ends[:-1]]
        return [arrays[0][a:b].reshape(s) for a, b, s in zip(starts, ends, self.shapes, strict=True)]

    def slots(self, slots: dict[str, Any], convert: Callable[[list[np.ndarray]], list[np.ndarray]]) -> dict[str, Any]:
        return {name: convert(slot) if isinstance(slot, list) else slot for name, slot in slots.items()}


def chain(case: Case, steps: int) -> Iterator[Step]:
    """Steps from the initial state on, the reference carrying its own float64 state.

    They start with step 1, or with step 2 where the rule's first step is infinite on purpose.
    """
    if steps == SHORT:
        yield from _short_chain(case)
        return
    yield from _chain(case, steps)


@lru_cache(maxsize=4)  # what a chain and the single steps of a case start from
def _short_chain(case: Case) -> tuple[Step, ...]:
    return tuple(_locked(step) for step in _chain(case, SHORT))


def _chain(case: Case, steps: int) -> Iterator[Step]:
    state = initial(case)
    first = take(case, 1, state, arriving(case, 1))
    for t in range(1 if _finite(first.after) else 2, steps + 1):
        step = first if t == 1 else take(case, t, state, arriving(case, t))
        yield step
        state = step.after


def one_steps(case: Case) -> Iterator[Step]:
    """Single steps from states along the chain, rounded to the dtypes in which a port keeps them."""
    yield from _one_steps(case)


@lru_cache(maxsize=4)
def _one_steps(case: Case) -> tuple[Step, ...]:
    states = {1: initial(case)} | {step.t: step.before for step in chain(case, SHORT)}
    before = {t: rounded(states[min(t, SHORT)], case) for t in (LATE if case.numbers == "ends" else ONE_STEP_AT)}
    return tuple(_locked(take(case, t, state, arriving(case, t))) for t, state in before.items())


def _locked(step: Step) -> Step:
    """The step, whose arrays nobody can write to: they are kept, and used again."""
    for state in (step.before, step.after):
        for array in (*state.params, *(x for slot in state.slots.values() if isinstance(slot, list) for x in slot)):
            array.flags.writeable = False
    for array in step.grads or []:
        array.flags.writeable = False
    return step


def rounded(state: State, case: Case) -> State:
    """The state in the dtypes under test; slots of the half types are float32, unless the axes say otherwise."""
    narrow = PARAMETER_DTYPES[case.dtype]
    kept = slot_dtype(case.conventions.axes, narrow)
    slots = {
        name: [_cast(x, kept) for x in slot] if isinstance(slot, list) else slot for name, slot in state.slots.items()
    }
    return State([_cast(w, narrow) for w in state.params], slots)


def _finite(state: State) -> bool:
    return all(np.isfinite(w).all() for w in state.params)
