"""The smallest case that shows a deviation, as code that can be run: one tensor, one element where that is enough."""

from __future__ import annotations

import numpy as np

from refopt.clocks import of_elements
from refopt.engines.dtypes import PARAMETER_DTYPES, slot_dtype
from refopt.engines.numpy_engine import BACKEND as REFERENCE
from refopt.spec.hyper import Hyper
from refopt_conformance.budgets import LARGE_TENSOR, ONE_STEP
from refopt_conformance.cases import Case
from refopt_conformance.checks import Check
from refopt_conformance.distance import distance
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Deviation
from refopt_conformance.reference import SHORT, State, Step, chain, one_steps, rounded

APART = 1.0  # in ULPs: a smaller case shows the deviation if some element of the parameter is further away than this
LONGEST = 12  # steps that are written out


def reproduce(check: Check, driver: Driver, deviation: Deviation) -> str:
    """Code that shows the deviation on as little as possible; or how to run the check by itself."""
    by_itself = f"refopt conform {driver.name} -k '{check}'"
    if check.law is not None or deviation.leaf is None or not 0 < deviation.t <= 300:
        return by_itself
    i = check.case.leaves.index(deviation.leaf)
    for steps in _shorter(check, deviation.t):
        for small in _smaller(check.case, steps, i, deviation.element):
            found = _deviates(check.case, driver, small)
            if found is not None:
                return code(driver, check.case, small, *found)
    return by_itself


def _shorter(check: Check, t: int) -> list[list[Step]]:
    """The step alone, from the reference's state; or all steps up to it, from the start."""
    if check.kind in (ONE_STEP, LARGE_TENSOR):
        return [[step for step in one_steps(check.case) if step.t == t]]
    if t > LONGEST:
        return []
    steps = [step for step in chain(check.case, SHORT) if step.t <= t]
    last = steps[-1]
    before = rounded(last.before, check.case)
    alone = [Step(last.t, last.hyper, before, last.grads, last.after)]
    return [alone] if check.case.pure else [alone, steps]  # a pure chain drifts from float64, however right it is


def _smaller(case: Case, steps: list[Step], i: int, element: int) -> list[list[Step]]:
    """One element of one tensor, if the rule does not tell tensors apart; then the tensor."""
    tensor = [_cut(step, i, None) for step in steps]
    if not of_elements(case.conventions.program):
        return [tensor]
    return [[_cut(step, i, element) for step in steps], tensor]


def _cut(step: Step, i: int, element: int | None) -> Step:
    def one(arrays: list[np.ndarray]) -> list[np.ndarray]:
        array = arrays[i] if element is None else arrays[i].reshape(-1)[element : element + 1]
        return [np.array(array)]

    def state(whole: State) -> State:
        return State(one(whole.params), {n: one(s) if isinstance(s, list) else s for n, s in whole.slots.items()})

    return Step(step.t, step.hyper, state(step.before), step.grads and one(step.grads), state(step.after))


def _deviates(case: Case, driver: Driver, steps: list[Step]) -> tuple[State, State] | None:
    """What the backend and the reference make of the steps, if they differ."""
    start = _start(case, steps[0])
    params, slots = driver.adopt(start.params), driver.adopt_slots(start.slots)
    wide = [w.astype(np.float64) for w in start.params]
    wide_slots = {n: [x.astype(np.float64) for x in s] if isinstance(s, list) else s for n, s in start.slots.items()}
    for step in steps:
        grads = step.grads and driver.adopt(step.grads)
        if step.grads is None:
            params, wide = driver.adopt(step.before.params), [w.astype(np.float64) for w in step.before.params]
        params, slots = driver.backend.update(step.hyper, step.t, params, grads, slots, in_place=False)
        reference = step.grads and [g.astype(np.float64) for g in step.grads]
        wide, wide_slots = REFERENCE.update(step.hyper, step.t, wide, reference, wide_slots, in_place=False)
    found, expected = driver.read(steps[-1].hyper, steps[-1].t, params, slots), State(wide, wide_slots)
    far = False
    for name, arrays in {"w": expected.params, **expected.slots}.items():
        mine = found.params if name == "w" else found.slots.get(name)
        if isinstance(arrays, list) and mine is not None and arrays[0].size:
            far = far or bool(distance(mine[0], arrays[0], np.abs(arrays[0])).max() > APART)
    return (found, expected) if far else None


def _start(case: Case, first: Step) -> State:
    """The state before the first of the steps, in the dtypes under test."""
    if first.t == 1:
        params = [w.astype(PARAMETER_DTYPES[case.dtype]) for w in first.before.params]
        return State(params, REFERENCE.init(first.hyper, params))
    return rounded(first.before, case)


def code(driver: Driver, case: Case, steps: list[Step], found: State, expected: State) -> str:
    """The steps as a script that prints what the backend makes of them."""
    start = _start(case, steps[0])
    dtype, wide = _dtype(case.dtype), _dtype(slot_dtype(case.conventions.axes, PARAMETER_DTYPES[case.dtype]).name)
    lines = ["import ml_dtypes", "import numpy as np", "import refopt", "from refopt.selection import get_backend", ""]
    lines += [f"backend = get_backend({driver.name!r})", f"w = [backend.adopt({_array(start.params[0], dtype)})]"]
    slots = [
        f"{name!r}: [backend.adopt({_array(slot[0], wide)})]" if isinstance(slot, list) else f"{name!r}: {slot!r}"
        for name, slot in start.slots.items()
    ]
    lines += [f"slots = {{{', '.join(slots)}}}"]
    for step in steps:
        gradient = "None" if step.grads is None else f"[backend.adopt({_array(step.grads[0], dtype)})]"
        if step.grads is None:
            lines.append(f"w = [backend.adopt({_array(step.before.params[0], dtype)})]")
        lines.append(f"hyper = {_hyper(step.hyper)}")
        lines.append(f"w, slots = backend.update(hyper, {step.t}, w, {gradient}, slots, in_place=False)")
    lines.append("print(backend.to_numpy(w[0]).tolist())")
    lines.append(f"# got       {found.params[0].tolist()}")
    lines.append(f"# expected  {expected.params[0].tolist()}")
    for name, slot in expected.slots.items():
        if isinstance(slot, list):
            lines += [
                f"print(backend.to_numpy(slots[{name!r}][0]).tolist())",
                f"# got       {found.slots[name][0].tolist()}",
            ]
            lines.append(f"# expected  {slot[0].tolist()}")
    return "\n".join(lines)


def _hyper(hyper: Hyper) -> str:
    """The call that makes it."""
    rule = hyper.rule
    base = rule.hyper(hyper.dialect)
    axes = [f"{name}={choice!r}" for name, choice in hyper.axes.items() if choice != base.axes[name]]
    numbers = [f"{name}={hyper.values[name]!r}" for name in hyper.read]
    return f"refopt.RULES[{rule.name!r}].hyper({', '.join([repr(hyper.dialect), *axes, *numbers])})"


def _array(array: np.ndarray, dtype: str) -> str:
    text = repr(array.astype(np.float64).tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    return f"np.array({text}, {dtype})"


def _dtype(name: str) -> str:
    return "ml_dtypes.bfloat16" if name == "bfloat16" else f"np.{name}"
