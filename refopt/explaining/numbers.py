"""Expressions with the numbers that their names stand for, in digits that do not contradict each other."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from refopt.engines.dtypes import HALF, PARAMETER_DTYPES
from refopt.explaining.equations import CALLED, Writer
from refopt.explaining.notation import UNICODE, Level, Part, number
from refopt.explaining.symbols import NamedLine, NormOf
from refopt.spec import sets
from refopt.spec.functions import (
    FROM_SETS,
    FUNCTIONS,
    MEANS,
    OF_MATRICES,
    OF_SETS,
    PROPERTIES,
    REDUCTIONS,
    TOTALS,
    Scalar,
)
from refopt.spec.lines import source_of
from refopt.spec.newton_schulz import matrix

SHOWN = 4  # elements of a tensor that a norm shows
LEFT_OUT = "…"


def _rounding(dtype: np.dtype) -> Callable[[Any], Any]:
    return lambda x: x.astype(dtype) if isinstance(x, np.ndarray) else Scalar(np.float64(x).astype(dtype))


# What ends a step of a half type is shown as a call: w = bfloat16(w).
ROUNDINGS = {name: _rounding(PARAMETER_DTYPES[name]) for name in (*sorted(HALF), "float32")}


def compute(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of an expression, in the arithmetic of the NumPy engine."""
    with np.errstate(all="ignore"):
        return eval(_code(source_of(node)), {**FUNCTIONS, **ROUNDINGS}, dict(values))


@cache
def _code(text: str) -> CodeType:
    return compile(text, "<refopt explain>", "eval")


@dataclass(frozen=True)
class View:
    """How numbers are looked at: arrays of this shape at a flat `coordinate`, in the digits of `dtype` (or `digits`).

    Of what has one number for each index along each dimension, those are seen that the coordinate has; of what has one
    for each row or column, that of the coordinate's.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    coordinate: int
    digits: int | None

    def element(self, value: Any) -> Any:
        """A number, or an array of several."""
        if not isinstance(value, np.ndarray):
            return value
        if value.ndim == len(self.shape) and value.size:
            return value[sets.seen(value.shape, self.shape, self.coordinate)]
        if not value.size:  # a vector has no rows
            return value
        seen = value[list(sets.members(self.shape, self.coordinate))]
        return seen if len(seen) > 1 else seen[0]

    def text(self, value: Any) -> tuple[str, bool]:
        """The shortest digits that tell the number apart, and whether some were left out.

        Elements have the digits of the arithmetic's dtype (float32 for half types, which it holds exactly), what is
        computed once per step or tensor those of float64.
        """
        value = self.element(value)
        if isinstance(value, np.ndarray):
            texts, rounded = zip(*map(self.text, value), strict=True)
            return f"({', '.join(texts)})", any(rounded)
        if isinstance(value, int):
            return str(value), False
        exact = (self.dtype.type if isinstance(value, np.generic) else np.float64)(value)
        if self.digits is None or not np.isfinite(exact):
            return str(exact), False
        text = f"{float(exact):.{self.digits}g}"
        return text, type(exact)(text) != exact


@dataclass
class Numbers:
    """Writes expressions with the values of their names; `rounded` says whether any digits were left out."""

    view: View
    values: Mapping[str, Any]
    rounded: bool = False
    writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        self.writer = Writer(UNICODE, self._leaf)

    def substituted(self, named: NamedLine) -> str:
        """The right-hand side of a line. A norm is written out as what it is."""
        value = named.line.value
        if isinstance(named.target, NormOf) and isinstance(value, ast.Call):
            elements = self._elements(value.args[0])
            squares = [x if x == LEFT_OUT else UNICODE.power(number(x), Part("2")).text for x in elements]
            return UNICODE.root(Part(" + ".join(squares), Level.SUM)).text
        return self.writer.write(value)

    def text(self, value: Any) -> str:
        text, rounded = self.view.text(value)
        self.rounded |= rounded
        return text

    def _leaf(self, node: ast.expr) -> Part | None:
        match node:
            case ast.Name(id="t"):
                return Part(str(int(self.values["t"])))
            case ast.Name():
                return number(self.text(self.values[node.id]))
            case ast.IfExp():  # only the branch that was computed
                test = self.view.element(compute(node.test, self.values))
                return self.writer.part(node.body if test else node.orelse)
            case ast.Call() if source_of(node.func) in REDUCTIONS:
                return UNICODE.norm(Part(f"({', '.join(self._elements(node.args[0]))})"))
            case ast.Call(func=ast.Name(id="vector")):
                return self.writer.part(node.args[0])
            case ast.Call(func=ast.Name(id="outer")):
                return UNICODE.product(*map(self.writer.part, node.args))
            case ast.Call() if source_of(node.func) in MEANS:
                return self._mean(node)
            case ast.Call() if source_of(node.func) in OF_SETS:
                return Part(self._of_sets(node))
            case ast.Call() if source_of(node.func) in FROM_SETS:
                seen = self.view.element(compute(node.args[0], self.values))
                return UNICODE.call(_word(node), [Part(text) for text in self._texts(seen)])
            case ast.Call() if source_of(node.func) in TOTALS:
                return UNICODE.total(Part(", ".join(self._elements(node.args[0]))))
            case ast.Call() if (name := source_of(node.func)) in OF_MATRICES:
                return UNICODE.call(CALLED[name], [Part(text) for text in self._matrix(node.args[0])])
            case ast.Call() if source_of(node.func) in PROPERTIES:
                return number(str(int(compute(node, self.values))))
        return None

    def _of_sets(self, node: ast.Call) -> str:
        """What is taken of each set that the coordinate is in: the elements of its row, of its column, and so on."""
        value = compute(node.args[0], self.values)
        index = np.unravel_index(self.view.coordinate, value.shape)
        mine = [np.take(value, i, axis) for axis, i in enumerate(index)] or [value]
        found = [UNICODE.call(_word(node), [Part(text) for text in self._texts(one)]).text for one in mine]
        return found[0] if len(found) == 1 else f"({', '.join(found)})"

    def _mean(self, node: ast.Call) -> Part:
        """What the mean of the coordinate's row or column is of."""
        name, (value, like, *least) = source_of(node.func), [compute(one, self.values) for one in node.args]
        found = sets.pair(like.shape, *least)
        if found is None:
            raise ValueError(f"{name}: a tensor of shape {like.shape} has none; lines of nothing are left out")
        mine = sets.line(value, self.view.shape, self.view.coordinate, found[MEANS[name]])
        return UNICODE.call(CALLED[name], [Part(text) for text in self._texts(mine)])

    def _matrix(self, node: ast.expr) -> list[str]:
        """The rows of a small matrix; of others the elements."""
        value = compute(node, self.values)
        rows, columns = matrix(value.shape)
        if value.size > SHOWN or rows == 1 or columns == 1:
            return self._texts(value)
        return [f"({', '.join(self._texts(row))})" for row in value.reshape(rows, columns)]

    def _elements(self, node: ast.expr) -> list[str]:
        """The elements of an array expression; of many, the first and the last."""
        return self._texts(compute(node, self.values))

    def _texts(self, value: Any) -> list[str]:
        flat = np.ravel(value)
        if flat.size <= SHOWN:
            return [self.text(x) for x in flat]
        return [*(self.text(x) for x in flat[: SHOWN - 2]), LEFT_OUT, self.text(flat[-1])]


def _word(node: ast.Call) -> str:
    """`max` of max_along."""
    return source_of(node.func).removesuffix("_along")
