"""What the variants that fit have in common: their choices, the dialect they are nearest to, and what is excluded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from refopt.spec.declare import Dialect
from refopt.spec.hyper import complete, reads
from refopt.spec.program import Program
from refopt.verifying.candidates import Candidate, Candidates
from refopt.verifying.distance import Fit
from refopt.verifying.verdict import AxisVerdict

THOROUGH = 8  # excluded variants whose full distance is computed, to name the next best


def axes(found: Candidates, fitting: Sequence[Candidate]) -> dict[str, AxisVerdict]:
    """Per axis, the choices that occur among the fitting variants. Of storage no trace shows anything."""
    occurring = {axis: {axes[axis] for c in fitting for axes in c.axes} for axis in found.tables}
    seen = {
        axis: AxisVerdict(axis, tuple(choice for choice in table if choice in occurring[axis]), table)
        for axis, table in found.tables.items()
    }
    return {a.name: seen.get(a.name, AxisVerdict(a.name, a.choices, a.choices)) for a in found.rule.axes}


def visible(found: Candidates, dialect: Dialect) -> dict[str, str]:
    """A dialect's choices, where they could be seen: without weight decay there is none.

    What has not the number that a choice cannot do without (no decay of an average: it is no exponential one) is seen
    not to follow it.
    """
    choices = complete(found.rule, dialect.axes)
    return {axis: choice for axis, choice in choices.items() if axis in found.tables and _seen(found, axis, choice)}


def _seen(found: Candidates, axis: str, choice: str) -> bool:
    if choice in found.tables[axis]:
        return True
    base = {name: table[0] for name, table in found.tables.items()}
    needed = reads(found.rule, complete(found.rule, base | {axis: choice}))
    lacking = {name for name in needed if name not in found.usable}
    return any(found.rule.hyper_parameter(name).default != 0.0 for name in lacking)


def departures(found: Candidates, fitting: Sequence[Candidate]) -> dict[str, dict[str, str]]:
    """Per dialect, the choices by which what fits departs from it."""
    result = {}
    for dialect in found.rule.dialects:
        wanted = visible(found, dialect)
        differing = ({k: axes[k] for k, v in wanted.items() if axes[k] != v} for c in fitting for axes in c.axes)
        result[dialect.name] = min(differing, key=len)
    return result


def named(dialect: str, departing: Mapping[str, str]) -> str:
    """`dialect keras with lr_at=outside`."""
    more = ", ".join(f"{axis}={choice}" for axis, choice in departing.items())
    return f"dialect {dialect}" + (f" with {more}" if more else "")


def next_best(
    thorough: Callable[[Program], Fit], fits: Sequence[tuple[Candidate, Fit]]
) -> tuple[Candidate, float] | None:
    """The nearest excluded variant and its whole distance."""
    nearest = sorted((pair for pair in fits if pair[1].excludes), key=lambda pair: pair[1].share)[:THOROUGH]
    full = [(candidate, thorough(candidate.program)) for candidate, _ in nearest]
    best = min(full, key=lambda pair: pair[1].share, default=None)
    return (best[0], best[1].distance) if best else None


def difference(candidate: Candidate, fitting: Sequence[Candidate]) -> dict[str, str]:
    """The choices by which a variant differs from the nearest of those that fit."""
    pairs = ((dict(axes), dict(other)) for axes in candidate.axes for c in fitting for other in c.axes)
    return min(({k: v for k, v in axes.items() if other[k] != v} for axes, other in pairs), key=len)
