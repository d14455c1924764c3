"""One subject against one rule: shown probe after probe for as long as a variant agrees."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from refopt.clocks import matrix_functions
from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.fitted import FittedIdentification
from refopt.verifying.identification import Identification
from refopt.verifying.probes import CHANGES, KINDS, LATE_STEPS, Probe, further_probes, of_kind, probes
from refopt.verifying.smallest import smallest
from refopt.verifying.subjects.base import Subject, dtype_of_probes
from refopt.verifying.trace import Trace
from refopt.verifying.verdict import Verdict

Memory: TypeAlias = dict[tuple[Any, ...], tuple[Sequence[Any], list[float]]]  # by input: the results, and how long
NEUTRAL = "dampening"  # which may be left alone where it excludes another number (torch: nesterov)
MATRICES = "matrices"
PATIENCE = 20.0  # seconds for the long run
QUICK = 1.0  # seconds; what promises to be quicker needs no closer look
NEW = 40  # steps of that look: those after the twelve of the probes are new


class Trial:
    """A subject that has been shown the first probe; or all usual ones, if numbers that it has are to be fitted.

    What it did in other trials, under other rules, is in `memory`: usual probes often come to the same for it.

    Raises Unsupported if it cannot be run.
    """

    def __init__(
        self,
        subject: Subject,
        rule: Rule,
        dialect: str | None = None,
        lacking: Sequence[str] = (),
        memory: Memory | None = None,
    ) -> None:
        self.subject, self.rule = subject, rule
        self.memory = {} if memory is None else memory
        ours = {p.name for p in rule.hyper_parameters}
        self.settable = (subject.names.settable & ours) - set(subject.names.fixed)
        self.notes: list[str] = []
        self.kinds = list(KINDS)
        if matrix_functions(rule.hyper().program):  # implementations of these do something else to other tensors
            self.kinds = [MATRICES]
            self.notes.append(f"it was shown {MATRICES} alone, which {rule.name} is for")
        try:
            first = self._begin()
        except Unsupported as reason:
            if NEUTRAL not in self.settable:
                raise
            self.settable -= {NEUTRAL}
            self.notes.append(f"{NEUTRAL} left at the default: {reason}")
            first = self._begin()
        held = {name: value for name, value in subject.names.fixed.items() if name in ours}
        self.shown = [first]
        self.found: Identification | FittedIdentification
        if lacking:
            self.shown += [self._usual(probe) for probe in self.usual[1:]]
            arrays = [trace.arrays() for trace in self.shown]
            self.found = FittedIdentification(rule, first.hyper[0], held, dialect, arrays, lacking, widely=False)
        else:
            self.found = Identification(rule, first.hyper[0], held, dialect)
            self.found.see(first.arrays())

    def conforms(self) -> bool:
        """Whether a variant agrees with all that can be shown. Raises Unsupported as before."""
        if self.found.conforms:
            self._show_the_others()
        if self.found.conforms:
            self._look_further()
        return self.found.conforms

    @property
    def vacuous(self) -> str:
        """As FittedIdentification has it."""
        return self.found.vacuous if isinstance(self.found, FittedIdentification) else ""

    def verdict(self) -> Verdict:
        """What has been seen; of one that does not conform, on all usual probes."""
        self._show_the_others()
        verdict = self.found.verdict(self.subject.name, self.subject.interface.framework)
        notes = [*verdict.notes, *self.notes]
        if verdict.dtype != (given := dtype_of_probes(self.subject)):
            notes.append(f"its results are {verdict.dtype}, though its parameters were {given}")
        names = self.subject.names
        if still := [names.argument[n] for n in CHANGES if n in self.settable - names.per_step]:
            notes.append(f"{', '.join(still)} cannot change between its steps")
        versions = self.subject.interface.versions
        return dataclasses.replace(verdict, defaults=names.defaults, versions=versions, notes=tuple(notes))

    def first_verdict(self) -> Verdict:
        """What has been seen so far shows; where a fault would explain it, what all usual probes show.

        Who follows no rule is shown the first probe for every rule, and all of them for few.
        """
        if self.seen_all:
            return self.verdict()
        verdict = self.found.verdict(self.subject.name, self.subject.interface.framework)
        return self.verdict() if verdict.faults else verdict

    @property
    def seen_all(self) -> bool:
        """Whether all usual probes have been shown."""
        return len(self.shown) >= len(self.usual)

    def smallest(self, verdict: Verdict) -> str:
        """The smallest case that shows how it deviates, as code; nothing if there is no short one."""
        if verdict.first is None:
            return ""
        trace = self.shown[verdict.first.trace - 1]
        held = {**verdict.assumed, **{name: number.value for name, number in verdict.fitted.items()}}
        return smallest(self.subject, self.rule, verdict.nearest, held, trace, verdict.first) or ""

    def _begin(self) -> Trace:
        """The trace of the first probe; of tensors of fewer kinds, if it does not take all. Raises as that of all."""
        every = probes(self.rule, self.settable, self.subject.names.per_step & self.settable)
        failures: list[Unsupported] = []
        for kind in self.kinds:
            self.kind = kind
            self.usual = [of_kind(probe, self.kind) for probe in every]
            try:
                first = self._usual(self.usual[0])
            except Unsupported as failure:
                failures.append(failure)
                continue
            if failures:
                self.notes.append(f"it was shown {self.kind} alone: {failures[-1]}")
            return first
        raise failures[0]

    def _show_the_others(self) -> None:
        for probe in self.usual[len(self.shown) :]:
            self._show(self._usual(probe))

    def _usual(self, probe: Probe) -> Trace:
        """The trace of a usual probe, from memory if the subject has been driven so."""
        own = [self.subject.names.own({**now, **self.subject.names.fixed}) for now in probe.hyper]
        arrays = [*probe.params, *(g for now in probe.grads for g in now)]
        key = (str([sorted(now.items()) for now in own]), *((a.shape, a.tobytes()) for a in arrays))
        if key in self.memory:
            results, self.subject.step_seconds = self.memory[key]
            return _trace(self.subject, probe, results)
        trace = _driven(self.subject, probe)
        self.memory[key] = trace.results, self.subject.step_seconds
        return trace

    def _show(self, trace: Trace) -> None:
        self.shown.append(trace)
        self.found.see(trace.arrays())

    def _late_steps(self) -> int:
        """How long the long run is: as long as counters ask for, if it does not take too long; 0 if nothing counts."""
        if not self.found.counts_steps:
            return 0
        pace = self._pace_of_new_steps()
        steps = next((steps for steps in LATE_STEPS if steps * pace < PATIENCE), 0)
        if steps < LATE_STEPS[0]:
            seen = f"no more than {steps} steps" if steps else "no long run"
            self.notes.append(f"it was shown {seen}, since one takes {1000 * pace:.0f} ms: a counter may stop later")
        return steps

    def _pace_of_new_steps(self) -> float:
        """Seconds for a step. Where they are not few, of steps beyond those of the probes: some compile for every t."""
        pace = statistics.median(self.subject.step_seconds)
        if pace * LATE_STEPS[0] < QUICK:
            return pace
        per_step = self.subject.names.per_step & self.settable
        *_, long = further_probes(self.rule, self.settable, per_step, late=NEW)
        try:
            _driven(self.subject, of_kind(long, self.kind))
        except Unsupported:  # as it will say when it is shown the long run itself
            return pace
        return statistics.median(self.subject.step_seconds[len(self.usual[0].grads) :])

    def _look_further(self) -> None:
        """Show what the usual probes do not; what could not be shown, or was measured otherwise, becomes a note."""
        per_step = self.subject.names.per_step & self.settable
        for probe in further_probes(self.rule, self.settable, per_step, late=self._late_steps()):
            try:
                trace = _driven(self.subject, of_kind(probe, self.kind))
            except Unsupported as reason:
                self.notes.append(f"not seen: {probe.name}: {reason}")
                continue
            self._show(trace)
            if not self.found.conforms:
                break


def _driven(subject: Subject, probe: Probe) -> Trace:
    return _trace(subject, probe, subject.drive(*_given(subject, probe)))


def _given(subject: Subject, probe: Probe) -> tuple[list[np.ndarray], list[list[np.ndarray]], list[dict[str, float]]]:
    dtype = PARAMETER_DTYPES[dtype_of_probes(subject)]
    params = [w.astype(dtype) for w in probe.params]
    grads = [[g.astype(dtype) for g in now] for now in probe.grads]
    return params, grads, [{**now, **subject.names.fixed} for now in probe.hyper]


def _trace(subject: Subject, probe: Probe, results: Sequence[Any]) -> Trace:
    params, grads, hyper = _given(subject, probe)
    names = set(probe.hyper[0])
    known = [{k: v for k, v in now.items() if k in names} for now in hyper]
    trace = Trace(params, grads, known, results, probe.name)
    try:
        trace.arrays()
    except RefoptError as problem:
        raise Unsupported(f"{subject.name}: {problem}") from problem
    return trace
