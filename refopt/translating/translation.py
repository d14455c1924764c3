"""The answer of `translate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from refopt.translating.running import Difference

Status = Literal["equivalent", "constant_lr", "none"]


@dataclass(frozen=True)
class Number:
    """A number of the recipe: its name there, its value, and how it is made from the source's (`0.1*(1 - 0.9)`)."""

    name: str
    value: float
    formula: str


@dataclass(frozen=True)
class Carried:
    """A slot of the target, made from those of the source: `u/lr`, and by the frameworks' names in `code`.

    `checked` says whether these names were: the source's by reading it, the target's by writing it and running on.
    `unnamed` are those for which we have no name of the framework's: slots of the rule, with their meaning.
    """

    slot: str
    formula: str
    code: str
    checked: bool
    unnamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reason:
    """A point on which the two disagree: what the source does there, and what the target does."""

    axis: str
    source: str
    target: str
    source_meaning: str
    target_meaning: str


@dataclass(frozen=True)
class Recipe:
    """Code that makes the optimizer, and lines to run before each step (none, if it is to be left alone).

    In `each_step`, `t` is the number of the step, from 1, and `lr` and `lr_before` are the rates of the source.
    """

    code: str
    numbers: tuple[Number, ...]
    state: tuple[Carried, ...] = ()
    each_step: tuple[str, ...] = ()
    constant: Difference | None = None
    changing: Difference | None = None
    handed_over: Difference | None = None


@dataclass(frozen=True)
class Translation:
    """An optimizer in another framework. docs/translate.md explains the statuses.

    `recipe` is the equivalent, or the nearest there is, or None if the framework has no optimizer of this rule.
    `exact` is one that needs a line of code before each step, where the recipe is not equivalent and such a line helps.
    """

    status: Status
    source: str
    to: str
    rule: str
    axes: Mapping[str, str]
    recipe: Recipe | None = None
    exact: Recipe | None = None
    reasons: tuple[Reason, ...] = ()
    defaults: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def equivalent(self) -> bool:
        """Whether the recipe alone does the same at every step, under any schedule of the learning rate."""
        return self.status == "equivalent"

    @property
    def exit_status(self) -> int:
        return 0 if self.equivalent else 1

    def as_dict(self) -> dict[str, Any]:
        """The translation as plain data, for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        from refopt.translating.report import text

        return text(self)
