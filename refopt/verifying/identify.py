"""The rule and the conventions that made a recorded trace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from refopt.rules import RULES, get_rule
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError
from refopt.verifying import reading
from refopt.verifying.candidates import canonical_hyper, neutral_axes
from refopt.verifying.fitted import FittedIdentification
from refopt.verifying.fitting import which_lacking
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
        hyper: hyper-parameters that hold at every step (those of the trace come on top). What neither gives is read off
            the trace, if it is the same at every step, and reported as `fitted`.
        subject: the name that the verdict gives to the implementation.
        prefer: of several dialects that fit, the one to name first.

    Raises:
        RefoptError: a number is out of range, or missing where there are too few results to fit it to; the trace's
            trees do not match, or they show nothing.
    """
    traces = [one.arrays() for one in ([trace] if isinstance(trace, Trace) else trace)]
    if not traces:
        raise RefoptError("there is no trace to identify; give at least one")
    rules = [get_rule(rule)] if rule is not None else rules_with(dialect, RULES.values())
    task = _Task(traces, dialect, hyper or {}, subject, prefer)
    verdict = task.plainly(rules) or task.with_fits(rules)
    return _with_case(verdict, [trace] if isinstance(trace, Trace) else trace, hyper or {})


class _Task:
    """What is asked of one set of traces, and how far the rules have come."""

    def __init__(
        self,
        traces: Sequence[Arrays],
        dialect: str | None,
        hyper: Mapping[str, float],
        subject: str,
        prefer: str | None,
    ) -> None:
        self.traces, self.dialect, self.hyper = traces, dialect, hyper
        self.subject, self.prefer = subject, prefer
        self.verdicts: list[Verdict] = []
        self.refusals: list[str] = []
        self.lacking: list[Rule] = []

    def plainly(self, rules: Sequence[Rule]) -> Verdict | None:
        """The verdict on the first rule that fits, of those whose numbers are all given."""
        for rule in rules:
            try:
                if neutral_axes(rule, self.known(rule))[1] is not None:
                    self.lacking.append(rule)
                    continue
                found = Identification(rule, self.known(rule), self.hyper, self.dialect)
                for arrays in self.traces:
                    found.see(arrays)
                self.verdicts.append(found.verdict(self.subject, self.prefer))
            except RefoptError as refusal:
                if len(rules) == 1:
                    raise
                self.refusals.append(str(refusal))
                continue
            if self.verdicts[-1].conforms:
                return self.verdicts[-1]
        return None

    def with_fits(self, rules: Sequence[Rule]) -> Verdict:
        """The verdict on the first rule that fits with some numbers; else the nearest of all that were made.

        Numbers that are neutral at 0 are fitted last: of the nearest rule, and only if no fault explains it.
        """
        first = [(rule, which_lacking(rule, self.known(rule))[0]) for rule in self.lacking]
        nearest = nearest_of(self.verdicts) if self.verdicts else None
        later = self.lacking if nearest is None else [one for one in rules if one.name == nearest.rule]
        later = later if nearest is None or not nearest.faults else []
        then = [(rule, stage) for rule in later for stage in which_lacking(rule, self.known(rule))[1:]]
        fitted: list[Verdict] = []
        notes: list[str] = []
        for rule, stage in (*first, *then):
            try:
                found = FittedIdentification(rule, self.known(rule), self.hyper, self.dialect, self.traces, stage)
                fitted.append(found.verdict(self.subject, self.prefer))
            except RefoptError as refusal:
                self.refusals.append(str(refusal))
                continue
            if fitted[-1].conforms and found.vacuous and len(rules) > 1:
                notes.append(resembles(fitted.pop(), found.vacuous))
            elif fitted[-1].conforms:
                return fitted[-1]
        if nearest is not None or fitted:
            found_last = nearest or nearest_of(fitted)
            return replace(found_last, notes=(*found_last.notes, *notes))
        if len(rules) == 1:
            raise RefoptError(self.refusals[0])
        raise RefoptError("the trace's hyper-parameters fit no rule: " + "; ".join(self.refusals))

    def known(self, rule: Rule) -> set[str]:
        """The numbers that are given at every step."""
        each = (set(canonical_hyper(rule, now)) for arrays in self.traces for now in arrays.hyper)
        return set.intersection(*each) | set(canonical_hyper(rule, self.hyper))


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


def resembles(verdict: Verdict, vacuous: str) -> str:
    """A note on what fits a rule of which nothing is left."""
    named = reading.named(verdict.dialect or "", verdict.departures)
    return f"it does what {verdict.rule} does, {named}, with {vacuous}: a simpler rule"


def nearest_of(verdicts: Sequence[Verdict], namesakes: Sequence[str] = ()) -> Verdict:
    """Of the verdicts on several rules, none of which fits: one that a fault explains, else that on the rule left last.

    But what is called Adam, and has followed Adam through a whole run, is held against Adam: a fault that makes Yogi
    an Adam explains less. The others are those `tried`.
    """

    def order(verdict: Verdict) -> tuple[bool | float, ...]:
        trace, step = _reached(verdict)
        own = verdict.rule in namesakes
        is_it = own and trace > 1  # they count from 1
        return is_it, bool(verdict.faults), trace, step, own, -(verdict.distance or 0.0)

    nearest = max(verdicts, key=order)
    others = tuple(v.rule for v in verdicts if v is not nearest and v.rule is not None)
    unknown = () if nearest.faults or not others else ("a rule that refopt does not have, it cannot name",)
    return replace(nearest, tried=others, notes=(*nearest.notes, *unknown))


def _reached(verdict: Verdict) -> tuple[int, int]:
    return (verdict.first.trace, verdict.first.step) if verdict.first else (0, 0)
