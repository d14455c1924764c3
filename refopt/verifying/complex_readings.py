"""How a rule of real numbers can be meant for complex ones: by the parts of these, or by their modulus.

Both are run on pairs of real numbers, the last dimension of every array. The pair of what is real in a complex program,
as a square of the modulus, has the number twice. Where an update only adds, scales and takes norms, the two are one.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import reduce
from typing import TypeAlias

from refopt.spec.functions import FROM_SETS, OF_MATRICES, OF_SETS, PROPERTIES
from refopt.spec.lines import Line, expression, names_read, source_of
from refopt.spec.program import Program
from refopt.verifying.shared import names_in

Read: TypeAlias = tuple[ast.expr, bool]


PARTS, MODULUS, EITHER = "parts", "modulus", "either"
ANALYTIC, REFUSED, REAL, NEITHER = "analytic", "refused", "real", "neither"
MEANING = {
    PARTS: "real and imaginary parts are numbers of their own",
    MODULUS: "a square is |g|**2, an absolute value |g|, a sign g/|g|",
    EITHER: "by parts or by the modulus: of this rule, they are the same",
    REFUSED: "it takes no complex parameters",
    REAL: "it drops the imaginary parts",
    ANALYTIC: "in complex arithmetic: g * g is the complex square, which may be negative or imaginary",
    NEITHER: "neither by parts nor by the modulus, nor, if it takes no norms, in complex arithmetic as it stands",
}
_OF_COMPLEX = {"abs": "size_of", "sign": "direction_of"}


class NoReading(Exception):
    """What this would be of complex numbers, nobody has said."""


def readable(program: Program) -> bool:
    """Whether pairs can stand in for complex numbers: where the shape of a tensor matters, they cannot."""
    of_shapes = OF_SETS | FROM_SETS | {*OF_MATRICES} | PROPERTIES
    return program.writes_parameter and program.reads_gradient and not names_in(program.lines) & of_shapes


def by_modulus(program: Program) -> Program | None:
    """The same with |x|**2 for x * x, |x| for abs(x) and x/|x| for sign(x) of what is complex; None if it has no such.

    The parameter and the gradient are complex, what is multiplied with itself is not; a slot is what is put into it.
    """
    slots = {slot.name for slot in program.slots}
    found = {slot.name for slot in program.slots if slot.init == "params"} | {"w", "g"}
    try:
        while True:
            reader = _Reader(set(found), strict=False)
            lines = [reader.line(line) for line in program.lines]
            more = found | (reader.known & slots)
            if more == found:
                break
            found = more
        reader = _Reader(set(found), strict=True)
        lines = [reader.line(line) for line in program.lines]
    except NoReading:
        return None
    return replace(program, lines=tuple(lines))


class _Reader:
    """Reads line after line; `known` are the names of what is complex so far.

    A `strict` one refuses to add a real number to a complex one: one that is not does not know yet which slots are.
    """

    def __init__(self, known: set[str], *, strict: bool) -> None:
        self.known, self.strict = known, strict

    def line(self, line: Line) -> Line:
        value, is_complex = self.read(line.value)
        (self.known.add if is_complex else self.known.discard)(line.target)
        return replace(line, value=value)

    def read(self, node: ast.expr) -> Read:
        """The expression as complex numbers have it, and whether it is one."""
        if isinstance(node, ast.Name | ast.Constant):
            return node, isinstance(node, ast.Name) and node.id in self.known
        if isinstance(node, ast.UnaryOp):
            value, is_complex = self.read(node.operand)
            return ast.UnaryOp(node.op, value), is_complex
        if isinstance(node, ast.IfExp):
            (yes, one), (no, other) = self.read(node.body), self.read(node.orelse)
            if one != other:
                yes, no = (yes, _real_part(no)) if one else (_real_part(yes), no)
            return ast.IfExp(node.test, yes, no), one or other
        if isinstance(node, ast.BinOp):
            return self.product(_factors(node)) if isinstance(node.op, ast.Mult) else self.operation(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self.call(node, node.func.id)
        if names_read([node]) & self.known:
            raise NoReading(source_of(node))
        return node, False

    def operation(self, node: ast.BinOp) -> Read:
        (left, one), (right, other) = self.read(node.left), self.read(node.right)
        divides = isinstance(node.op, ast.Div)
        if other if divides else one != other and self.strict:  # g + eps would be to the real part alone
            raise NoReading(source_of(node))
        return ast.BinOp(left, node.op, right), one or other

    def product(self, factors: list[ast.expr]) -> Read:
        """A product, in which a complex factor may stand twice, and then is a square."""
        read = [self.read(factor) for factor in factors]
        twice = [source_of(value) for value, is_complex in read if is_complex]
        if len(twice) == 2 and twice[0] == twice[1]:
            read = [one for one in read if not one[1]] + [(expression(f"square_of({twice[0]})"), False)]
        elif len(twice) > 1:
            raise NoReading(" * ".join(twice))
        product = reduce(lambda a, b: ast.BinOp(a, ast.Mult(), b), [value for value, _ in read])
        return product, any(is_complex for _, is_complex in read)

    def call(self, node: ast.Call, name: str) -> Read:
        if name == "total":
            return self.total(node), False
        read = [self.read(argument) for argument in node.args]
        is_complex = [answer for _, answer in read]
        new = ast.Call(node.func, [value for value, _ in read], node.keywords)
        if not any(is_complex):
            return new, False
        if name in ("norm", "full_like"):  # a norm of complex numbers is that of their parts
            return new, False
        if name in _OF_COMPLEX:
            return expression(f"{_OF_COMPLEX[name]}({source_of(read[0][0])})"), name == "sign"
        if name == "where" and not is_complex[0]:
            return new, True
        raise NoReading(source_of(node))

    def total(self, node: ast.Call) -> ast.expr:
        """Of a product of two, the sum over the parts is the real part of the inner product; what is real is there
        twice.
        """
        try:
            value, is_complex = self.read(node.args[0])
        except NoReading:
            return node
        return expression(f"{'' if is_complex else '0.5 * '}total({source_of(value)})")


def _real_part(value: ast.expr) -> ast.expr:
    """What is real, as a complex number."""
    return expression(f"real_part({source_of(value)})")


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), node.right]
    return [node]
