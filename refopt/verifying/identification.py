"""What is left of a rule's variants as traces come in: every one is run beside each trace in float64."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError
from refopt.spec.program import Program
from refopt.verifying import reading
from refopt.verifying.candidates import Candidate, candidates, canonical_hyper
from refopt.verifying.distance import Comparison, Fit
from refopt.verifying.faults import NEAREST, explanations, if_meant
from refopt.verifying.open_axes import why_open
from refopt.verifying.shared import names_in
from refopt.verifying.trace import Arrays
from refopt.verifying.verdict import Verdict

Fits = list[tuple[Candidate, Fit]]


class Identification:
    """A rule against one trace after the other. A variant that a trace excludes meets no more of them.

    Args:
        rule: the rule.
        known: the numbers that every trace gives at every step, by any name.
        held: numbers that hold at every step, unless a trace gives them.
        dialect: the dialect that is claimed: other variants may fit, but only its own conform.

    Raises RefoptError if a number is unknown, or one is lacking that every variant needs.
    """

    def __init__(
        self, rule: Rule, known: Collection[str], held: Mapping[str, float], dialect: str | None = None
    ) -> None:
        self.rule, self.held = rule, canonical_hyper(rule, held)
        self.known = {*self.held, *(rule.hyper_parameter(name).name for name in known)}
        self.found = candidates(rule, sorted(self.known))
        self.claimed = None if dialect is None else reading.visible(self.found, rule.dialect(dialect))
        self.dialect = dialect
        self.nearest = NEAREST  # of the variants, those under which it is asked which fault would explain it
        self.own = [reading.visible(self.found, one).items() for one in rule.dialects]
        self.fits: Fits = [(candidate, Fit(0.0, None, 1.0)) for candidate in self.found.programs]
        self.traces: list[Arrays] = []
        self.comparisons: list[Comparison] = []
        self.steps: list[list[Mapping[str, float]]] = []

    def see(self, arrays: Arrays) -> None:
        """One more trace."""
        steps = [{**self.found.assumed, **self.held, **canonical_hyper(self.rule, now)} for now in arrays.hyper]
        comparison = Comparison(arrays, steps, len(self.traces) + 1)
        self.traces.append(arrays)
        self.steps.append(list(steps))
        self.comparisons.append(comparison)
        self.fits = [
            (candidate, fit if fit.excludes else _worse(fit, comparison.fit(candidate.program)))
            for candidate, fit in self.fits
        ]

    @property
    def fitting(self) -> list[Candidate]:
        """The variants that no trace excludes."""
        return [candidate for candidate, fit in self.fits if not fit.excludes]

    @property
    def conforms(self) -> bool:
        """Whether a variant, of those that are claimed, agrees with all traces to rounding."""
        return any(fit.first is None for _, fit in self._claimed())

    @property
    def counts_steps(self) -> bool:
        """Whether a variant that fits reads the number of the step."""
        programs = [part for one in self.fitting for part in (one.program, one.program.evaluate) if part is not None]
        return any("t" in names_in(part.lines) for part in programs)

    def verdict(self, subject: str, prefer: str | None) -> Verdict:
        """What the traces show. RefoptError if they show nothing."""
        fits = self._claimed()
        notes: tuple[str, ...] = ()
        if not any(np.isfinite(a.astype(np.float64)).any() for one in self.traces for s in one.results for a in s):
            fits, notes = _but_those_of_no_number(self.rule, fits)
        best = min(fits, key=self._rank)
        verdict = Verdict(
            status="deviates",
            subject=subject,
            rule=self.rule.name,
            dtype=self.traces[0].dtype.name,
            steps=sum(map(len, self.steps)),
            runs=len(self.traces),
            assumed=self.found.assumed,
            notes=notes,
        )
        return self._deviates(verdict, fits, *best) if best[1].first else self._conforms(verdict, best[1], prefer)

    def _claimed(self) -> Fits:
        if self.claimed is None:
            return self.fits
        wanted = self.claimed.items()
        return [(c, fit) for c, fit in self.fits if any(wanted <= axes.items() for axes in c.axes)]

    def _rank(self, pair: tuple[Candidate, Fit]) -> tuple[bool, int, int, bool, float]:
        """The best first: those that fit, then those that agree for longest, of these the dialects' own."""
        candidate, fit = pair
        trace, step = fit.reached
        own = any(dialect <= axes.items() for dialect in self.own for axes in candidate.axes)
        return fit.first is not None, -trace, -step, not own, fit.share

    def _deviates(self, verdict: Verdict, fits: Fits, nearest: Candidate, fit: Fit) -> Verdict:
        whole = _all(self.comparisons, nearest.program, thorough=True)
        known = {*self.known, *self.found.assumed}
        found = explanations(self.rule, fits, known, partial(_all, self.comparisons), self.nearest)
        notes = verdict.notes
        if self.claimed is not None and (others := self.fitting):
            departures = reading.departures(self.found, others)
            other = min(departures, key=lambda name: len(departures[name]))
            notes += (f"it is no {self.dialect}, but fits {reading.named(other, departures[other])}",)
        return replace(
            verdict,
            dialect=self.dialect,
            distance=whole.distance,
            allowed=whole.allowed,
            first=fit.first,
            nearest=next(
                (axes for axes in nearest.axes if (self.claimed or {}).items() <= axes.items()), nearest.axes[0]
            ),
            faults=found,
            notes=notes,
        )

    def _conforms(self, verdict: Verdict, fit: Fit, prefer: str | None) -> Verdict:
        fitting = self.fitting
        nearest = reading.next_best(partial(_all, self.comparisons, thorough=True), self.fits)
        departures = reading.departures(self.found, fitting)
        dialect = min(departures, key=lambda name: (name != self.dialect, len(departures[name]), name != prefer))
        exact = tuple(name for name, differing in departures.items() if not differing)
        own = dialect in exact and dialect in (prefer, self.dialect)
        axes = reading.axes(self.found, fitting)
        return replace(
            verdict,
            status="conforms",
            dialect=dialect,
            departures=departures[dialect],
            dialects=exact,
            axes=why_open(self.found, fitting, axes, self.traces[0], self.steps[0]),
            distance=fit.distance,
            allowed=fit.allowed,
            next_distance=nearest[1] if nearest else None,
            next_axes=reading.difference(nearest[0], fitting) if nearest else {},
            faults=() if own else if_meant(self.found, exact, partial(_all, self.comparisons)),
        )


