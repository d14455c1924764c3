"""What a driver is, and what its target takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Arrays = Sequence[np.ndarray]
DTYPES = ("float64", "float32")  # of the arrays that a driver takes, if it does not say
NEEDED = inspect.Parameter.empty  # the default of an argument that must be given

# Two numbers that frameworks have as one argument, by names of their own where these have two; of betas, some have
# three.
PAIRS: dict[str, tuple[str, ...]] = {
    "betas": ("beta1", "beta2", "beta3"),
    "eps": ("eps1", "eps2"),
    "etas": ("etaminus", "etaplus"),
    "step_sizes": ("step_size_min", "step_size_max"),
}


class Refusal(Exception):
    """The target cannot be driven so; the message says why."""


class NoTarget(Exception):
    """What was given, or its name, is no target: the user has to give another."""


class Driver(Protocol):
    """One optimizer, which can be started afresh and stepped.

    `arguments` are those of the target, with their defaults; those that are numbers can be set at the start, those in
    `per_step` can change between steps as well (None: all can). `any_argument` says whether it takes others too.
    If it is an average, what is stepped through is not gradients but parameters, and what comes back their average.

    A driver may have more: `any_number`, whether it takes every number that a rule has; `dtypes`, where they are not
    DTYPES; `stated`, whether its numbers can be neither set nor read, so that whoever asks has to say what they are;
    `put_on(device)`; and `widen`, true if it makes the parameters' dtype the default of its framework while it
    runs, so that no coefficient is rounded to less: that shows the formula best.
    """

    @property
    def framework(self) -> str: ...
    @property
    def average(self) -> bool: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def any_argument(self) -> bool: ...
    @property
    def per_step(self) -> frozenset[str] | None: ...
    @property
    def versions(self) -> Mapping[str, str]: ...

    def __init__(self, target: Any) -> None: ...

    @staticmethod
    def takes(target: Any) -> bool:
        """Whether a target is of this kind. Must not import a framework to tell."""

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        """Make a fresh optimizer of these parameters. Raises Refusal if it cannot be; or whatever the target raises."""

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        """The parameters after a step, with all numbers that hold in it."""


def arguments(target: Callable[..., Any], *skipped: str) -> dict[str, Any]:
    """The arguments of a function or class and their defaults, but for those that are skipped."""
    try:
        found = inspect.signature(target).parameters.values()
    except (TypeError, ValueError) as error:  # some that are written in C have none
        raise Refusal(f"{error}; wrap it in a Python function") from error
    named = (p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return {p.name: p.default for p in named if p.name not in skipped}


def parts_of(name: str, value: Any) -> tuple[str, ...]:
    """The names of the numbers in an argument; none if it is no pair."""
    names = PAIRS.get(name, ())
    return names[: len(value)] if isinstance(value, tuple | list) and 2 <= len(value) <= len(names) else ()


def pairs_in(taken: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The arguments that are a pair of numbers, and the names of its parts. (Of betas, some have three.)"""
    return {name: names for name in PAIRS if (names := parts_of(name, taken.get(name)))}


def with_parts(taken: Mapping[str, Any], pairs: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, Any]]:
    """The arguments, with the two numbers of a pair beside it."""
    for name, default in taken.items():
        yield name, default
        if name in pairs:
            yield from zip(pairs[name], default, strict=True)


def paired(
    numbers: Mapping[str, Any], pairs: Mapping[str, tuple[str, ...]], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The numbers as the target takes them. A rule may have one of two: the other stays as it is."""
    given = dict(numbers)
    for name, two in pairs.items():
        if any(one in given for one in two):
            given[name] = tuple(given.pop(one, arguments[one]) for one in two)
    return given


def takes_any(target: Callable[..., Any]) -> bool:
    """Whether a function has `**arguments`."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(target).parameters.values())


def names_of(target: Any) -> list[str]:
    """The names of a function's arguments in order; none if it has no signature that can be read."""
    try:
        return list(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return []


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def ancestors(target: Any) -> list[str]:
    """The full names of a class and its bases, or of those of an object."""
    kind = target if isinstance(target, type) else type(target)
    return [f"{c.__module__}.{c.__qualname__}" for c in kind.__mro__]
