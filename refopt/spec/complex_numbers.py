"""How a rule of real numbers can be meant for complex ones: by the parts of these, or by their modulus.

Both run on pairs of real numbers, the last dimension of every array. By parts the two are numbers like all others. By
the modulus a square is |g|**2, an absolute value |g|, a sign g/|g|, and what is real has its number twice. Where an
update only adds, scales and takes norms, the two are one, and a rule needs no axis to say which.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from functools import cache, reduce
from typing import TypeAlias

from refopt.spec.functions import FROM_SETS, OF_MATRICES, OF_SETS, PROPERTIES, REDUCTIONS, TOTALS
from refopt.spec.hyper import Hyper
from refopt.spec.lines import Line, expression, names_read, source_of
from refopt.spec.program import Program
from refopt.spec.program import program as rules_program

Read: TypeAlias = tuple[ast.expr, bool]

AXIS = "complex"
REFUSE, PARTS, MODULUS = "refuse", "parts", "modulus"
_OF_COMPLEX = {"abs": "size_of", "sign": "direction_of"}


class NoReading(Exception):
    """What this would be of complex numbers, nobody has said."""


def readable(program: Program) -> bool:
    """Whether pairs can stand in for complex numbers: where the shape of a tensor matters, they cannot."""
    of_shapes = OF_SETS | FROM_SETS | {*OF_MATRICES} | PROPERTIES
    both = [one for one in (program, program.evaluate) if one is not None]
    calls = {source_of(node.func) for one in both for line in one.lines for node in ast.walk(line.value)
             if isinstance(node, ast.Call)}  # fmt: skip
    return not calls & of_shapes


def meant(hyper: Hyper) -> Hyper:
    """The same numbers and conventions, with the program that complex parameters are run by, in pairs."""
    found = by_modulus(hyper.program) if hyper.axes.get(AXIS) == MODULUS else hyper.program
    assert found is not None, "refused has said so before"
    return hyper.running(found)


def is_meant(hyper: Hyper) -> bool:
    """Whether this has the program of complex parameters, by the modulus: what `meant` has made."""
    return hyper.axes.get(AXIS) == MODULUS and hyper.program is by_modulus(rules_program(hyper.rule, hyper.axes))


def refused(hyper: Hyper) -> str | None:
    """Why parameters of complex numbers have no update by this rule under these axes, or None."""
    name, program, meaning = hyper.rule.name, hyper.program, hyper.axes.get(AXIS)
    if meaning == REFUSE:
        return (
            f"{name} takes complex parameters by their parts, as torch does, or by the modulus, as optax does, which"
            f" differ; choose {AXIS}={PARTS!r} or {AXIS}={MODULUS!r}"
        )
    other = by_modulus(program) if readable(program) else None
    if not readable(program) or (meaning is None and (other is None or other.code != program.code)):
        why, remedy = "has no update of complex parameters", "optimise real and imaginary parts as two arrays"
    elif meaning == MODULUS and other is None:
        why, remedy = "cannot be read by the modulus", f"choose {AXIS}={PARTS!r}"
    else:
        return None
    return f"{name} {why} under these axes; {remedy}"


@cache
def by_modulus(program: Program) -> Program | None:
    """The same with |x|**2 for x * x, |x| for abs(x) and x/|x| for sign(x) of what is complex; None if it has no such.

    The parameter and the gradient are complex, what is multiplied with itself is not; a slot is what is put into it.
    """
    slots = {slot.name for slot in program.slots}
    found = {slot.name for slot in program.slots if slot.init == "params"} | {"w", "g"}
    try:
        while True:
            reader = _Reader(program, found, strict=False)
            lines = [reader.line(line) for line in program.lines]
            more = found | (reader.known & slots)
            if more == found:
                break
            found = more
        reader = _Reader(program, found, strict=True)
        lines = [reader.line(line) for line in program.lines]
    except NoReading:
        return None
    return replace(program, lines=tuple(lines))


class _Reader:
    """Reads line after line; `known` are the names of what is complex so far, `elements` of what has elements.

    A `strict` one refuses to add a real number to a complex one: one that is not does not know yet which slots are.
    """

    def __init__(self, program: Program, known: set[str], *, strict: bool) -> None:
        self.known, self.strict, self.elements = set(known), strict, set(program.arrays)

    def line(self, line: Line) -> Line:
        value, is_complex = self.read(line.value)
        (self.known.add if is_complex else self.known.discard)(line.target)
        (self.elements.add if _outside_reductions(line.value) & self.elements else self.elements.discard)(line.target)
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
        """Of a product of two, the sum over the parts is the real part of the inner product; what is real of an element
        is there twice, and counts by half. A tensor's norm is there once.
        """
        try:
            value, is_complex = self.read(node.args[0])
        except NoReading:
            return node
        twice = not is_complex and bool(_outside_reductions(value) & self.elements)
        return expression(f"total({'0.5 * ' if twice else ''}{source_of(value)})")


def _outside_reductions(node: ast.AST) -> set[str]:
    """The names that are read element by element."""
    if isinstance(node, ast.Call) and source_of(node.func) in REDUCTIONS | TOTALS:
        return set()
    if isinstance(node, ast.Name):
        return {node.id}
    return set().union(*map(_outside_reductions, ast.iter_child_nodes(node)))


def _real_part(value: ast.expr) -> ast.expr:
    """What is real, as a complex number."""
    return expression(f"real_part({source_of(value)})")


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), node.right]
    return [node]
