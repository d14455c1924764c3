"""Faults of the catalogue, planted in the reference, are named by the verdict; or the table says why they are not.

A few of every rule, from its first to its last; all of them with REFOPT_ALL_FAULTS=1, which takes half an hour.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.faults import Fault
from refopt.spec.hyper import Hyper
from refopt.verifying import Trace, Verdict, identify, verify
from refopt.verifying.probes import LATE_STEPS, Probe, further_probes, probes
from refopt_conformance.faults.planting import Planted

# What nobody can see. Without dampening, the first gradient is copied when it is added to zero; and a mean that moves
# nothing is kept in a state that a function need not show.
SAME_FUNCTION = {"first-velocity-copied"} | {
    f"mean-{said}"
    for said in ("from-the-start", "never", "one-late", "one-early", "of-before", "of-after", "exchanged",
                 "of-all-steps", "in-bfloat16")
}  # fmt: skip


FEW = 3


def planted() -> Iterator[tuple[Rule, Fault, Hyper]]:
    """Faults of each rule, under the first dialect in which they change anything."""
    for rule in RULES.values():
        every = 1 if os.environ.get("REFOPT_ALL_FAULTS") else max(len(rule.faults) // FEW, 1)
        for fault in rule.faults[every // 2 :: every]:
            for dialect in rule.dialects:
                hyper = rule.hyper(dialect=dialect.name)
                if hyper.planted(fault) is not None:
                    yield rule, fault, hyper
                    break


def subject_of(rule: Rule, fault: Fault, hyper: Hyper) -> Callable[..., Any]:
    """A NumPy optimizer with the fault, as anybody may write one: a function of arrays and numbers."""
    engine = Planted(rule, fault)

    def optimizer(params: Any, grads: Any, state: Any, **numbers: float) -> Any:
        slots, t = state or (engine.init(hyper, params), 0)
        now = hyper.replace(**{name: value for name, value in numbers.items() if name in hyper.read})
        params, slots = engine.update(now, t + 1, params, grads, slots, in_place=False)
        return params, (slots, t + 1)

    signature = inspect.signature(optimizer)
    plain = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    numbers = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in hyper.read]
    optimizer.__signature__ = signature.replace(parameters=[*plain, *numbers])  # type: ignore[attr-defined]
    return optimizer


def recorded(engine: Planted, hyper: Hyper, probe: Probe) -> Trace:
    """What an average makes of a probe. (A function is not told the parameters before the first step.)"""
    slots, results = engine.init(hyper, probe.params), []
    for t, (given, now) in enumerate(zip(probe.grads, probe.hyper, strict=True), start=1):
        numbers = hyper.replace(**{name: value for name, value in now.items() if name in hyper.read})
        params, slots = engine.update(numbers, t, given, None, slots, in_place=False)
        results.append(engine.average(numbers, t, params, slots))
    return Trace(probe.params, probe.grads, probe.hyper, results)


def verdict_on(rule: Rule, fault: Fault, hyper: Hyper, dialect: str | None) -> Verdict:
    if not rule.average:
        return verify(subject_of(rule, fault, hyper), rule=rule, dialect=dialect)
    shown = [*probes(rule, hyper.read, hyper.read), *further_probes(rule, hyper.read, hyper.read, late=LATE_STEPS[0])]
    return identify([recorded(Planted(rule, fault), hyper, one) for one in shown], rule=rule, dialect=dialect)


CASES = [pytest.param(*case, id=f"{case[0].name}-{case[1].name}") for case in planted()]


@pytest.mark.parametrize(("rule", "fault", "hyper"), CASES)
def test_a_fault_is_named_and_never_conforms(rule: Rule, fault: Fault, hyper: Hyper) -> None:
    """Whoever says which dialect was meant is told; whoever does not, and meets another's rule, is told so."""
    claimed = verdict_on(rule, fault, hyper, hyper.dialect)
    if fault.name in SAME_FUNCTION:
        assert claimed.conforms, claimed
        return
    assert claimed.status == "deviates", claimed
    (found,) = (one for one in claimed.faults if one.name == fault.name)
    assert (found.effect, found.issues) == (fault.effect, fault.issues)
    assert f"{fault.name}: " in str(claimed)
    open_minded = verdict_on(rule, fault, hyper, None)
    named = {one.name: one.dialects for one in open_minded.faults}
    assert fault.name in named, open_minded
    assert open_minded.conforms == (hyper.dialect in named[fault.name])
