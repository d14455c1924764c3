"""Which rule and which conventions an optimizer follows, as far as its own numbers let it be seen.

This is `verify` on its usual probes: their numbers are exact in float32, in which some keep their learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError, Unsupported
from refopt.translating.running import short
from refopt.translating.targets import Target
from refopt.verifying.candidates import neutral_axes
from refopt.verifying.identify import identify, nearest_of
from refopt.verifying.probes import probes
from refopt.verifying.subjects.base import Subject, under
from refopt.verifying.subjects.resolve import resolve
from refopt.verifying.trace import Trace
from refopt.verifying.verdict import Verdict


@dataclass(frozen=True)
class Measured:
    """A subject, the rule that it is of, and per axis of it the choices that fit."""

    subject: Subject
    rule: Rule
    verdict: Verdict

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Axes of storage are not among them: they change no number in float64."""
        return {name: axis.choices for name, axis in self.verdict.axes.items() if not self.rule.axis(name).storage}

    @property
    def axes(self) -> dict[str, str]:
        """One choice per axis: where several fit, the dialect's, or else the canonical one."""
        dialect = self.rule.dialect(self.verdict.dialect or "paper").axes
        return {
            name: dialect[name] if dialect.get(name) in fitting else fitting[0]
            for name, fitting in self.choices.items()
        }


def measure(subject: Subject, rule: Rule | None = None, *, free: frozenset[str] = frozenset({"lr"})) -> Measured:
    """The simplest rule that a subject follows, or whether it is this one.

    The numbers that its user gave are held, in few digits, but for those in `free`. Raises Unsupported if it follows
    none of the rules, or cannot be run.
    """
    if subject.interface.average:
        raise Unsupported(f"{subject.name} is an average; translate takes optimizers")
    found: list[Verdict] = []
    reasons: list[str] = []
    for one in (r for r in RULES.values() if not r.average and rule in (None, r)):
        named = under(subject, one)
        _, lacking = neutral_axes(one, named.names.settable)
        if lacking:
            reasons.append(f"{subject.name} takes no {one.hyper_parameter(lacking).meaning}")
            continue
        try:
            found.append(_measure(named, one, free))
        except (Unsupported, RefoptError) as reason:
            reasons.append(str(reason))
            continue
        if found[-1].conforms:
            return Measured(named, one, found[-1])
    if not found:
        raise Unsupported("; ".join(dict.fromkeys(reasons)))
    nearest = nearest_of(found)
    where = f"; it leaves {nearest.rule} at step {nearest.first.step}" if nearest.first else ""
    raise Unsupported(
        f"{subject.name} follows none of the rules {', '.join(str(v.rule) for v in found)}{where}; "
        f"`refopt verify {subject.name}` says more"
    )


def _measure(subject: Subject, rule: Rule, free: frozenset[str]) -> Verdict:
    ours = {p.name for p in rule.hyper_parameters}
    held = {name: short(value) for name, value in subject.names.fixed.items() if name not in free}
    settable = (subject.names.settable & ours) - held.keys()
    try:
        traces = _traces(subject, rule, settable, held)
    except Unsupported:  # torch: nesterov and dampening exclude each other
        if "dampening" not in settable:
            raise
        traces = _traces(subject, rule, settable - {"dampening"}, held)
    known = {name: value for name, value in held.items() if name in ours}
    return identify(traces, rule=rule, hyper=known, subject=subject.name, prefer=subject.interface.framework)


def _traces(subject: Subject, rule: Rule, settable: frozenset[str], held: Mapping[str, float]) -> list[Trace]:
    made = []
    for probe in probes(rule, settable, subject.names.per_step & settable):
        hyper = [{**now, **held} for now in probe.hyper]
        results = subject.drive(probe.params, probe.grads, hyper)
        made.append(Trace(probe.params, probe.grads, probe.hyper, results, probe.name))
    return made


@cache
def measured(target: Target) -> Measured:
    """What a line of the table of targets follows, measured once in a process. Its rule is taken from the table."""
    rule = RULES[target.rule]
    # The number of which 0 is no convention is probed only where it is given.
    given = {"eps_root": rule.hyper_parameter("eps_root").probes[0]} if "eps_root" in target.names else {}
    subject = resolve(target.subject, {**target.options, **given})
    one = measure(subject, rule, free=frozenset({"lr", *given}))
    return replace(one, subject=under(resolve(target.subject, target.options), rule)) if given else one
