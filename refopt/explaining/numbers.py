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
from refopt.explaining.equations import Writer
from refopt.explaining.notation import UNICODE, Level, Part, number
from refopt.explaining.symbols import NamedLine, NormOf
from refopt.spec.functions import FUNCTIONS, REDUCTIONS, TOTALS, Scalar
from refopt.spec.lines import source_of

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
    """How numbers are looked at: arrays at a flat `coordinate`, in the digits of `dtype` (or in `digits` of them)."""

    dtype: np.dtype
    coordinate: int
    digits: int | None

    def element(self, value: Any) -> Any:
        return value.reshape(-1)[self.coordinate] if isinstance(value, np.ndarray) else value

    def text(self, value: Any) -> tuple[str, bool]:
        """The shortest digits that tell the number apart, and whether some were left out.

        Elements have the digits of the arithmetic's dtype (float32 for half types, which it holds exactly), what is
        computed once per step or tensor those of float64.
        """
        value = self.element(value)
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
            case ast.Call() if source_of(node.func) in TOTALS:
                return UNICODE.total(Part(", ".join(self._elements(node.args[0]))))
            case ast.Call() if source_of(node.func) == "ndim":
                return number(str(int(compute(node, self.values))))
        return None

    def _elements(self, node: ast.expr) -> list[str]:
        """The elements of an array expression; of many, the first and the last."""
        flat = np.ravel(compute(node, self.values))
        if flat.size <= SHOWN:
            return [self.text(x) for x in flat]
        return [*(self.text(x) for x in flat[: SHOWN - 2]), LEFT_OUT, self.text(flat[-1])]
