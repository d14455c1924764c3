"""Faults: wrong variants of a rule, which the conformance suite must catch.

A fault is to a rule what a choice is, but nobody should make it: edits of the canonical source, with what it does to
training and where people met it. It is planted under whatever choices were asked for, and says nothing of itself: what
it remembers between steps is hidden, as a broken implementation hides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from refopt.spec.edits import Edit


@dataclass(frozen=True)
class Fault:
    """A mistake that changes the mathematics of a rule.

    Attributes:
        name: what is wrong, in words joined by hyphens.
        effect: what it does to training, in one sentence.
        issues: addresses of public reports by people who met it.
        edits: of the lines, after those of the choices.
        reads: names that are read as another expression, in every line.
        begin: lines put before all others; in these, names are read as they are.
        axes: choices that are run in place of those asked for.
        hidden: numbers that it remembers from step to step, and what they start from.
        starts: slots that start from something else.
        only_with: the choices under which it can be planted; where it changes nothing, it is not planted either.
    """

    name: str
    effect: str
    issues: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    begin: tuple[str, ...] = ()
    axes: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, float] = field(default_factory=dict)
    starts: Mapping[str, Literal["zeros", "params"] | float] = field(default_factory=dict)
    only_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
