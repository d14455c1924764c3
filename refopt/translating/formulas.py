"""Formulas of translations: how the numbers and the state of one optimizer are made from those of another.

`lr`, `mu` and the like are the source's numbers at the step, `lr_before` is its rate at the step before, `t` the number
of the step, from 1. A formula that reads `t` or `lr_before` has to be evaluated anew at each step.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from typing import Any

from refopt.spec.functions import FUNCTIONS
from refopt.spec.lines import expression, names_read, source_of, substitute

OF_STEP = {"t", "lr_before"}


def compose(formula: str, known: Mapping[str, str]) -> str:
    """A formula in names that are formulas themselves: `lr*(1-mu)` of `mu = 0`.

    Today's and yesterday's rate are the same formula, read a step apart.
    """
    readings = {name: expression(text) for name, text in known.items()}
    if "lr" in known:
        readings["lr_before"] = substitute(readings["lr"], {"lr": expression("lr_before")})
    return source_of(substitute(expression(formula), readings))


def reads(formula: str) -> set[str]:
    """The names in a formula."""
    return names_read([expression(formula)])


def of_step(formula: str) -> bool:
    """Whether it has to be evaluated anew at each step, even while no number of the source changes."""
    return bool(reads(formula) & OF_STEP)


def evaluate(formula: str, values: Mapping[str, Any]) -> Any:
    """The value of one of our own formulas, of numbers or arrays."""
    return eval(_compiled(formula), dict(FUNCTIONS), dict(values))


def with_numbers(formula: str, values: Mapping[str, float]) -> str:
    """The formula with these numbers in it, as it is printed and runs."""
    return source_of(substitute(expression(formula), {name: ast.Constant(value) for name, value in values.items()}))


@cache
def _compiled(formula: str) -> Any:
    return compile(formula, "<refopt>", "eval")
