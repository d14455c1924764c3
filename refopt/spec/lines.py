"""Lines of straight-line code (`target = expression`) on Python's own syntax tree, and how to rewrite them.

Nothing here knows about rules. What is rewritten keeps every floating-point operation that is left: `1 * x`, `x / 1`
and `sqrt(1)` are exact and disappear; `x + 0` is not (it turns -0.0 into 0.0) and stays.
"""

from __future__ import annotations

import ast
import copy
import inspect
import operator
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any


@dataclass(frozen=True)
class Line:
    """`target = value`. `origin` names the choice that wrote it ("eps_at=inside_raw"); the canonical lines have none.

    Edits name a line by its target; where several lines assign it, they mean the one that was not inserted.
    """

    target: str
    value: ast.expr
    origin: str = ""
    inserted: bool = False

    @property
    def text(self) -> str:
        return f"{self.target} = {source_of(self.value)}"


@lru_cache(maxsize=1 << 16)  # trees are shared and never changed, so a node is its own key
def source_of(node: ast.AST) -> str:
    """Python source of an expression, with powers written tight, as the rules write them: beta1**t."""
    return ast.unparse(node).replace(" ** ", "**")


@cache
def parse(code: str | Callable[..., Any]) -> tuple[tuple[str, ast.expr], ...]:
    """(target, expression) of each line of a text, or of a function's body but for its docstring and its return."""
    if not isinstance(code, str):
        definition = ast.parse(textwrap.dedent(inspect.getsource(code))).body[0]
        assert isinstance(definition, ast.FunctionDef)
        statements = definition.body
    else:
        statements = ast.parse(code).body
    lines = []
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            lines.append((statement.targets[0].id, statement.value))
        elif not isinstance(statement, ast.Return | ast.Expr):
            raise SyntaxError(f"a rule consists of lines `name = expression`; got: {ast.unparse(statement)}")
    return tuple(lines)


@cache
def expression(text: str) -> ast.expr:
    """The syntax tree of one expression."""
    return ast.parse(text, mode="eval").body


def names_read(values: Iterable[ast.expr]) -> set[str]:
    """The names that expressions read, functions called by them not counted."""
    return set().union(*map(_names, values))


@lru_cache(maxsize=1 << 16)
def _names(node: ast.expr) -> frozenset[str]:
    if isinstance(node, ast.Name):
        return frozenset({node.id})
    children = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return frozenset().union(*(_names(child) for child in children if isinstance(child, ast.expr)))


def rewrite(node: Any, visit: Callable[[ast.expr], ast.expr | None]) -> Any:
    """The expression with every part for which `visit` answers replaced by its answer, the largest parts first.

    Trees are shared, never changed: what holds no such part is returned itself. The names of called functions are not
    visited.
    """
    if not isinstance(node, ast.expr):
        return node
    answer = visit(node)
    if answer is not None or isinstance(node, ast.Name | ast.Constant):
        return node if answer is None else answer
    return _with_parts(node, lambda part: rewrite(part, visit))


def _with_parts(node: ast.expr, new: Callable[[Any], Any]) -> ast.expr:
    """The node with its parts made new; itself if all stay what they are."""
    changed: dict[str, Any] = {}
    for name, value in ast.iter_fields(node):
        if name == "func" and isinstance(node, ast.Call):
            continue
        part = [new(item) for item in value] if isinstance(value, list) else new(value)
        same = all(map(operator.is_, part, value)) if isinstance(value, list) else part is value
        if not same:
            changed[name] = part
    if not changed:
        return node
    made = copy.copy(node)
    vars(made).update(changed)
    return made


def substitute(value: ast.expr, readings: Mapping[str, ast.expr]) -> ast.expr:
    """The expression with names read as other expressions."""
    if readings.keys().isdisjoint(_names(value)):
        return value
    return rewrite(value, lambda node: readings.get(node.id) if isinstance(node, ast.Name) else None)


def fill(value: ast.expr, old: ast.expr) -> ast.expr:
    """The expression with `...` replaced by `old`."""
    return rewrite(value, lambda node: old if isinstance(node, ast.Constant) and node.value is Ellipsis else None)


def propagate(lines: Sequence[Line], keep: set[str]) -> list[Line]:
    """Put constants and copies in their place: `x = 1` and `x = y` disappear.

    Not if x is in `keep`, and not if y changes later: then x is what y has been.
    """
    known: dict[str, ast.expr] = {}
    done: list[Line] = []
    for i, line in enumerate(lines):
        value = _exact(substitute(line.value, known))
        known = {k: v for k, v in known.items() if k != line.target and line.target not in names_read([v])}
        changes = {later.target for later in lines[i + 1 :]}
        copy_of_what_stays = isinstance(value, ast.Constant) or (
            isinstance(value, ast.Name) and value.id not in changes
        )
        if copy_of_what_stays and line.target not in keep:
            known[line.target] = value
        else:
            done.append(replace(line, value=value))
    return done


@lru_cache(maxsize=1 << 16)
def _exact(node: Any) -> Any:
    """The expression without operations with 1 that change no bit, from the smallest parts up."""
    if not isinstance(node, ast.expr) or isinstance(node, ast.Name | ast.Constant):
        return node
    new = _with_parts(node, _exact)
    if isinstance(new, ast.BinOp):
        if isinstance(new.op, ast.Mult | ast.Div | ast.Pow) and _is_one(new.right):
            return new.left
        if isinstance(new.op, ast.Mult) and _is_one(new.left):
            return new.right
    if isinstance(new, ast.Call) and source_of(new) == "sqrt(1)":
        return new.args[0]
    return new


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def inputs(lines: Sequence[Line]) -> set[str]:
    """The names that the lines read before they assign them."""
    read: set[str] = set()
    for line in reversed(lines):
        read = (read - {line.target}) | names_read([line.value])
    return read


def prune(lines: Sequence[Line], wanted: set[str], slots: set[str]) -> tuple[list[Line], set[str]]:
    """The lines that `wanted` depends on over any number of steps, and the slots that carry it from step to step."""
    alive = set(wanted)
    while True:
        needed, kept = set(alive), []
        for line in reversed(lines):
            if line.target in needed:
                needed = (needed - {line.target}) | names_read([line.value])
                kept.append(line)
        more = (needed & slots) | alive
        if more == alive:
            return kept[::-1], alive & slots
        alive = more
