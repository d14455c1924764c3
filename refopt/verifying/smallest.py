"""The smallest case that shows a deviation: fewer steps, one parameter, plain numbers, as long as it is still there.

A smaller case counts only if the deviation in it is what it was: it comes at the last step and not before, between the
same kinds of values (a number where NaN was expected, say), and is no rounding. So what was cut away is no part of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError
from refopt.spec.program import program
from refopt.verifying import smallest_cuts as cuts
from refopt.verifying.distance import EXCLUDED, Comparison, Deviation
from refopt.verifying.shared import of_tensors
from refopt.verifying.smallest_code import Case, code
from refopt.verifying.smallest_target import expression
from refopt.verifying.subjects.base import Subject
from refopt.verifying.trace import Trace

DRIVES = 60
SECONDS = 2.0  # no drive begins later
LONG = 64  # steps
VISIBLE = 1e-3  # of the value: a deviation that was as large stays as large, so that nobody takes it for rounding


def smallest(
    subject: Subject,
    rule: Rule,
    axes: Mapping[str, str],
    assumed: Mapping[str, float],
    trace: Trace,
    first: Deviation,
) -> str | None:
    """Code that shows on as little as possible how a subject leaves a variant of a rule.

    The subject is driven again, up to DRIVES times, and not after SECONDS; what is found by then is what is shown.

    Args:
        subject: the one that was driven; it must not be closed yet.
        rule: the rule, with `axes` its nearest variant (axes that are left out are at their first choice).
        assumed: numbers that the variant reads and the subject does not take.
        trace: what it was driven through. The numbers that the user fixed may be missing in it.
        first: where it leaves the variant in this trace.

    Returns:
        A script that needs refopt, NumPy and the subject's framework. None if the deviation does not come again, or
        shows only in a case that is too long to be read.
    """
    search = _Search(subject, rule, axes, assumed, trace, first)
    if not search.shrink():
        return None
    return code(rule, search.axes, assumed, search.case, search.got, expression(subject))


def smallest_recorded(
    rule: Rule, axes: Mapping[str, str], assumed: Mapping[str, float], trace: Trace, first: Deviation
) -> str | None:
    """Code that shows where a recorded trace leaves a variant of a rule: the part of the trace up to there.

    The arguments are those of `smallest`; `assumed` also has the numbers that hold at every step and are not in the
    trace. Nothing is made plainer, since nobody can be asked again.

    Returns:
        A script that needs refopt and NumPy. None if it would take more than 40 lines: the deviation comes late, or
        the tensor whose norm the rule needs is large. Then the trace itself is the smallest case that there is.
    """
    arrays, axes = trace.arrays(), _complete(rule, axes)
    at, element = _place(first, arrays.paths)
    whole = of_tensors(program(rule, axes).lines)

    def cut(leaves: list[np.ndarray]) -> np.ndarray:
        wide = leaves[at].astype(np.float64)
        return wide if whole else wide.reshape(-1)[element : element + 1]

    grads = [[cut(now)] for now in arrays.grads[: first.step]]
    case = Case([cut(arrays.params)], grads, _hyper(rule, arrays.hyper[: first.step]))
    return code(rule, axes, assumed, case, cut(arrays.results[first.step - 1]))


class _Search:
    """The smallest case so far with what the subject makes of it, and the attempts at smaller ones."""

    def __init__(
        self,
        subject: Subject,
        rule: Rule,
        axes: Mapping[str, str],
        assumed: Mapping[str, float],
        trace: Trace,
        first: Deviation,
    ) -> None:
        self.subject, self.rule, self.assumed, self.first = subject, rule, assumed, first
        self.axes = _complete(rule, axes)
        self.program = program(rule, self.axes)
        self.left, self.end = DRIVES, time.perf_counter() + SECONDS
        arrays = trace.arrays()
        at, self.element = _place(first, arrays.paths)
        hyper = [{**now, **subject.names.fixed} for now in _hyper(rule, arrays.hyper[: first.step])]
        self.case = Case(arrays.params, arrays.grads[: first.step], hyper, at)
        self.got = arrays.results[first.step - 1][at]

    def shrink(self) -> bool:
        """Find the smallest case. False if the deviation does not come again."""
        cases = list(cuts.parameters(self.case, self.element))
        long = len(self.case.grads) > LONG
        if long:  # there is no time for many attempts
            cases = [*cuts.quiet(cases[0]), *cases]
        if not self._any(cases) and not self._late() and not self._shows(self.case):
            return False
        for simpler in (self._calm, self._plain, self._shorten) if long else (self._shorten, self._calm, self._plain):
            simpler()
        return True

    def _calm(self) -> None:
        """Numbers that do not change, and gradients before the last step that are zero: as many as may be."""
        self._any(cuts.constant(self.case, list(self.case.hyper[0])))
        for name in self.case.hyper[0]:
            self._any(cuts.constant(self.case, [name]))
        if self._any(cuts.quiet(self.case)):
            return
        for start, end in cuts.parts(len(self.case.grads) - 1):
            if any(g.any() for now in self.case.grads[start:end] for g in now):
                self._shows(cuts.silent(self.case, start, end))

    def _plain(self) -> None:
        """Fewer elements, where one is not enough, and values that anybody can compute with."""
        of_norms = of_tensors(self.program.lines)
        if of_norms:
            self._any(cuts.elements(self.case))
        self._any(cuts.plain_params(self.case, zero=not of_norms))  # a norm of zero is a case of its own
        self._any(cuts.plain_grads(self.case))
        for name in sorted(set(self.case.hyper[0]) - set(self.subject.names.fixed)):
            self._any(cuts.plain_hyper(self.case, name))

    def _shorten(self) -> None:
        """The last steps alone: as few as will do."""
        tried = 0
        for steps in cuts.lengths(len(self.case.grads)):
            if self._shows(cuts.last(self.case, steps)):
                while steps - 1 > tried and self._shows(cuts.last(self.case, steps - 1)):
                    steps -= 1
                return
            tried = steps

    def _any(self, cases: Iterable[Case]) -> bool:
        """The first of these that shows the deviation is the smallest case from now on."""
        return any(self._shows(case) for case in cases)

    def _late(self) -> bool:
        return self.left <= 0 or time.perf_counter() > self.end

    def _shows(self, case: Case) -> bool:
        """Drive the subject through a case. If it deviates there as it did at first, keep the case."""
        if self._late():
            return False
        self.left -= 1
        ours = {p.name: p for p in self.rule.hyper_parameters}
        known = [{**self.assumed, **{n: v for n, v in now.items() if n in ours}} for now in case.hyper]
        try:
            for name, value in known[-1].items():
                ours[name].check(self.rule.name, value)
            results = self.subject.drive(case.params, case.grads, case.hyper)
            arrays = Trace(case.params, case.grads, known, results).arrays()
        except RefoptError:  # it refuses these numbers, or answers with something else
            return False
        found = Comparison(arrays, known).fit(self.program)
        if found.first is None or not self._alike(found.first, len(case.grads), found.allowed):
            return False
        at, _ = _place(found.first, arrays.paths)
        self.case, self.got = replace(case, at=at), arrays.results[-1][at]
        return True

    def _alike(self, found: Deviation, steps: int, allowed: float) -> bool:
        """Whether it is the deviation that is looked for: at the last step, of that kind, and as plain to see."""
        first = self.first
        same = (_kind(found.expected), _kind(found.actual)) == (_kind(first.expected), _kind(first.actual))
        far = found.distance >= min(first.distance, EXCLUDED * allowed)
        return found.step == steps and same and far and _share(found) >= min(_share(first), VISIBLE)


def _hyper(rule: Rule, hyper: Iterable[Mapping[str, float]]) -> list[dict[str, float]]:
    """The numbers by the rule's own names."""
    return [{rule.hyper_parameter(name).name: float(value) for name, value in now.items()} for now in hyper]


def _complete(rule: Rule, axes: Mapping[str, str]) -> dict[str, str]:
    """All axes; those that are left out at their first choice."""
    return {axis.name: axes.get(axis.name, axis.choices[0]) for axis in rule.axes}


def _place(first: Deviation, paths: list[str]) -> tuple[int, int]:
    """The parameter and the element that `params['w'].flat[3]` names."""
    place, _, element = first.quantity.rpartition(".flat[")
    return paths.index(place.removeprefix("params")), int(element.rstrip("]"))


def _kind(value: float) -> str:
    """A number, or what else it is: nan, inf, -inf."""
    return "number" if np.isfinite(value) else repr(value)


def _share(found: Deviation) -> float:
    """How large the deviation is beside its values; 1 if one of them is no number."""
    gap = abs(found.expected - found.actual)
    return gap / max(abs(found.expected), abs(found.actual)) if np.isfinite(gap) else 1.0
