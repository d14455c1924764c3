"""A rule at work with the numbers in it: the specialised source, line by line, as the NumPy engine computes it.

Hyper-parameters, `t` and the numbers of a step are weak float64 scalars, arrays have the dtype of the arithmetic. Each
line is evaluated alone, so that what is shown is what was computed, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from refopt.engines.dtypes import HALF, compute_dtype
from refopt.explaining.equations import sides, term
from refopt.explaining.explanation import Explanation, Given, Step, TracedLine
from refopt.explaining.inputs import Inputs, check_count, inputs
from refopt.explaining.notation import UNICODE
from refopt.explaining.numbers import Numbers, View, compute
from refopt.explaining.symbols import NamedLine, named_lines
from refopt.rules import get_rule
from refopt.spec.declare import Rule, Slot
from refopt.spec.functions import Scalar
from refopt.spec.hyper import Hyper
from refopt.spec.lines import Line, expression
from refopt.spec.program import Program


def explain(
    rule: str | Rule,
    *,
    dialect: str | None = None,
    steps: int = 3,
    dtype: str = "float64",
    params: Any = None,
    grads: Any = None,
    coordinate: int = 0,
    digits: int | None = None,
    **options: Any,
) -> Explanation:
    """Every line of `steps` steps on one tensor: in symbols, with the numbers, its value and its clock.

    `params` is the parameter before the first step, `grads` one gradient per step; without them, a small example. A
    rule that leaves the parameter alone (ema) takes no gradients, and as `params` the parameter before the first step
    and at each. Element values are shown at `coordinate`, an index into the flat array. Numbers have all the digits
    that tell them apart in their dtype, or `digits` significant ones (then with ≈ where that rounds). `options` are
    hyper-parameters and axis choices. Raises RefoptError for what does not fit together.
    """
    hyper = get_rule(rule).hyper(dialect=dialect, **options)
    check_count(hyper.rule.name, "steps", steps)
    if digits is not None:
        check_count(hyper.rule.name, "digits", digits)
    given = inputs(hyper, steps, dtype, params, grads, coordinate)
    run = _Run(hyper, given, digits)
    traced = tuple(run.step(t) for t in range(1, steps + 1))
    return Explanation(hyper, dtype, given.params[0].shape, coordinate, traced)


class _Run:
    """Walks through the steps; keeps the parameter and the slots between them, as the engine does."""

    def __init__(self, hyper: Hyper, given: Inputs, digits: int | None) -> None:
        self.hyper = hyper
        self.given = given
        self.view = View(compute_dtype(given.dtype), given.params[0].shape, given.coordinate, digits)
        self.w = given.params[0]
        self.slots = {slot.name: self.initial(slot) for slot in hyper.program.slots}

    def initial(self, slot: Slot) -> Any:
        if slot.clock in ("tensor", "step"):
            return Scalar(0.0 if slot.init == "zeros" else slot.init)
        if slot.init == "params":
            return self.w.astype(self.view.dtype)
        return np.full(slot.shape(self.w.shape), 0.0 if slot.init == "zeros" else slot.init, self.view.dtype)

    def kept(self, slot: Slot, value: Any) -> Any:
        """A slot as it is kept: a number for the tensor is rounded as the elements of arrays are."""
        if slot.clock == "step":
            return value
        if slot.clock == "tensor":
            return Scalar(self.view.dtype.type(value))
        return value.astype(self.view.dtype, copy=False)

    def step(self, t: int) -> Step:
        program = self.hyper.program
        if not program.writes_parameter:
            self.w = self.given.params[t]
        values = {"w": self.w.astype(self.view.dtype), **self.slots}
        if self.given.grads is not None:
            values["g"] = self.given.grads[t - 1].astype(self.view.dtype)
        start = self.named(program, t)[0].names
        names = (*program.arrays, *(slot.name for slot in (*program.tensors, *program.numbers)))
        names = tuple(name for name in names if np.size(values[name]))
        shown = tuple(Given(term(start[name], UNICODE).text, *self.view.text(values[name])) for name in names)
        lines, values = self.run(program, t, values)
        self.w = values["w"].astype(self.given.dtype)
        self.slots = {slot.name: self.kept(slot, values[slot.name]) for slot in program.slots}
        if program.evaluate:
            lines += self.run(program.evaluate, t, self.slots, after_step=True)[0]
        return Step(t, shown, tuple(lines))

    def named(self, program: Program, t: int, after_step: bool = False) -> tuple[NamedLine, ...]:
        return named_lines(self.hyper.rule, program, now=str(t), before=str(t - 1), after_step=after_step)

    def run(
        self, program: Program, t: int, given: Mapping[str, Any], after_step: bool = False
    ) -> tuple[list[TracedLine], dict[str, Any]]:
        """The lines with their values, and all values after them."""
        values = {**{name: Scalar(self.hyper.values[name]) for name in program.hypers}, **given, "t": Scalar(t)}
        traced = []
        for named in self.named(_with_rounding(program, self.given.dtype.name, self.hyper.axes), t, after_step):
            value = compute(named.line.value, values)
            if np.size(value):  # a vector has no rows, a matrix is no vector
                traced.append(self.trace(named, values, value))
            values[named.line.target] = value
        return traced, values

    def trace(self, named: NamedLine, values: Mapping[str, Any], value: Any) -> TracedLine:
        numbers = Numbers(self.view, values)
        symbol, right = sides(named, UNICODE, squares=False)
        substituted, shown = numbers.substituted(named), numbers.text(value)
        return TracedLine(
            target=named.line.target,
            symbol=symbol,
            symbols=right,
            substituted=substituted,
            shown=shown,
            value=np.asarray(self.view.element(value)).tolist(),
            rounded=numbers.rounded,
            clock=named.clock,
            origin=named.line.origin,
        )


def _with_rounding(program: Program, dtype: str, axes: Mapping[str, str]) -> Program:
    """The program with the roundings that end it as lines of their own.

    They are those to a half type, of its result and maybe of its state, and that of a number for the tensor, which is
    computed in float64, to the dtype that state has.
    """
    half, pure = dtype in HALF, dtype in HALF and axes.get("state_dtype") == "parameter"
    kept, reason = (dtype, "state_dtype=parameter") if pure else ("float32", "kept in float32")
    rounded = {name: (dtype, f"dtype={dtype}") for name in program.outputs if half and name in ("w", "a")}
    for slot in program.slots:
        if slot.name in program.outputs and ((slot.clock in ("element", "set") and pure) or slot.clock == "tensor"):
            rounded[slot.name] = (kept, reason)
    if dtype == "float64" or not rounded:
        return program
    lines = (Line(name, expression(f"{kind}({name})"), origin) for name, (kind, origin) in rounded.items())
    return replace(program, lines=(*program.lines, *lines))
