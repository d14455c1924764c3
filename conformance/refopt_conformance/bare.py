"""A bare subject: anybody's optimizer, driven as `refopt verify` drives it. It shows its parameters and nothing else.

What it is, `verify` says. The chains of that rule and dialect must pass; those of the rule's other dialects are run to
show which of them it is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refopt.rules import get_rule
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper
from refopt.verifying import verify
from refopt.verifying.subjects.base import Subject, under
from refopt.verifying.subjects.resolve import resolve
from refopt_conformance.budgets import CHAIN, LONG_CHAIN
from refopt_conformance.cases import DTYPES, Case
from refopt_conformance.checks import LONG, STEPS, Check
from refopt_conformance.inputs import TREE
from refopt_conformance.judge import Judge
from refopt_conformance.modes import CHECKPOINTS
from refopt_conformance.reference import SHORT, chain, initial

NUMBERS = ("usual", "probe")  # constant but for the learning rate: not every optimizer can change the others

LEAVES = tuple(leaf for leaf in TREE if leaf != "vast")  # in float32 such a norm is infinite: who promises otherwise?


@dataclass(frozen=True)
class Bare:
    """A stranger's optimizer, and the conventions that it follows: all of `claimed`, by the names of cases."""

    subject: Subject
    name: str
    claimed: str
    conventions: Mapping[str, Hyper]
    deviates: str = ""  # what `verify` says of it, if no variant fits: the nearest is claimed
    where: str = "cpu"

    @property
    def version(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.subject.interface.versions.items())

    def refuses(self, hyper: Hyper, dtype: str) -> str | None:
        """Why it cannot be driven by these numbers, or None."""
        lacking = [name for name in hyper.read if name not in self.subject.names.settable and hyper.values[name] != 0]
        if lacking:
            return f"{self.name} takes no {' and no '.join(lacking)}, which this dialect of {hyper.rule.name} reads"
        return None

    def other(self, check: Check) -> str | None:
        """Why a check may fail: it is of a dialect that the subject does not follow. Or None."""
        if check.case.name == self.claimed:
            return None
        return f"{self.name} is {self.claimed}, not {check.case.name}"

    def follow(self, book: Judge, steps: int) -> None:
        """A chain of a fresh optimizer. Raises Unsupported if it cannot be made or run so."""
        course = list(chain(book.case, steps))
        if course[0].t != 1:
            raise Unsupported("the first step of this rule is infinite on purpose; a bare subject cannot start later")
        hyper = [
            {n: step.hyper.values[n] for n in step.hyper.read if n in self.subject.names.settable} for step in course
        ]
        grads = [step.grads or [] for step in course]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a stranger's code warns of is not the suite's business
            results = self.subject.drive(initial(book.case).params, grads, hyper)
        for step, found in zip(course, results, strict=True):
            if steps == SHORT or step.t in CHECKPOINTS:
                book.compare_parameters(step, found)
            else:
                book.pass_by(step)


def bare(target: str, rule: str | None, options: Mapping[str, Any]) -> Bare:
    """The subject of that name, identified. Raises RefoptError if it cannot be, or if numbers are given."""
    subject = resolve(target, options, as_used=True)
    if subject.names.fixed:
        raise RefoptError(
            f"{target}: the suite sets {', '.join(subject.names.fixed)} itself; "
            f"give arguments that are no hyper-parameters"
        )
    verdict = verify(target, rule=rule, **options)
    if verdict.rule is None or verdict.rule == "ema":
        raise Unsupported(f"{target}: {verdict.reason or 'no rule is known for it'}; name one with --rule")
    found = get_rule(verdict.rule)
    subject = under(subject, found)
    conventions = {f"{found.name}/{dialect.name}": found.hyper(dialect.name) for dialect in found.dialects}
    departures = dict(verdict.departures or ({} if verdict.conforms else verdict.nearest))
    base = verdict.dialect or found.dialects[0].name
    chosen = found.hyper(base).axes
    # A choice of the dialect that could not be tried (its number cannot be set here) is not claimed.
    departures |= {n: a.choices[0] for n, a in verdict.axes.items() if chosen[n] not in a.considered}
    claimed = "/".join([found.name, base, *([",".join(f"{a}:{c}" for a, c in departures.items())] * bool(departures))])
    deviates = str(verdict) if verdict.status == "deviates" else ""
    return Bare(subject, target, claimed, {claimed: found.hyper(base, **departures)} | conventions, deviates)


def bare_checks(subject: Bare, profile: str) -> Iterator[Check]:
    """The chains of the conventions that it follows, and of all dialects of its rule."""
    for name, hyper in subject.conventions.items():
        for dtype in DTYPES:
            for numbers in NUMBERS:
                yield Check(CHAIN, Case(name, hyper, dtype, LEAVES, numbers))
            yield Check(LONG_CHAIN, Case(name, hyper, dtype, LONG, "usual"), STEPS[profile])
