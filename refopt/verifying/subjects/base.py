"""What a subject is, and how hyper-parameters are named by those who wrote it."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError, given_twice, unknown
from refopt.verifying.candidates import is_negated, rule_name_of
from refopt.verifying.drivers.base import NEEDED, PAIRS, is_number

Result = TypeVar("Result")
SomeSubject = TypeVar("SomeSubject", bound="Subject")
DTYPE = "float64"  # of the parameters and gradients that probes have: there, rounding hides nothing
# Whose 0, or None, is no convention: they are probed where the user gives them, or the subject has another number.
QUIET = {"eps_root", "rms"}


def dtype_of_probes(subject: Subject) -> str:
    """float64; or, of a subject that has it not, the finest of those that it takes."""
    return next(name for name in PARAMETER_DTYPES if name in subject.interface.dtypes)


@dataclass(frozen=True)
class Interface:
    """What a subject takes.

    `arguments` are those that can be set when it is made, with their defaults: numbers, None for none, or anything;
    `per_step` are those that can change between steps (None: all). With `any_argument` it takes others as well, with
    `any_number` every number that a rule has. If it is `stated`, it takes none: those that the user gives are
    what it was made with. An `average` is given parameters in place of gradients.
    """

    arguments: Mapping[str, Any]
    per_step: frozenset[str] | None = None
    any_argument: bool = False
    any_number: bool = False
    stated: bool = False
    average: bool = False
    dtypes: Sequence[str] = (DTYPE,)
    framework: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Names:
    """What a subject calls its numbers, and which the user has given.

    `argument` has refopt's names and the subject's for them; `settable` are those that can be chosen when it is made,
    `per_step` those that can change between steps; `fixed` are the numbers that the user gave, `others` the arguments
    that are none. `defaults` are its own numbers. Those in `negated` have the other sign there.
    """

    argument: Mapping[str, str]
    settable: frozenset[str]
    per_step: frozenset[str]
    fixed: Mapping[str, float]
    others: Mapping[str, Any]
    defaults: Mapping[str, float]
    negated: frozenset[str] = frozenset()

    def own(self, hyper: Mapping[str, float]) -> dict[str, float]:
        """Numbers by the subject's own names, and with its signs."""
        return {self.argument[name]: -value if name in self.negated else value for name, value in hyper.items()}


class Subject(Protocol):
    """An optimizer, or an average, that can be made afresh and driven.

    `step_seconds` are how long each step has taken when it was driven last, `options` what the user has given.
    """

    name: str
    interface: Interface
    options: Mapping[str, Any]
    names: Names
    step_seconds: list[float]

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        """The parameters after each step of a fresh optimizer, in the dtype of the arrays that are given.

        Raises Unsupported if it cannot be made or run so.
        """

    def close(self) -> None:
        """Give back what it holds: nothing more will be asked of it."""


def timed(steps: Iterable[Result], seconds: list[float]) -> Iterator[Result]:
    """The steps, and in `seconds` how long each one took."""
    start = time.perf_counter()
    for step in steps:
        now = time.perf_counter()
        seconds.append(now - start)
        yield step
        start = time.perf_counter()


def under(subject: SomeSubject, rule: Rule) -> SomeSubject:
    """The same subject, whose numbers are named as this rule names them: `alpha` is not the same to every rule."""
    new = copy.copy(subject)
    new.names = names(subject.name, subject.interface, subject.options, rule)
    return new


def names(subject: str, interface: Interface, options: Mapping[str, Any], rule: Rule | None = None) -> Names:
    """A subject's names beside the user's options. Raises RefoptError for options that it has not."""
    taking = options if interface.stated else interface.arguments
    single = [own for own in taking if not isinstance(interface.arguments.get(own), tuple)]  # pairs go by their parts
    known = {own: ours for own in single if (ours := rule_name_of(own, average=interface.average, rule=rule))}
    if interface.any_number:
        known |= {name: name for name in _all_numbers(interface.average) if name not in known.values()}
    fixed, others = split_options(subject, options, known)
    negated = frozenset(ours for own, ours in known.items() if is_negated(own, ours, rule))
    fixed = {name: -value if name in negated else value for name, value in fixed.items()}
    for name in others:
        if name not in interface.arguments and not interface.any_argument:
            raise unknown(subject, "argument", name, interface.arguments)
    # Of two names for one number (lr, and learning_rate that may replace it) the first is meant.
    argument = {ours: own for own, ours in reversed(known.items())}
    may = {ours for ours, own in argument.items() if interface.per_step is None or own in interface.per_step}
    taken = interface.arguments
    defaults = {n: float(taken[own]) for n, own in reversed(argument.items()) if is_number(taken.get(own))}
    defaults = {name: -value if name in negated else value for name, value in defaults.items()}
    left_alone = (n for n in QUIET - set(fixed) if not defaults.get(n) and taken.get(argument.get(n, "")) is not NEEDED)
    settable = frozenset(argument) - {*left_alone}
    return Names(argument, settable, settable & may, fixed, others, defaults, negated)


def _all_numbers(average: bool) -> list[str]:
    rules = (rule for rule in RULES.values() if rule.average == average)
    return list(dict.fromkeys(p.name for rule in rules for p in rule.hyper_parameters))


def split_options(
    subject: str, options: Mapping[str, Any], known: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, Any]]:
    """The user's options as (numbers by refopt's names, the subject's other arguments).

    `known` maps the subject's argument names to refopt's. refopt's own names are understood as well.
    """
    numbers: dict[str, float] = {}
    others: dict[str, Any] = {}
    for name, value in _spread(subject, options, known).items():
        ours = known.get(name) or (name if name in known.values() else None)
        if ours is not None and is_number(value):
            if ours in numbers:
                raise given_twice(subject, ours, name)
            numbers[ours] = float(value)
        elif ours is None or not isinstance(value, str):
            others[name] = value  # momentum=None, or a schedule
        else:
            raise RefoptError(f"{subject}: {name} must be a number; got {value!r}")
    return numbers, others


def _spread(subject: str, options: Mapping[str, Any], known: Mapping[str, str]) -> Mapping[str, Any]:
    """betas=(0.9, 0.999) as its two numbers, where these have names."""
    spread = dict(options)
    for name, names in PAIRS.items():
        given = options.get(name)
        parts = [one for one in names if one in known or one in known.values()]
        if isinstance(given, tuple | list) and len(parts) > 1:
            if len(given) != len(parts):
                count = "two" if len(parts) == 2 else "three"
                raise RefoptError(f"{subject}: {name} must be {count} numbers; got {given!r}")
            del spread[name]
            spread |= zip(parts, given, strict=True)
    return spread
