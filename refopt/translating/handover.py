"""Moving a run in the middle: half of it in the source, its state carried over, the other half in the target."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from refopt.engines.numpy_engine import BACKEND
from refopt.spec.declare import Rule
from refopt.translating import formulas, states
from refopt.translating.measuring import Measured
from refopt.translating.running import Arrays, Difference, Input, difference
from refopt.translating.search import Way
from refopt.verifying.subjects.library import LibrarySubject

MIDDLE = 50
Numbers = Callable[[int, float, float], Mapping[str, float]]


def reference(
    rule: Rule, axes: Mapping[str, str], values: Mapping[str, float], given: Input, rates: Sequence[float]
) -> tuple[list[Arrays], list[dict[str, Arrays]]]:
    """What refopt itself makes of the input: the parameters, and the slots by name, after each step."""
    hyper = rule.hyper("paper", **axes)
    hyper = hyper.replace(**{name: values[name] for name in hyper.read})
    params, slots = given.params, BACKEND.init(hyper, given.params)
    results, kept = [], []
    for t, (lr, grads) in enumerate(zip(rates, given.grads, strict=True), start=1):
        params, slots = BACKEND.update(hyper.replace(lr=lr), t, params, grads, slots, in_place=False)
        results.append(params)
        kept.append({slot.name: slots[slot.name] for slot in hyper.program.slots if slot.clock == "element"})
    return results, kept


def carried(way: Way, slots: Mapping[str, Arrays], numbers: Mapping[str, float]) -> dict[str, Arrays]:
    """The target's slots made from the source's."""
    wanted = [slot.name for slot in way.rule.hyper("paper", **way.axes).program.slots if slot.clock == "element"]
    count = len(next(iter(slots.values()), []))
    return {
        name: [np.asarray(formulas.evaluate(way.state[name], {**numbers, **{s: slots[s][i] for s in slots}}))
               for i in range(count)]
        for name in wanted
    }  # fmt: skip


def named_rightly(source: Measured, axes: Mapping[str, str], slots: Mapping[str, Arrays]) -> frozenset[str]:
    """The slots that the framework has under the name that we know, after a run of as many steps."""
    right = set()
    for slot, arrays in slots.items():
        found = states.read(source.subject, slot, axes)
        if found is not None and [f.size for f in found] == [a.size for a in arrays]:
            shaped = [np.reshape(f, a.shape) for f, a in zip(found, arrays, strict=True)]
            if difference([np.zeros_like(a) for a in arrays], [arrays], [shaped]).same:
                right.add(slot)
    return frozenset(right)


def hand_over(
    target: Measured,
    way: Way,
    numbers: Numbers,
    given: Input,
    rates: Sequence[float],
    results: list[Arrays],
    slots: Mapping[str, Arrays],
) -> Difference | None:
    """How far the target, started in the middle with the source's parameters and state, comes from the source.

    None if its state cannot be written.
    """  # fmt: skip
    subject = target.subject
    if not isinstance(subject, LibrarySubject):
        return None
    before = (rates[0], *rates)
    now = [dict(numbers(t, lr, before[t - 1])) for t, lr in enumerate(rates, start=1)]
    start = results[MIDDLE - 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a framework warns of is not the answer's business
        subject.driver.start(start, subject.names.own(now[MIDDLE]), subject.names.others)
        if not states.write(subject, slots, MIDDLE, way.axes):
            return None
        made = [
            subject.driver.step(grads, subject.names.own(one))
            for grads, one in zip(given.grads[MIDDLE:], now[MIDDLE:], strict=True)
        ]
    return difference(start, results[MIDDLE:], made, first=MIDDLE + 1)
