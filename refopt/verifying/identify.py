"""The rule and the conventions that made a recorded trace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from refopt.rules import RULES, get_rule
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError
from refopt.verifying.candidates import canonical_hyper
from refopt.verifying.identification import Identification
from refopt.verifying.smallest import smallest_recorded
from refopt.verifying.trace import Arrays, Trace
from refopt.verifying.verdict import Verdict


def identify(
    trace: Trace | Sequence[Trace],
    *,
    rule: str | Rule | None = None,
    dialect: str | None = None,
    hyper: Mapping[str, float] | None = None,
    subject: str = "trace",
    prefer: str | None = None,
) -> Verdict:
    """The rule and the conventions that a recorded trace follows.

    Args:
        trace: what was recorded; several traces of one implementation say more than one.
        rule: the rule to look in; if None, the simplest rule that fits.
        dialect: the dialect that it is said to follow: it deviates if it follows another, and that fault is named.
        hyper: hyper-parameters that hold at every step (those of the trace come on top).
        subject: the name that the verdict gives to the implementation.
        prefer: of several dialects that fit, the one to name first.

    Raises:
        RefoptError: a number is missing or out of range, the trace's trees do not match, or they show nothing.
    """
    traces = [one.arrays() for one in ([trace] if isinstance(trace, Trace) else trace)]
    if not traces:
        raise RefoptError("there is no trace to identify; give at least one")
    rules = [get_rule(rule)] if rule is not None else rules_with(dialect, RULES.values())
    verdicts, refusals = [], []
    for one in rules:
        try:
            verdicts.append(_identify(traces, one, dialect, hyper or {}, subject, prefer))
        except RefoptError as refusal:
            if rule is not None:
                raise
            refusals.append(str(refusal))
            continue
        if verdicts[-1].conforms:
            return verdicts[-1]
    if not verdicts:
        raise RefoptError("the trace's hyper-parameters fit no rule: " + "; ".join(refusals))
    return _with_case(nearest_of(verdicts), [trace] if isinstance(trace, Trace) else trace, hyper or {})


def _with_case(verdict: Verdict, traces: Sequence[Trace], hyper: Mapping[str, float]) -> Verdict:
    """The verdict with the smallest case that shows how a trace deviates, where that is short."""
    if verdict.first is None or verdict.rule is None:
        return verdict
    rule, trace = get_rule(verdict.rule), traces[verdict.first.trace - 1]
    held = {**verdict.assumed, **canonical_hyper(rule, hyper)}
    return replace(verdict, case=smallest_recorded(rule, verdict.nearest, held, trace, verdict.first) or "")


def rules_with(dialect: str | None, rules: Iterable[Rule]) -> list[Rule]:
    """The rules that have a dialect; RefoptError, with those that there are, if none has."""
    rules = list(rules)
    names = {d.name: None for rule in rules for d in rule.dialects}
    if dialect is not None and dialect not in names:
        raise RefoptError(f"unknown dialect {dialect!r}; choose from {', '.join(names)}")
    return [rule for rule in rules if dialect is None or any(d.name == dialect for d in rule.dialects)]


def nearest_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Of the verdicts on several rules, none of which fits: one that a fault explains, else that on the rule left last.

    It names the others.
    """
    nearest = max(verdicts, key=lambda v: (bool(v.faults), *_reached(v), -(v.distance or 0.0)))
    others = [v.rule for v in verdicts if v is not nearest and v.rule is not None]
    note = (f"no variant of {' or '.join(others)} fits either",) if others else ()
    return replace(nearest, notes=(*nearest.notes, *note))


def _reached(verdict: Verdict) -> tuple[int, int]:
    return (verdict.first.trace, verdict.first.step) if verdict.first else (0, 0)


def _identify(
    traces: Sequence[Arrays],
    rule: Rule,
    dialect: str | None,
    hyper: Mapping[str, float],
    subject: str,
    prefer: str | None,
) -> Verdict:
    known = set.intersection(*(set(canonical_hyper(rule, now)) for arrays in traces for now in arrays.hyper))
    found = Identification(rule, known, hyper, dialect)
    for arrays in traces:
        found.see(arrays)
    return found.verdict(subject, prefer)
