"""What is run: a check is a mode of comparison, or a law, on a case. A profile is a list of checks.

`fast` shows every choice and every number at least once: the dialects in all dtypes, with all kinds of numbers and in
all modes; every other set of choices in one dtype and one kind of numbers, dealt round. `full` is the whole product.
`brief` shows who has run `fast` on what was changed that all else still works: the first dialect of each rule on all
tensors and by every law, the other dialects and every choice, in one of them, on few tensors, in dtypes and numbers
dealt round. Most of its time goes into compiling: single choices are compiled hastily, combinations are left to `fast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import cycle

from refopt.clocks import of_elements, of_model
from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.hyper import Hyper
from refopt_conformance.budgets import CHAIN, LARGE_TENSOR, LONG_CHAIN, ONE_STEP
from refopt_conformance.cases import (
    DTYPES,
    NUMBERS,
    PRECISIONS,
    PURE,
    Case,
    canonical,
    conventions,
    few,
    in_precision,
    tree,
)
from refopt_conformance.driver import Driver
from refopt_conformance.inputs import BRIM, JOINED, LARGE, SHAPES
from refopt_conformance.judge import Judge
from refopt_conformance.laws import LAWS, OF_THE_LOOP, Law
from refopt_conformance.modes import follow, led, short, single
from refopt_conformance.nearby import jumps

# No tensor of one element: over a long run of lars it crosses zero, its rate goes to zero with it, its digits are lost.
LONG = ("seven", "3x5", "zero_params", "zero_grads", "now_and_then", "alternating", "burst")
STEPS = {"brief": 300, "fast": 300, "full": 2049}


def _long(steps: int) -> Callable[[Judge, Driver], None]:
    return lambda book, driver: (led if book.case.led else follow)(book, driver, steps)


@dataclass(frozen=True)
class Check:
    """One thing to be shown of a backend: in a mode (`one step`, `chain`, `long chain`) or by a law, on a case."""

    kind: str
    case: Case
    steps: int = 0  # of a long chain
    hasty: bool = False  # whether what compiles may leave it at the operations themselves

    @property
    def law(self) -> Law | None:
        return LAWS.get(self.kind)

    def book(self) -> Judge:
        """An empty book."""
        return Judge(self.case, self.kind)

    def run(self, driver: Driver, book: Judge | None = None) -> None:
        """Raises Deviation, or Inapplicable if it says nothing about the backend. Distances go into the book."""
        if self.law is not None:
            self.law(self.case, driver)
            return
        chain = led if self.case.led else short
        compare = {ONE_STEP: single, LARGE_TENSOR: single, CHAIN: chain, LONG_CHAIN: _long(self.steps)}[self.kind]
        with driver.hasty() if self.hasty else nullcontext():
            compare(book or self.book(), driver)

    def __str__(self) -> str:
        return f"{self.kind.replace(' ', '_')}/{self.case}"


def checks(profile: str, rule: Rule | None = None) -> list[Check]:
    """All checks of a profile, in a fixed order; or those of one rule, which are the same whatever other rules are."""
    if rule is None:
        return [check for one in RULES.values() for check in checks(profile, one)]
    numbers = _dealt(rule) if profile == "brief" else _numbers(rule, profile == "full")
    found = {str(check): check for check in numbers if not _cancelled(check.case)}
    return list(found.values()) + list(_laws(rule, profile))


def _cancelled(case: Case) -> bool:
    """Whether nothing but rounding need be left of the results, in any order of the operations."""
    return case.numbers == "ends" and _cancels(case.conventions)


def _first(rule: Rule) -> str:
    return f"{rule.name}/{rule.dialects[0].name}"


def _cancels(hyper: Hyper) -> bool:
    return any(axis.choice(hyper.axes[axis.name]).cancels for axis in hyper.rule.axes)


# What tells most choices from their dialects: the defaults hide terms, and few digits hide what is left.
PLAIN_DEAL = [(dtype, numbers) for numbers in ("mixed", "dyadic") for dtype in DTYPES]
DEAL = [(dtype, numbers) for numbers in ("mixed", "dyadic", "usual") for dtype in (*DTYPES, "bfloat16")]


def _dealt(rule: Rule) -> Iterator[Check]:
    """One check for each dialect and each single choice, and both modes for the dialects."""
    for (name, hyper), (dtype, numbers) in zip(canonical(rule).items(), cycle(DEAL), strict=False):
        leaves = tree(name) if name == _first(rule) else few(name)
        yield Check(ONE_STEP, Case(name, hyper, dtype, leaves, numbers))
        yield from _both(name, hyper, "float32", leaves)
    single: dict[str, tuple[str, Hyper]] = {}
    for name, hyper in conventions(rule).items():
        if ":" in name and "," not in name:
            single.setdefault(name.rpartition("/")[2], (name, hyper))  # in the first dialect that may have the choice
    for (name, hyper), (dtype, numbers) in zip(single.values(), cycle(PLAIN_DEAL), strict=False):
        yield Check(ONE_STEP, Case(name, hyper, dtype, few(name), numbers), hasty=True)


def _numbers(rule: Rule, full: bool) -> Iterator[Check]:
    for name, hyper in conventions(rule).items():
        if full or name in canonical():
            for precision in PRECISIONS:
                for numbers in _kinds(precision, full):
                    yield from _both(name, hyper, precision, numbers=numbers)
    others = {name: hyper for name, hyper in conventions(rule).items() if not full and name not in canonical()}
    for (name, hyper), (dtype, numbers) in zip(others.items(), cycle(DEAL), strict=False):
        yield Check(ONE_STEP, Case(name, hyper, "float32", tree(name)))
        yield Check(ONE_STEP, Case(name, hyper, "float32", tree(name), "ends"))
        yield from _both(name, hyper, dtype, numbers=numbers)
    for name, hyper in canonical(rule).items():
        for leaf in SHAPES:
            for precision in PRECISIONS if full else ("float32",):
                yield from _both(name, hyper, precision, (leaf,))
        yield Check(ONE_STEP, Case(name, hyper, "float16", tuple(BRIM)))  # float32 overflows before its definition does
        if of_model(hyper.program):  # and then it is NaN everywhere
            yield Check(ONE_STEP, Case(name, hyper, "float32", ("nan_lane",)))
        if not of_elements(hyper.program):
            for leaf in LARGE:
                yield from (Check(LARGE_TENSOR, Case(name, hyper, dtype, (leaf,))) for dtype in DTYPES)
        for dtype in DTYPES if full else ("float32",):
            yield Check(LONG_CHAIN, Case(name, hyper, dtype, LONG, "usual"), STEPS["full" if full else "fast"])


def _kinds(precision: str, full: bool) -> tuple[str, ...]:
    """The kinds of numbers. At their ends a step may be arbitrarily sensitive to the few digits of half types."""
    if precision in DTYPES:
        return NUMBERS
    return ("mixed",) if precision in PURE and not full else tuple(kind for kind in NUMBERS if kind != "ends")


def _both(
    name: str, hyper: Hyper, precision: str, leaves: tuple[str, ...] = (), numbers: str = "mixed"
) -> Iterator[Check]:
    """A single step and a chain; no chain where few digits, numbers at their ends, or what cancels amplify a rounding.

    Of what jumps, that is everywhere: a parameter that is rounded may turn a sign.
    """
    found = in_precision(hyper, precision)
    if found is not None:
        case = Case(name, *found, leaves or tree(name), numbers)
        yield Check(ONE_STEP, case)
        smooth = name in canonical() and not jumps(hyper.program)
        steady = numbers != "ends" and (name in canonical() or not _cancels(hyper))
        if smooth or ((case.dtype in DTYPES or case.pure) and steady):
            yield Check(CHAIN, case)


def _laws(rule: Rule, profile: str) -> Iterator[Check]:
    """In float32, and where state is rounded; `full` has float64, and in float32 the choices that are no dialect's."""
    full = profile == "full"
    for law in LAWS:
        for name, hyper in (conventions(rule) if full else canonical(rule)).items():
            first = name == _first(rule)
            if profile == "brief" and not first:
                continue
            leaves = tuple(leaf for leaf in tree(name) if leaf not in JOINED)  # laws tell regimes apart
            for dtype in DTYPES if full and name in canonical() else ("float32",):
                if first or law not in OF_THE_LOOP:
                    yield Check(law, Case(name, hyper, dtype, leaves))
            pure = None if profile == "brief" else in_precision(hyper, "pure_bfloat16")
            if pure and law not in OF_THE_LOOP and (first or (full and name in canonical())):
                yield Check(law, Case(name, *pure, leaves))
