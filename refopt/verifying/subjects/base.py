"""What a subject is, and how hyper-parameters are named by those who wrote it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.spec.errors import RefoptError, Unsupported, given_twice, unknown
from refopt.verifying.candidates import rule_name_of

DTYPE = "float64"  # of the parameters and gradients that probes have: there, rounding hides nothing


def dtype_of_probes(subject: Subject) -> str:
    """float64; or, of a subject that says which `dtypes` it takes and has it not, the finest of those."""
    taken = getattr(subject, "dtypes", (DTYPE,))
    return next(name for name in PARAMETER_DTYPES if name in taken)


class Subject(Protocol):
    """An optimizer that can be made afresh and driven.

    `settable` are the hyper-parameters (by refopt's names) that can be chosen when it is made, `per_step` those that
    can change between steps; `fixed` are the numbers that the user gave. `defaults` are its own.
    """

    name: str
    framework: str
    settable: frozenset[str]
    per_step: frozenset[str]
    fixed: dict[str, float]
    defaults: dict[str, float]
    versions: dict[str, str]

    def __init__(self, name: str, target: Any, options: Mapping[str, Any]) -> None:
        """Read the target's signature and the user's options for it. Raises RefoptError for options that it lacks."""

    @staticmethod
    def takes(target: Any) -> bool:
        """Whether a target is of this kind. Must not import a framework to tell."""

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        """The parameters after each step of a fresh optimizer, in the dtype of the arrays that are given.

        Raises Unsupported if it cannot be made or run so.
        """


@dataclass(frozen=True)
class Signature:
    """What a subject takes: refopt's names to its own, the user's numbers and other options, and its own defaults."""

    argument: dict[str, str]
    fixed: dict[str, float]
    others: dict[str, Any]
    defaults: dict[str, float]


def signature(
    subject: str, target: Callable[..., Any], options: Mapping[str, Any], known: dict[str, str] | None = None
) -> Signature:
    """A target's signature beside the user's options. `known` maps its names for hyper-parameters to refopt's."""
    known = hyper_names(target) if known is None else known
    fixed, others = split_options(subject, options, known)
    taken = arguments(target)
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        for name in others:
            if name not in taken:
                raise unknown(subject, "argument", name, [n for n in taken if n not in ("params", "self")])
    defaults = {
        ours: float(taken[name].default)
        for name, ours in known.items()
        if name in taken and _is_number(taken[name].default)
    }
    # Of two names for one number (lr, and learning_rate that may replace it) the first is meant.
    return Signature({ours: name for name, ours in reversed(known.items())}, fixed, others, defaults)


def arguments(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a function or class, by name."""
    try:
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError) as error:  # some that are written in C have none
        raise Unsupported(f"{error}; wrap it in a Python function") from error


def hyper_names(target: Callable[..., Any]) -> dict[str, str]:
    """The subject's argument names that stand for hyper-parameters, and refopt's names for them."""
    return {name: ours for name in arguments(target) if (ours := rule_name_of(name)) is not None}


def split_options(
    subject: str, options: Mapping[str, Any], known: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, Any]]:
    """The user's options as (numbers by refopt's names, the subject's other arguments).

    `known` maps the subject's argument names to refopt's. refopt's own names are understood as well.
    """
    numbers: dict[str, float] = {}
    others: dict[str, Any] = {}
    for name, value in options.items():
        ours = known.get(name) or (name if name in known.values() else None)
        if ours is not None and _is_number(value):
            if ours in numbers:
                raise given_twice(subject, ours, name)
            numbers[ours] = float(value)
        elif ours is None or not isinstance(value, str):
            others[name] = value  # momentum=None, or a schedule
        else:
            raise RefoptError(f"{subject}: {name} must be a number; got {value!r}")
    return numbers, others


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
