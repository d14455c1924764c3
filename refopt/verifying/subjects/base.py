"""What a subject is, and how hyper-parameters are named by those who wrote it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from refopt.spec.errors import RefoptError, unknown
from refopt.verifying.candidates import rule_name_of


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
    dtype: str
    notes: tuple[str, ...]

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        """The parameters after each step of a fresh optimizer. Raises Unsupported if it cannot be made or run so."""


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
        if ours is not None and isinstance(value, int | float) and not isinstance(value, bool):
            numbers[ours] = float(value)
        elif ours is None or not isinstance(value, str):
            others[name] = value  # momentum=None, or a schedule
        else:
            raise RefoptError(f"{subject}: {name} must be a number; got {value!r}")
    return numbers, others


def arguments(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a function or class, by name."""
    return dict(inspect.signature(target).parameters)


def hyper_names(target: Callable[..., Any]) -> dict[str, str]:
    """The subject's argument names that stand for hyper-parameters, and refopt's names for them."""
    return {name: ours for name in arguments(target) if (ours := rule_name_of(name)) is not None}


def numeric_defaults(target: Callable[..., Any], known: Mapping[str, str]) -> dict[str, float]:
    """The subject's own defaults, by refopt's names."""
    found = arguments(target)
    return {
        ours: float(found[name].default)
        for name, ours in known.items()
        if isinstance(found[name].default, int | float) and not isinstance(found[name].default, bool)
    }


def check_options(subject: str, others: Mapping[str, Any], target: Callable[..., Any]) -> None:
    """Refuse options that the subject does not take."""
    taken = arguments(target)
    if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return
    for name in others:
        if name not in taken:
            raise unknown(subject, "argument", name, [n for n in taken if n not in ("params", "self")])
