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

# A hyper-parameter's values at steps 1, 2, 3, ..., over and over; one that is not named here keeps its default.
# Decimal and dyadic ones; a learning rate that rises and falls; betas and momentum that change; weight decay that is
# off once; an epsilon and a trust coefficient that are felt. 0.999 shows whether 1 - beta2 was computed in float32.
NUMBERS: dict[str, tuple[float, ...]] = {
    "lr": (0.1, 0.25, 0.03, 0.5, 0.125, 0.01, 0.2),
    "mu": (0.9, 0.9, 0.9, 0.875, 0.875, 0.9),
    "beta1": (0.9, 0.9, 0.9, 0.875, 0.875, 0.9),
    "beta2": (0.999, 0.999, 0.999, 1 - 2**-6, 1 - 2**-6, 0.99),
    "eps": (1e-2, 2**-6, 1e-2),
    "eps_root": (1e-3, 2**-10, 1e-3),
    "wd": (0.05, 0.1, 0.0, 0.0625, 0.05),
    "tc": (0.5, 0.02, 0.1),
    "dampening": (0.3, 0.25, 0.3),
    "power": (2 / 3, 0.75),
    "inv_gamma": (1.0, 4.0, 2.5),
}


@dataclass(frozen=True, eq=False)  # a case is itself: hashed by identity
class Case:
    """A rule under some conventions, on parameters of one dtype: `adam/objax/bias:none/float32`."""

    name: str
    conventions: Hyper
    dtype: str
    leaves: tuple[str, ...] = tuple(TREE)

    def hyper(self, t: int) -> Hyper:
        """The conventions with the numbers of step t."""
        read = [name for name in self.conventions.read if name in NUMBERS]
        return self.conventions.replace(**{name: NUMBERS[name][(t - 1) % len(NUMBERS[name])] for name in read})

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
