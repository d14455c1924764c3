"""How a choice changes its rule's canonical source: edits of named lines.

    line("d = sqrt(v + eps)")          replace the line that assigns d (`...` stands for its old right-hand side)
    before("m", "g = g + wd * w")      insert before the line that assigns m
    after("w", "w = w - lr * wd * w")  insert after the line that assigns w
    within("c1", t="t - 1")            in the line that assigns c1, read `t - 1` wherever it says t
    drop("u")                          remove the line that assigns u

A line is named by what it assigns. Choices apply in the order in which the axes are declared, so a later axis edits
what an earlier one wrote. `refopt.spec.program` does the editing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Edit:
    kind: Literal["line", "before", "after", "within", "drop"]
    target: str | None
    text: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()


def line(text: str) -> Edit:
    """Replace the line that assigns the same name; `...` in it stands for the old right-hand side."""
    return Edit("line", None, (text,))


def before(target: str, *text: str) -> Edit:
    """Insert lines before the line that assigns `target`."""
    return Edit("before", target, text)


def after(target: str, *text: str) -> Edit:
    """Insert lines after the line that assigns `target`."""
    return Edit("after", target, text)


def within(target: str, **names: str) -> Edit:
    """In the line that assigns `target`, read an expression in place of a name."""
    return Edit("within", target, (), tuple(names.items()))


def drop(target: str) -> Edit:
    """Remove the line that assigns `target`."""
    return Edit("drop", target)
