"""Which variants fit traces whose hyper-parameters are not all known, and with which numbers.

Every variant is fitted (see `leastsquares`) from a table of usual numbers, and once one fits, from its numbers too:
conventions differ by what a number can make up for (a rate times 1 - mu, a decay divided by the rate), and a variant
that is overlooked pins an axis wrongly. Where there are very many, only those within two choices of one that fits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from refopt.spec.declare import Rule
from refopt.verifying.candidates import candidates
from refopt.verifying.searching import Search, Solution
from refopt.verifying.trace import Arrays

__all__ = ["Solution", "solutions", "which_lacking"]


def which_lacking(rule: Rule, known: Collection[str]) -> list[list[str]]:
    """The numbers to fit, in stages: those that are neutral at 0 stay there, as long as something fits without them."""
    names = [p.name for p in rule.hyper_parameters if p.name not in known]
    neutral = [name for name in names if rule.hyper_parameter(name).default == 0.0]
    stages = [[name for name in names if name not in neutral]]
    for one in neutral:
        stages.append([name for name in names if name == one or name not in neutral])
    return stages if len(neutral) < 2 else [*stages, names]


def solutions(
    rule: Rule,
    traces: Sequence[Arrays],
    steps: Sequence[Sequence[Mapping[str, float]]],
    lacking: Sequence[str],
    *,
    widely: bool = True,
) -> list[Solution]:
    """Every variant that fits to rounding with some numbers, or nearly so, the simplest first; if none, the nearest.

    Those whose fit has a `first` are between rounding and excluded: they leave an axis open, but do not conform.

    Args:
        rule: the rule whose variants they are.
        traces: what was recorded.
        steps: per trace and step, the numbers that are known, by the rule's names.
        lacking: the numbers to fit, the same at all steps of all traces.
        widely: whether to look far from the dialects' variants where none near them fits.

    Raises:
        RefoptError: a number is neither known nor to be fitted, and no variant does without.
    """
    known = set.intersection(*(set(now) for each in steps for now in each))
    found = candidates(rule, sorted({*known, *lacking}))
    given = [[{**found.assumed, **now} for now in each] for each in steps]
    search = Search(found, traces, given, [name for name in lacking if name not in known], widely=widely)
    return sorted(search.run(), key=lambda one: _order(rule, one))


def _order(rule: Rule, one: Solution) -> tuple[bool, int, int, float]:
    digits = sum(_digits(x) for name, x in one.numbers.items() if x != rule.hyper_parameter(name).default)
    odd = min(
        sum(axes[axis] != dialect.axes.get(axis, rule.axis(axis).choices[0]) for axis in axes)
        for axes in one.candidate.axes
        for dialect in rule.dialects
    )
    return one.fit.first is not None, odd, digits, one.fit.share


def _digits(x: float) -> int:
    return max(1, len(f"{x:.15g}".partition("e")[0].replace(".", "").strip("0")))
