"""Identification where numbers are not known: every set of numbers that fits is tried as if it had been given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError
from refopt.verifying import reading
from refopt.verifying.candidates import Candidate, canonical_hyper
from refopt.verifying.fitting import Solution, solutions
from refopt.verifying.identification import Identification
from refopt.verifying.trace import Arrays
from refopt.verifying.verdict import FittedNumber, Verdict

ENOUGH = 8  # results per number that is fitted: fewer could be met by chance
GUARDS = {"eps", "eps_root"}  # which may well be 0
ALIKE = 1e-6  # sets of numbers that differ by less, relatively, are one


class FittedIdentification:
    """As `Identification`, but some numbers come from the traces that are given at the start.

    Args:
        rule, known, held, dialect: as there.
        traces: from which the numbers are fitted.
        lacking: the numbers to fit, the same at every step.
        widely: as `solutions` has it.

    Raises RefoptError as there, and if the traces hold too few results to fit numbers to.
    """

    def __init__(
        self,
        rule: Rule,
        known: Collection[str],
        held: Mapping[str, float],
        dialect: str | None,
        traces: Sequence[Arrays],
        lacking: Sequence[str],
        *,
        widely: bool = True,
    ) -> None:
        self.rule = rule
        held = canonical_hyper(rule, held)
        if (seen := results_in(traces)) < ENOUGH * len(lacking):
            raise RefoptError(
                f"{rule.name}: {seen} results are too few to fit {', '.join(lacking)} to; "
                f"give these, or a longer trace, of at least {ENOUGH * len(lacking)}"
            )
        steps = [[{**held, **canonical_hyper(rule, now)} for now in arrays.hyper] for arrays in traces]
        self.solutions = _distinct(solutions(rule, traces, steps, lacking, widely=widely))
        self.worlds = [Identification(rule, known, {**held, **one.numbers}, dialect) for one in self.solutions]
        for arrays in traces:
            self.see(arrays)

    def see(self, arrays: Arrays) -> None:
        """One more trace, for each set of numbers."""
        for world in self.worlds:
            world.see(arrays)

    @property
    def fitting(self) -> list[Candidate]:
        """The variants that no trace excludes, with some numbers."""
        return [candidate for world in self.worlds for candidate in world.fitting]

    @property
    def conforms(self) -> bool:
        return any(world.conforms for world in self.worlds)

    @property
    def counts_steps(self) -> bool:
        return any(world.counts_steps for world in self.worlds)

    @property
    def vacuous(self) -> str:
        """The numbers that came to 0, where that leaves nothing of what they are for: another, simpler rule does so.

        RMSprop, say, is Adam with beta1=0 and without correction. Nothing if there is none.
        """
        numbers = self.solutions[self._best].numbers
        none = {name for name, value in numbers.items() if value == 0.0 and name not in GUARDS}
        return ", ".join(f"{n}=0" for n in numbers if n in none and self.rule.hyper_parameter(n).default != 0.0)

    @property
    def _best(self) -> int:
        return next((i for i, world in enumerate(self.worlds) if world.conforms), 0)

    def verdict(self, subject: str, prefer: str | None) -> Verdict:
        """The verdict with the numbers that fit best. Choices that fit with other numbers are open."""
        best, world = self.solutions[self._best], self.worlds[self._best]
        verdict = replace(world.verdict(subject, prefer), fitted=_fitted(best))
        if not verdict.conforms:
            note = "numbers that nobody gave were taken to be the same at every step, which a schedule's are not"
            return replace(verdict, notes=(*verdict.notes, note))
        axes = dict(verdict.axes)
        notes = []
        for solution, other in zip(self.solutions, self.worlds, strict=True):
            if other is world or not other.fitting:
                continue
            occurring = reading.axes(other.found, other.fitting)
            new = {
                name: tuple(choice for choice in axis.choices if choice not in axes[name].choices)
                for name, axis in occurring.items()
            }
            if not any(new.values()):
                continue
            numbers = ", ".join(f"{name}={value:.6g}" for name, value in solution.numbers.items())
            for name, choices in new.items():
                if choices:
                    table = axes[name].considered
                    both = tuple(choice for choice in table if choice in (*axes[name].choices, *choices))
                    why = "; ".join(filter(None, (axes[name].why, f"{' and '.join(choices)}: with {numbers}")))
                    axes[name] = replace(axes[name], choices=both, why=why)
            notes.append(f"{numbers} fit as well, with {_said(new)}")
        return replace(verdict, axes=axes, notes=(*verdict.notes, *notes))


def results_in(traces: Sequence[Arrays]) -> int:
    """How many results are finite and no longer what they were: what numbers can be fitted to."""
    count = 0
    for arrays in traces:
        before = arrays.params
        for after in arrays.results:
            count += sum(int((np.isfinite(b) & (a != b)).sum()) for a, b in zip(before, after, strict=True))
            before = after
    return count


def _distinct(found: Sequence[Solution]) -> list[Solution]:
    """One solution for each set of numbers, in their order."""
    kept: list[Solution] = []
    for one in found:
        if not any(_alike(one, other) for other in kept):
            kept.append(one)
    return kept


def _alike(one: Solution, other: Solution) -> bool:
    return one.numbers.keys() == other.numbers.keys() and all(
        abs(value - other.numbers[name]) <= ALIKE * abs(value) for name, value in one.numbers.items()
    )


def _fitted(one: Solution) -> dict[str, FittedNumber]:
    tied = {name: tuple(n for n in names if n != name) for names in one.tied for name in names}
    return {
        name: FittedNumber(value, *one.ranges.get(name, (value, value)), tied.get(name, ()))
        for name, value in one.numbers.items()
    }


def _said(new: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{name}={' or '.join(choices)}" for name, choices in new.items() if choices)
