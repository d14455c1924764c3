"""Which variant of a rule made a trace: every candidate is run beside it in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from refopt.rules import RULES, get_rule
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError
from refopt.spec.program import Program
from refopt.verifying.candidates import Candidate, Candidates, candidates, canonical_hyper
from refopt.verifying.distance import Comparison, Fit
from refopt.verifying.faults import explanations
from refopt.verifying.trace import Arrays, Trace
from refopt.verifying.verdict import AxisVerdict, Verdict

SHORT = 100
THOROUGH = 8  # excluded variants whose full distance is computed, to name the next best


def identify(
    trace: Trace | Sequence[Trace],
    *,
    rule: str | Rule | None = None,
    hyper: Mapping[str, float] | None = None,
    subject: str = "trace",
    prefer: str | None = None,
) -> Verdict:
    """The rule and the conventions that a recorded trace follows.

    Args:
        trace: what was recorded; several traces of one implementation say more than one.
        rule: the rule to look in; if None, the simplest rule that fits.
        hyper: hyper-parameters that hold at every step (those of the trace come on top).
        subject: the name that the verdict gives to the implementation.
        prefer: of several dialects that fit, the one to name first.

    Raises:
        RefoptError: a number is missing or out of range, the trace's trees do not match, or they show nothing.
    """
    traces = [one.arrays() for one in ([trace] if isinstance(trace, Trace) else trace)]
    if not traces:
        raise RefoptError("there is no trace to identify; give at least one")
    if rule is not None:
        return _identify(traces, get_rule(rule), hyper or {}, subject, prefer)
    verdicts, refusals = [], []
    for one in RULES.values():
        try:
            verdicts.append(_identify(traces, one, hyper or {}, subject, prefer))
        except RefoptError as refusal:
            refusals.append(str(refusal))
            continue
        if verdicts[-1].conforms:
            return verdicts[-1]
    if not verdicts:
        raise RefoptError("the trace's hyper-parameters fit no rule: " + "; ".join(refusals))
    return nearest_of(verdicts)


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
    traces: Sequence[Arrays], rule: Rule, hyper: Mapping[str, float], subject: str, prefer: str | None
) -> Verdict:
    held = canonical_hyper(rule, hyper)
    steps = [[{**held, **canonical_hyper(rule, now)} for now in arrays.hyper] for arrays in traces]
    known = set.intersection(*(set(now) for each in steps for now in each))
    found = candidates(rule, sorted(known))
    comparisons = [
        Comparison(arrays, [{**found.assumed, **now} for now in each], number)
        for number, (arrays, each) in enumerate(zip(traces, steps, strict=True), start=1)
    ]
    fits = [(candidate, _fit(comparisons, candidate.program)) for candidate in found.programs]
    notes: tuple[str, ...] = ()
    if not any(np.isfinite(a.astype(np.float64)).any() for one in traces for step in one.results for a in step):
        fits, notes = _but_those_of_no_number(rule, fits)
    best = min(fits, key=lambda pair: _rank(pair[1]))
    verdict = Verdict(
        status="deviates",
        subject=subject,
        rule=rule.name,
        dtype=traces[0].dtype.name,
        steps=sum(map(len, steps)),
        runs=len(traces),
        assumed=found.assumed,
        notes=notes,
    )
    if best[1].first is not None:
        whole = _fit(_short(comparisons), best[0].program, thorough=True)
        faults = explanations(rule, fits, {*known, *found.assumed}, partial(_fit, comparisons))
        return replace(
            verdict,
            distance=whole.distance,
            allowed=whole.allowed,
            first=best[1].first,
            nearest=best[0].axes[0],
            faults=faults,
        )
    fitting = [candidate for candidate, fit in fits if not fit.excludes]
    excluded = [pair for pair in fits if pair[1].excludes]
    nearest = _next_best(comparisons, excluded)
    departures = _departures(found, fitting)
    dialect = min(departures, key=lambda name: (len(departures[name]), name != prefer))
    return replace(
        verdict,
        status="conforms",
        dialect=dialect,
        departures=departures[dialect],
        dialects=tuple(name for name, differing in departures.items() if not differing),
        axes=_axes(found, fitting),
        distance=best[1].distance,
        allowed=best[1].allowed,
        next_distance=nearest[1] if nearest else None,
        next_axes=_difference(nearest[0], fitting) if nearest else {},
    )


def _but_those_of_no_number(
    rule: Rule, fits: Sequence[tuple[Candidate, Fit]]
) -> tuple[list[tuple[Candidate, Fit]], tuple[str, ...]]:
    """What is left of the variants if no result is finite: a program that is broken agrees with a rule that is.

    Also a note that names those which agree. Raises RefoptError if all do.
    """
    left = [pair for pair in fits if pair[1].first is not None]
    if not left:
        raise RefoptError("no result of the trace is finite, so it shows nothing; record one of finite gradients")
    note = "none of its results is finite"
    broken = [candidate.axes[0] for candidate, fit in fits if fit.first is None]
    if broken:
        odd = {axis: choice for axis, choice in broken[0].items() if choice != rule.axis(axis).choices[0]}
        common = [f"{axis}={choice}" for axis, choice in odd.items() if all(one[axis] == choice for one in broken)]
        note += f"; that would fit {', '.join(common)}, whose first step divides by zero, and proves nothing"
    return left, (note,)


def _fit(comparisons: Sequence[Comparison], program: Program, *, thorough: bool = False) -> Fit:
    """The worst of all traces. A program that one trace excludes is not run on the others, unless `thorough`."""
    worst = Fit(0.0, None, 1.0)
    for comparison in comparisons:
        fit = comparison.fit(program, thorough=thorough)
        first = worst.first or fit.first
        worst = replace(fit if fit.share >= worst.share else worst, first=first)
        if worst.excludes and not thorough:
            break
    return worst


def _short(comparisons: Sequence[Comparison]) -> Sequence[Comparison]:
    """Those of few steps, if there are any: long ones take long, and say little more of what is wrong at once."""
    return [one for one in comparisons if len(one.numbers) <= SHORT] or comparisons


def _rank(fit: Fit) -> tuple[bool, int, int, float]:
    """The best first: those that fit, then those that agree for longest."""
    trace, step = fit.reached
    return fit.first is not None, -trace, -step, fit.share


def _axes(found: Candidates, fitting: Sequence[Candidate]) -> dict[str, AxisVerdict]:
    """Per axis, the choices that occur among the fitting variants. Of storage no trace shows anything."""
    occurring = {axis: {axes[axis] for c in fitting for axes in c.axes} for axis in found.tables}
    seen = {
        axis: AxisVerdict(axis, tuple(choice for choice in table if choice in occurring[axis]), table)
        for axis, table in found.tables.items()
    }
    return {a.name: seen.get(a.name, AxisVerdict(a.name, a.choices, a.choices)) for a in found.rule.axes}


def _departures(found: Candidates, fitting: Sequence[Candidate]) -> dict[str, dict[str, str]]:
    """Per dialect, the choices by which what fits departs from it.

    A dialect's choice that was not considered (without weight decay there is none to see) does not count.
    """
    result = {}
    for dialect in found.rule.dialects:
        choices = {axis.name: dialect.axes.get(axis.name, axis.choices[0]) for axis in found.rule.axes}
        wanted = {axis: choice for axis, choice in choices.items() if choice in found.tables.get(axis, ())}
        differing = ({k: axes[k] for k, v in wanted.items() if axes[k] != v} for c in fitting for axes in c.axes)
        result[dialect.name] = min(differing, key=len)
    return result


def _next_best(
    comparisons: Sequence[Comparison], excluded: Sequence[tuple[Candidate, Fit]]
) -> tuple[Candidate, float] | None:
    """The nearest excluded variant and its whole distance."""
    nearest = sorted(excluded, key=lambda pair: pair[1].share)[:THOROUGH]
    full = [(candidate, _fit(_short(comparisons), candidate.program, thorough=True)) for candidate, _ in nearest]
    best = min(full, key=lambda pair: pair[1].share, default=None)
    return (best[0], best[1].distance) if best else None


def _difference(candidate: Candidate, fitting: Sequence[Candidate]) -> dict[str, str]:
    """The choices by which a variant differs from the nearest of those that fit."""
    pairs = ((dict(axes), dict(other)) for axes in candidate.axes for c in fitting for other in c.axes)
    return min(({k: v for k, v in axes.items() if other[k] != v} for axes, other in pairs), key=len)
