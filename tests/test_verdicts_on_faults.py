"""Every fault of the catalogue, planted in the reference, is named by the verdict; or the table says why it is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.faults import Fault
from refopt.spec.hyper import Hyper
from refopt.verifying import Trace, Verdict, identify
from refopt.verifying.probes import Probe, probes
from refopt_conformance.faults.planting import Planted

# What the probes do not show yet: no NaN, no hyper-parameter that bfloat16 rounds, no more than a dozen steps. And what
# nobody can see: without dampening, the first gradient is copied when it is added to zero.
NOT_SHOWN = {
    "first-velocity-copied",
    "nan-silenced",
    "counter-stops-at-256",
    "counter-stops-at-2048",
    "momentum-rounded",
    "beta2-in-bfloat16",
    "beta2-in-float32",
    "decay-in-bfloat16",
}


def planted() -> Iterator[tuple[Rule, Fault, Hyper]]:
    """Each fault of each rule, under the first dialect in which it changes anything."""
    for rule in RULES.values():
        for fault in rule.faults:
            for dialect in rule.dialects:
                hyper = rule.hyper(dialect=dialect.name)
                if hyper.planted(fault) is not None:
                    yield rule, fault, hyper
                    break


def recorded(engine: Planted, hyper: Hyper, probe: Probe) -> Trace:
    """What the engine makes of a probe."""
    params, slots, results = list(probe.params), engine.init(hyper, probe.params), []
    for t, (grads, now) in enumerate(zip(probe.grads, probe.hyper, strict=True), start=1):
        numbers = hyper.replace(**{name: value for name, value in now.items() if name in hyper.read})
        gradients = grads if hyper.program.reads_gradient else None
        given = params if gradients is not None else grads
        params, slots = engine.update(numbers, t, given, gradients, slots, in_place=False)
        results.append(engine.average(numbers, t, params, slots) if hyper.program.evaluate else params)
    return Trace(probe.params, probe.grads, probe.hyper, results)


def verdict_on(rule: Rule, fault: Fault, hyper: Hyper) -> Verdict:
    names = set(hyper.read)
    return identify([recorded(Planted(rule, fault), hyper, p) for p in probes(rule, names, names)], rule=rule)


CASES = [pytest.param(*case, id=f"{case[0].name}-{case[1].name}") for case in planted()]


@pytest.mark.parametrize(("rule", "fault", "hyper"), CASES)
def test_a_fault_is_named(rule: Rule, fault: Fault, hyper: Hyper) -> None:
    verdict = verdict_on(rule, fault, hyper)
    if verdict.conforms:  # to another variant: whether that was meant is not for us to say
        asked = {name: choice for name, choice in hyper.axes.items() if not rule.axis(name).storage}
        other = any(asked[name] not in axis.choices for name, axis in verdict.axes.items() if name in asked)
        assert other != (fault.name in NOT_SHOWN), verdict
        return
    (found,) = (one for one in verdict.faults if one.name == fault.name)
    assert (found.effect, found.issues) == (fault.effect, fault.issues)
    assert f"{fault.name}: " in str(verdict)
