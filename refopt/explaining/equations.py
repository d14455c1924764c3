"""Equations from a rule's syntax tree, in either notation."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from refopt.explaining.notation import Level, Part, Unicode, number
from refopt.explaining.symbols import NamedLine, NormOf, Term, is_norm
from refopt.spec.functions import MEANS
from refopt.spec.lines import source_of

OPERATORS = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
CALLED = {
    "maximum": "max",
    "minimum": "min",
    "row_means": "rowmean",
    "column_means": "colmean",
    "newton_schulz": "NS",
    "newton_schulz_dion": "NSD",
}


@dataclass(frozen=True)
class Writer:
    """Writes expressions. `leaf` answers for the parts that it knows: names, or the numbers that they stand for.

    With `squares`, `k * g * g` is written k·g²: the same number on paper, though not to the last bit in a computer.
    """

    notation: Unicode
    leaf: Callable[[ast.expr], Part | None]
    squares: bool = False

    def write(self, node: ast.expr) -> str:
        return self.part(node).text

    def part(self, node: ast.expr) -> Part:
        node = chosen(node)
        if (known := self.leaf(node)) is not None:
            return known
        match node:
            case ast.Constant():
                return number(repr(node.value))
            case ast.UnaryOp(op=ast.USub()):
                return Part(f"{self.notation.minus.strip()}{self._wrapped(node.operand, Level.PRODUCT)}", Level.SIGN)
            case ast.BinOp():
                return self._operation(node)
            case ast.Call():
                return self._call(node)
            case ast.IfExp():
                return self._cases(node)
            case ast.BoolOp():
                level, word = (Level.OR, "or") if isinstance(node.op, ast.Or) else (Level.AND, "and")
                parts = [self._wrapped(value, level) for value in node.values]
                return Part(self.notation.words[word].join(parts), level)
            case ast.Compare():
                text = self._wrapped(node.left, Level.SUM)
                for operator, right in zip(node.ops, node.comparators, strict=True):
                    relation = self.notation.relations[OPERATORS[type(operator)]]
                    text += f" {relation} {self._wrapped(right, Level.SUM)}"
                return Part(text, Level.COMPARE)
        raise SyntaxError(f"{source_of(node)}: {type(node).__name__} has no notation; write it with + - * / ** and if")

    def _wrapped(self, node: ast.expr, least: Level) -> str:
        return self.notation.wrap(self.part(node), least)

    def _operation(self, node: ast.BinOp) -> Part:
        match node.op:
            case ast.Add() | ast.Sub():
                sign = self.notation.plus if isinstance(node.op, ast.Add) else self.notation.minus
                left, right = self._wrapped(node.left, Level.SUM), self._wrapped(node.right, Level.QUOTIENT)
                return Part(left + sign + right, Level.SUM)
            case ast.Mult():
                return self._product(node.left, node.right)
            case ast.Div():
                return self.notation.quotient(self.part(node.left), self.part(node.right))
            case ast.Pow():
                return self.notation.power(self.part(node.left), self.part(node.right))
        raise SyntaxError(f"{source_of(node)}: the operator has no notation; write it with + - * / and **")

    def _product(self, left: ast.expr, right: ast.expr) -> Part:
        if self.squares and source_of(left) == source_of(right):
            return self.notation.power(self.part(right), Part("2"))
        match left:
            case ast.BinOp(op=ast.Mult()) if self.squares and source_of(left.right) == source_of(right):
                return self.notation.product(self.part(left.left), self._product(right, right))
        return self.notation.product(self.part(left), self.part(right))

    def _call(self, node: ast.Call) -> Part:
        name, arguments = source_of(node.func), [self.part(argument) for argument in node.args]
        if name == "sqrt":
            return self.notation.root(arguments[0])
        if name == "norm":
            return self.notation.norm(arguments[0])
        if name == "abs":
            return self.notation.magnitude(arguments[0])
        if name == "total":
            return self.notation.total(arguments[0])
        if name == "outer":
            return self.notation.product(arguments[0], self.notation.transposed(arguments[1]))
        if name in MEANS:
            return self.notation.call(CALLED[name], arguments[:1])
        if name in ("max_along", "min_along"):
            return self.notation.along(name.removesuffix("_along"), arguments[0])
        return self.notation.call(CALLED.get(name, name), arguments)

    def _cases(self, node: ast.IfExp) -> Part:
        """A choice whose `else` is a choice again is one choice of three."""
        rows = []
        otherwise: ast.expr = node
        while isinstance(otherwise, ast.IfExp):
            rows.append((self.part(otherwise.body), self.part(otherwise.test)))
            otherwise = chosen(otherwise.orelse)
        return self.notation.cases(rows, self.part(otherwise))


def chosen(node: ast.expr) -> ast.expr:
    """`where(test, a, b)` as the choice that it is for each element, `a if test else b`; `full_like(x, a)` as a.

    And `vector(x)` as x: the lines of what a tensor has not are not computed for it.
    """
    match node:
        case ast.Call(func=ast.Name(id="where")):
            return ast.IfExp(*node.args)
        case ast.Call(func=ast.Name(id="full_like")):
            return node.args[1]
        case ast.Call(func=ast.Name(id="vector")):
            return node.args[0]
    return node


def term(value: Term, notation: Unicode) -> Part:
    """A name as the notation writes it."""
    if isinstance(value, NormOf):
        return symbols(value.names, notation).part(value.value)
    return notation.symbol(value)


def symbols(names: Mapping[str, Term], notation: Unicode, squares: bool = True) -> Writer:
    """Writes expressions in the symbols that their names stand for."""

    def leaf(node: ast.expr) -> Part | None:
        return term(names[node.id], notation) if isinstance(node, ast.Name) else None

    return Writer(notation, leaf, squares)


def sides(named: NamedLine, notation: Unicode, squares: bool = True) -> tuple[str, str]:
    """The left and the right side of a line's equation. The right side of a norm's says what a norm is."""
    writer = symbols(named.names, notation, squares)
    value = named.line.value
    if isinstance(named.target, NormOf) and isinstance(value, ast.Call) and is_norm(value):
        return term(named.target, notation).text, notation.root_of_squares(writer.part(value.args[0])).text
    return term(named.target, notation).text, writer.write(value)


def aligned(lines: Iterable[NamedLine], notation: Unicode) -> str:
    """The lines' equations as one LaTeX environment."""
    rows = [" &= ".join(sides(line, notation)) for line in lines]
    return "\n".join([r"\begin{aligned}", " \\\\\n".join(rows), r"\end{aligned}"])
