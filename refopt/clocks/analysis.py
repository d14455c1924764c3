"""The clock of every line of a program."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from enum import IntEnum
from functools import cache

from refopt.spec.functions import FROM_SETS, OF_MATRICES, OF_SETS, PROPERTIES, REDUCTIONS, TOTALS
from refopt.spec.lines import source_of
from refopt.spec.program import Program


class Clock(IntEnum):
    """How often a value is computed; an expression takes the fastest clock in it."""

    STEP = 0
    MODEL = 1
    TENSOR = 2
    SET = 3
    ELEMENT = 4

    def __str__(self) -> str:
        return self.name.lower()


def clock_of(node: ast.expr, names: Mapping[str, Clock]) -> Clock:
    """The clock of an expression, given those of the names in it."""
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise NameError(f"{node.id!r} is read before it is assigned; the names known here are {', '.join(names)}")
        return names[node.id]
    if isinstance(node, ast.Call) and source_of(node.func) in TOTALS:
        return Clock.MODEL
    if isinstance(node, ast.Call) and source_of(node.func) in REDUCTIONS | PROPERTIES:
        return Clock.TENSOR
    if isinstance(node, ast.Call) and source_of(node.func) in OF_SETS:
        return Clock.SET
    if isinstance(node, ast.Call) and source_of(node.func) in FROM_SETS:
        return Clock.ELEMENT
    operands = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return max((clock_of(child, names) for child in operands if isinstance(child, ast.expr)), default=Clock.STEP)


def initial_clocks(program: Program) -> dict[str, Clock]:
    """The clocks of what a program is given."""
    step = ["t", *program.hypers, *(slot.name for slot in program.numbers)]
    tensor = [slot.name for slot in program.tensors]
    return (
        dict.fromkeys(step, Clock.STEP)
        | dict.fromkeys(tensor, Clock.TENSOR)
        | dict.fromkeys(program.arrays, Clock.ELEMENT)
        | dict.fromkeys(program.sets, Clock.SET)
    )


@cache
def clocks(program: Program) -> tuple[Clock, ...]:
    """The clock of each line."""
    names = initial_clocks(program)
    found = []
    for line in program.lines:
        names[line.target] = clock_of(line.value, names)
        found.append(names[line.target])
    return tuple(found)


@cache
def of_elements(program: Program) -> bool:
    """Whether no element depends on another, nor on the tensor that it stands in."""
    return not (looks_along(program) or {Clock.MODEL, Clock.TENSOR} & {*clocks(program)})


@cache
def looks_along(program: Program) -> bool:
    """Whether it looks along dimensions: an element may depend on those of its row, or of the matrix it stands in."""
    return bool(program.sets) or Clock.SET in clocks(program) or bool(matrix_functions(program))


@cache
def matrix_functions(program: Program) -> tuple[str, ...]:
    """The functions that it calls which take a tensor as a matrix, all elements at once."""
    calls = (node for line in program.lines for node in ast.walk(line.value) if isinstance(node, ast.Call))
    return tuple(dict.fromkeys(name for node in calls if (name := source_of(node.func)) in OF_MATRICES))


@cache
def has_rows(program: Program) -> bool:
    """Whether it keeps something of rows and columns, which vectors do not have."""
    return any(slot.of in ("rows", "columns") for slot in program.slots)


@cache
def of_model(program: Program) -> bool:
    """Whether an element may depend on those of all parameters."""
    return Clock.MODEL in clocks(program)


@cache
def estimates(program: Program) -> bool:
    """Whether a number that is kept for the whole model is made from its arrays."""
    last = dict(zip((line.target for line in program.lines), clocks(program), strict=True))
    return any(last.get(slot.name) is Clock.MODEL for slot in program.numbers)
