"""The cases, derived from the declarations of the rules: nothing here names a rule.

A case is a rule under some conventions, with numbers of some kind, on tensors of one dtype. Conventions are those of
every dialect; those one axis away from a dialect; and, so that every two choices of any two axes meet somewhere, a
covering set of combinations. Two that specialise to the same source are one. The tensors of a case are a tree of all
shapes and all regimes (`inputs`), which a backend steps as one model, or a single one of them. Where state is kept in
the half types of the parameters, the case is of *pure* float16 or bfloat16, as such training is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from refopt.clocks import estimates, looks_along, of_elements, of_model
from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.hyper import Hyper, conflict, variants
from refopt.spec.program import Program
from refopt_conformance.amplification import comes_back
from refopt_conformance.inputs import (
    FEW_OF_ELEMENTS,
    FEW_OF_MODELS,
    FEW_OF_TENSORS,
    OF_ELEMENTS,
    OF_LARGE,
    OF_MATRICES,
    OF_MODELS,
    OF_TENSORS,
    TREE,
)

DTYPES = ("float32", "float64")
HALF_DTYPES = ("float16", "bfloat16")
PURE = {f"pure_{dtype}": dtype for dtype in HALF_DTYPES}  # whose state has the dtype of the parameters, too
PRECISIONS = (*DTYPES, *HALF_DTYPES, *PURE)

# What the hyper-parameters go through over the steps, by kind of numbers:
#   mixed    round their declared probes and their dialect's default: dyadic and decimal, showing every convention
#   dyadic   round their probes alone, on coarse inputs: much of the arithmetic is exact, so no distance is allowed
#   usual    constant, the dialect's defaults (a number that defaults to 0 takes its first probe, to be there at all)
#   probe    constant, the first probes: exact in float32
#   ends     the first probes, and by turns the ends of their intervals: most numbers may be 0, and some almost 1
# and the learning rate, which everybody changes, goes round these: it rises and falls.
RATES = {
    "mixed": (0.1, 0.25, 0.03, 0.5, 0.125, 0.01, 0.2),
    "dyadic": (0.25, 0.5, 0.125),
    "usual": (0.01, 0.1, 0.03, 0.003),
    "probe": (0.125, 0.25, 0.03125, 0.5),
    "ends": (0.25, 0.0, 0.25 + 2**-22, 2.0),  # a little more than a rate before it is another rate
}
NUMBERS = tuple(RATES)


@dataclass(frozen=True, eq=False)  # a case is itself: hashed by identity
class Case:
    """A rule under some conventions, on parameters of one dtype: `adam/objax/bias:none/float32/mixed`."""

    name: str
    conventions: Hyper
    dtype: str
    leaves: tuple[str, ...] = tuple(TREE)
    numbers: str = "mixed"

    @property
    def precision(self) -> str:
        """The dtype, or `pure_bfloat16`: what budgets are kept by."""
        return f"pure_{self.dtype}" if self.pure else self.dtype

    @property
    def pure(self) -> bool:
        """Whether the state, too, is rounded to few digits at each step."""
        return self.dtype in HALF_DTYPES and self.conventions.axes.get("state_dtype") == "parameter"

    @property
    def led(self) -> bool:
        """Whether each step is compared from the state that the backend has: what it rounds, its next steps amplify.

        State of few digits may stand still, and an estimate that is made of small differences scales all that follows.
        What the function of a matrix made of a rounding it multiplies again, where decay brings it into the state.
        """
        program = self.conventions.program
        return self.pure or estimates(program) or comes_back(program)

    @property
    def coarse(self) -> bool:
        """Whether inputs have few digits, so that some results are exact."""
        return self.numbers == "dyadic"

    def hyper(self, t: int) -> Hyper:
        """The conventions with the numbers of step t."""
        rounds = {name: self.values(name) for name in self.conventions.read}
        return self.conventions.replace(**{name: values[(t - 1) % len(values)] for name, values in rounds.items()})

    def values(self, name: str) -> tuple[float, ...]:
        """What a hyper-parameter goes round."""
        if name == "lr":
            return RATES[self.numbers]
        default = self.conventions.values[name]
        probes = self.conventions.rule.hyper_parameter(name).probes or (default,)
        first = next((value for value in probes if value), default)
        return {
            "mixed": tuple(dict.fromkeys((*probes, default))),
            "dyadic": probes,
            "usual": (default or first,),
            "probe": (first,),
            "ends": (first, *self.conventions.rule.hyper_parameter(name).ends),
        }[self.numbers]

    def __str__(self) -> str:
        alone = "" if len(self.leaves) > 1 else f"/{self.leaves[0]}"
        return f"{self.name}{alone}/{self.precision}/{self.numbers}"


def in_precision(hyper: Hyper, precision: str) -> tuple[Hyper, str] | None:
    """The conventions and the dtype of the parameters; None where a rule has no state to be pure."""
    if precision not in PURE:
        return hyper, precision
    return (hyper.replace(state_dtype="parameter"), PURE[precision]) if "state_dtype" in hyper.axes else None


@cache
def conventions(rule: Rule | None = None) -> dict[str, Hyper]:
    """Every set of choices by its name: of each rule the dialects first, then what is one axis away, then pairs."""
    if rule is None:
        return {name: hyper for one in RULES.values() for name, hyper in conventions(one).items()}
    found: dict[object, tuple[str, Hyper]] = {}
    for name, hyper in (*_dialects(rule), *_neighbours(rule), *_pairs(rule)):
        found.setdefault(hyper.program.key, (name, hyper))
    return dict(found.values())


def _dialects(rule: Rule) -> Iterator[tuple[str, Hyper]]:
    for dialect in rule.dialects:
        yield f"{rule.name}/{dialect.name}", rule.hyper(dialect=dialect.name)


def _neighbours(rule: Rule) -> Iterator[tuple[str, Hyper]]:
    for name, hyper in _dialects(rule):
        for axis, choice in _moves(rule):
            if conflict(rule, {**hyper.axes, axis: choice}) is None:
                yield f"{name}/{axis}:{choice}", hyper.replace(**{axis: choice})


def _moves(rule: Rule) -> Iterator[tuple[str, str]]:
    return ((axis.name, choice) for axis in rule.axes for choice in axis.choices)


def _pairs(rule: Rule) -> Iterator[tuple[str, Hyper]]:
    paper = rule.hyper().axes
    for axes in covering(rule):
        name = ",".join(f"{axis}:{choice}" for axis, choice in axes.items() if choice != paper[axis])
        yield f"{rule.name}/paper/{name}", rule.hyper(**axes)


@cache
def covering(rule: Rule) -> tuple[dict[str, str], ...]:
    """Few combinations of choices in which every possible pair of choices of two axes occurs, found greedily."""
    numbers: dict[object, int] = {}
    rows: list[tuple[int, dict[str, str]]] = []
    for axes in variants(rule):
        mask = 0
        for pair in combinations(axes.items(), 2):
            mask |= 1 << numbers.setdefault(pair, len(numbers))
        rows.append((mask, axes))
    left, chosen = (1 << len(numbers)) - 1, []
    while left:
        mask, axes = max(rows, key=lambda row: (row[0] & left).bit_count())  # the first of the best
        chosen.append(axes)
        left &= ~mask
    return tuple(chosen)


@cache
def tree(name: str) -> tuple[str, ...]:
    """The tensors that a set of choices steps."""
    program = conventions()[name].program
    if of_model(program):
        return OF_MODELS
    more = of_dimensions(program)
    if ":" not in name:
        return (*TREE, *more)
    return OF_ELEMENTS if of_elements(program) else (*OF_TENSORS, *more)


@cache
def few(name: str) -> tuple[str, ...]:
    """The tensors that a set of choices steps in brief."""
    program = conventions()[name].program
    if of_model(program):
        return FEW_OF_MODELS
    if of_elements(program):
        return FEW_OF_ELEMENTS
    return (*FEW_OF_TENSORS, *of_dimensions(program))


def of_dimensions(program: Program) -> tuple[str, ...]:
    """The tensors for what looks along dimensions, or for large matrices."""
    return (*(OF_MATRICES if looks_along(program) else ()), *(OF_LARGE if any(s.least for s in program.slots) else ()))


@cache
def canonical(rule: Rule | None = None) -> dict[str, Hyper]:
    """The dialects' own choices, each function once."""
    return {name: hyper for name, hyper in conventions(rule).items() if ":" not in name}