def _but_those_of_no_number(rule: Rule, fits: Fits) -> tuple[Fits, tuple[str, ...]]:
    """What is left of the variants if no result is finite: a program that is broken agrees with a rule that is.

    Also a note that names those which agree. Raises RefoptError if all do.
    """
    if all(fit.first is None for _, fit in fits):
        raise RefoptError("no result of the trace is finite, so it shows nothing; record one of finite gradients")
    note = "none of its results is finite"
    left = [pair for pair in fits if pair[1].first is not None and np.isfinite(pair[1].first.expected)]
    broken = [candidate.axes[0] for candidate, fit in fits if fit.first is None or not np.isfinite(fit.first.expected)]
    if broken:
        odd = {axis: choice for axis, choice in broken[0].items() if choice != rule.axis(axis).choices[0]}
        common = [f"{axis}={choice}" for axis, choice in odd.items() if all(one[axis] == choice for one in broken)]
        note += f"; that would fit {', '.join(common)}, whose first step divides by zero, and proves nothing"
    return left, (note,)


def _all(comparisons: Sequence[Comparison], program: Program, *, thorough: bool = False) -> Fit:
    """The worst of all traces, up to the first that excludes it; `thorough`: all of that one's steps."""
    worst = Fit(0.0, None, 1.0)
    for comparison in comparisons:
        worst = _worse(worst, comparison.fit(program, thorough=thorough))
        if worst.excludes:
            break
    return worst


def _worse(so_far: Fit, fit: Fit) -> Fit:
    return replace(fit if fit.share >= so_far.share else so_far, first=so_far.first or fit.first)
