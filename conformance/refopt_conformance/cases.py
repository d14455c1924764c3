"""The cases, derived from the declarations of the rules: nothing here names a rule.

For every dialect: its own choices, and each axis moved to each of its other choices, one axis at a time. Two of these
that specialise to the same source are one case. Each is run on a tree of leaves of all shapes, in float32 and
float64; the dialects' own choices also on every shape alone, and in the half types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.hyper import Hyper, conflict
from refopt_conformance.inputs import SHAPES, TREE

DTYPES = ("float32", "float64")
HALF_DTYPES = ("float16", "bfloat16")

# The learning rate at steps 1, 2, 3, ..., over and over: it rises and falls, and is decimal or dyadic. The other
# hyper-parameters go round their declared probes, which are dyadic and show conventions, and their dialect's default,
# which is decimal more often than not (0.999 shows whether 1 - beta2 was computed in float32).
RATES = (0.1, 0.25, 0.03, 0.5, 0.125, 0.01, 0.2)


@dataclass(frozen=True, eq=False)  # a case is itself: hashed by identity
class Case:
    """A rule under some conventions, on parameters of one dtype: `adam/objax/bias:none/float32`."""

    name: str
    conventions: Hyper
    dtype: str
    leaves: tuple[str, ...] = tuple(TREE)

    def hyper(self, t: int) -> Hyper:
        """The conventions with the numbers of step t."""
        rounds = {name: self.values(name) for name in self.conventions.read}
        return self.conventions.replace(**{name: values[(t - 1) % len(values)] for name, values in rounds.items()})

    def values(self, name: str) -> tuple[float, ...]:
        """What a hyper-parameter goes round."""
        declared = self.conventions.rule.hyper_parameter(name).probes
        return RATES if name == "lr" else tuple(dict.fromkeys((*declared, self.conventions.values[name])))

    def __str__(self) -> str:
        return f"{self.name}/{self.dtype}"


@cache
def conventions() -> dict[str, Hyper]:
    """Every case's name and choices: the dialects first, then what is one axis away from them."""
    found: dict[object, tuple[str, Hyper]] = {}
    for name, hyper in (*_dialects(), *_neighbours()):
        found.setdefault((hyper.rule.name, hyper.program.key), (name, hyper))
    return dict(found.values())


def _dialects() -> Iterator[tuple[str, Hyper]]:
    for rule in RULES.values():
        for dialect in rule.dialects:
            yield f"{rule.name}/{dialect.name}", rule.hyper(dialect=dialect.name)


def _neighbours() -> Iterator[tuple[str, Hyper]]:
    for name, hyper in _dialects():
        for axis, choice in _moves(hyper.rule):
            if conflict(hyper.rule, {**hyper.axes, axis: choice}) is None:
                yield f"{name}/{axis}:{choice}", hyper.replace(**{axis: choice})


def _moves(rule: Rule) -> Iterator[tuple[str, str]]:
    return ((axis.name, choice) for axis in rule.axes for choice in axis.choices)


def canonical() -> dict[str, Hyper]:
    """The dialects' own choices, each function once."""
    return {name: hyper for name, hyper in conventions().items() if ":" not in name}


def mixed(dtypes: tuple[str, ...] = DTYPES) -> list[Case]:
    """Every case on the whole tree."""
    return [Case(name, hyper, dtype) for name, hyper in conventions().items() for dtype in dtypes]


def dialects(dtypes: tuple[str, ...] = DTYPES, leaves: tuple[str, ...] = tuple(TREE)) -> list[Case]:
    """The dialects' own choices on the whole tree, or on some of its leaves."""
    return [Case(name, hyper, dtype, leaves) for name, hyper in canonical().items() for dtype in dtypes]


def alone(dtypes: tuple[str, ...] = ("float32",)) -> list[Case]:
    """The dialects' own choices on one tensor of each shape."""
    return [
        Case(f"{name}/{leaf}", hyper, dtype, (leaf,))
        for name, hyper in canonical().items()
        for leaf in SHAPES
        for dtype in dtypes
    ]
