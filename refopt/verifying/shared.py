"""Thousands of variants on one input: what they have in common is computed once.

The variants of a rule are made of a few dozen distinct lines. A line is a pure function of what it reads: on the same
objects it gives the same answer, which is kept, and handed on as the same object. Lines are evaluated one by one, as
NumPy evaluates them within their function, so that the numbers are those of the NumPy engine to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from refopt.spec.functions import FROM_SETS, FUNCTIONS, OF_MATRICES, OF_SETS, PROPERTIES, REDUCTIONS, TOTALS, Scalar
from refopt.spec.lines import Line, source_of
from refopt.spec.mistakes import MISTAKES, OF_PLACES
from refopt.spec.program import is_total

KEPT = 1 << 22  # elements of kept answers, 32 MiB: on large arrays, variants share no more than their first steps


class Shared:
    """`shared(f, *given)` is `f(*given)`, computed once for the same objects; nothing may be changed in place.

    What was given is kept with the answers, so that an id stands for one object. Once there is too much to keep,
    nothing is added, and what was kept stays true.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[int, ...], Any] = {}  # by ids alone: nothing in it for the garbage collector to visit
        self._kept: dict[int, Any] = {}
        self._size = 0

    def __call__(self, function: Callable[..., Any], *given: Any) -> Any:
        ids = (id(function), *map(id, given))
        answer = self._answers.get(ids)
        if answer is None:
            answer = function(*given)
            if self._size < KEPT:
                self._answers[ids] = answer
                self._kept |= zip(ids, (function, *given), strict=True)
                self._size += answer.size if isinstance(answer, np.ndarray) else 1
        return answer

    def run(self, lines: Sequence[Compiled], model: Sequence[dict[str, Any]]) -> None:
        """Assign what the lines assign, in the values of each tensor."""
        for target, function, taken, totals in lines:
            for values in model:
                values[target] = self(function, *[values[name] for name in taken])
            if totals:
                whole = self(_added, *[values[target] for values in model])
                for values in model:
                    values[target] = whole


class Compiled(NamedTuple):
    """A line: the name that it assigns, its expression as a function, the names that this takes; whether it adds up."""

    target: str
    function: Callable[..., Any]
    taken: tuple[str, ...]
    totals: bool


def compiled(lines: Sequence[Line]) -> list[Compiled]:
    """Equal expressions get the same function, whichever variant they stand in."""
    return [Compiled(line.target, *_function(source_of(line.value)), is_total(line.value)) for line in lines]


def names_in(lines: Sequence[Line]) -> frozenset[str]:
    """All names that the lines read, functions included."""
    return frozenset().union(*(_names(source_of(line.value)) for line in lines))


def of_tensors(lines: Sequence[Line]) -> bool:
    """Whether the lines must see each tensor as a whole: for its norm, its rows, its shape, or where elements stand.

    Or all of them, for what they add up to.
    """
    return bool(names_in(lines) & (REDUCTIONS | OF_SETS | FROM_SETS | {*OF_MATRICES} | TOTALS | PROPERTIES | OF_PLACES))


def of_models(lines: Sequence[Line]) -> bool:
    """Whether the lines must see all tensors at once."""
    return bool(names_in(lines) & TOTALS)


def _added(*parts: Scalar) -> Scalar:
    """What the engine comes to: one after the other."""
    return Scalar(np.add.accumulate(parts)[-1])


@cache
def _names(text: str) -> frozenset[str]:
    """The names in an expression, functions included."""
    return frozenset(compile(text, "<refopt>", "eval").co_names)


@cache
def _function(text: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    known = FUNCTIONS | MISTAKES  # what planted faults compute with, too
    taken = tuple(sorted(_names(text) - known.keys()))
    compute = eval(f"lambda {', '.join(taken)}: {text}", dict(known))

    def function(*given: Any) -> Any:
        value = compute(*given)
        return np.asarray(value) if isinstance(value, np.generic) else value  # NumPy makes scalars of 0-d arrays

    return function, taken
