"""A program cut along its clocks: what the host computes per step, then passes over the elements.

The plan of `w = w - lr * trust * (g + wd * w)` with `trust = tc * norm(w) / norm(g)` is

    host, per step       k0 = wd
    stage 1, reductions  r0 = norm(w), r1 = norm(g)
             per tensor  trust = tc * r0 / r1;  q0 = lr * trust
    update, per element  w = w - q0 * (g + k0 * w)

Step and tensor values are computed in float64 (`k`, `q`: coefficients, rounded once to the arrays' dtype, exactly as
NumPy rounds a Python float beside an array). A reduction of a computed quantity (LAMB's norm of the update) carries
the element lines that it needs and computes them again. A total over the model (Prodigy's distance) is a reduction of
every tensor, whose results the host adds up; what follows from it, the host computes before the next stage. Tests on
the step (`t == 1`) are decided by the host: a plan is made for each outcome, so that what an element sees is
straight-line. What looks along dimensions is cut out before (`pieces`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from refopt.clocks.analysis import Clock, clock_of, initial_clocks
from refopt.spec.functions import REDUCTIONS
from refopt.spec.lines import Line, expression, names_read, prune, rewrite, source_of, substitute
from refopt.spec.program import Program, is_total

ONCE = (Clock.STEP, Clock.MODEL)  # what the host computes


@dataclass(frozen=True)
class Reduction:
    """`name = function(value)`: one float64 per tensor. `lines` compute from the arrays what `value` reads.

    The function `norm` is that of the tensor; `total` is the tensor's part of the model's.
    """

    name: str
    function: str
    lines: tuple[Line, ...]
    value: ast.expr


@dataclass(frozen=True)
class Stage:
    """A pass that reduces, and what can be computed after it: tensor lines, totals, and host lines that need these."""

    reductions: tuple[Reduction, ...]
    lines: tuple[Line, ...]
    totals: tuple[tuple[str, str], ...]  # of each: its name, and that of the tensor value which it adds up
    host: tuple[Line, ...]


@dataclass(frozen=True)
class Plan:
    """See the module's text. `step` lines run on the host in order; they assign `coefficients` and `scalars`."""

    program: Program
    step: tuple[Line, ...]
    coefficients: tuple[str, ...]  # step and model values that element lines read, rounded to the arrays' dtype
    scalars: tuple[str, ...]  # step and model values that tensor lines read, in float64
    stages: tuple[Stage, ...]
    tensor_coefficients: tuple[str, ...]  # tensor values that element lines read, rounded to the arrays' dtype
    update: tuple[Line, ...]


@cache
def tests(program: Program) -> Mapping[str, ast.expr]:
    """The conditions on the step that choose between element expressions; the host decides them.

    By their source: the same in terms of what the step begins with, for they are decided before a line is run.
    """
    found: dict[str, ast.expr] = {}
    names = initial_clocks(program)
    known: dict[str, ast.expr] = {}  # values of the step that lines have assigned
    for line in program.lines:
        for node in ast.walk(line.value):
            if isinstance(node, ast.IfExp) and clock_of(node, names) is Clock.ELEMENT:
                if clock_of(node.test, names) is not Clock.STEP:
                    raise SyntaxError(f"{line.text}: only a test on the step can choose between element expressions")
                found[source_of(node.test)] = substitute(node.test, known)
        names[line.target] = clock_of(line.value, names)
        if names[line.target] is Clock.STEP:
            known[line.target] = substitute(line.value, known)
        else:
            known.pop(line.target, None)
    return found


@cache
def plan(program: Program, outcomes: tuple[bool, ...] = ()) -> Plan:
    """The plan of a program, given the outcome of each of `tests(program)`."""
    return _Planner(program, outcomes).plan()


class _Planner:
    """Walks a program's lines once, and sorts what it meets by clock."""

    def __init__(self, program: Program, outcomes: Sequence[bool]) -> None:
        self.program = program
        self.outcomes = dict(zip(tests(program), outcomes, strict=True))
        self.names = initial_clocks(program)
        self.rebound = {line.target for line in program.lines}
        self.step: list[Line] = []
        self.element: list[Line] = []
        self.reductions: list[tuple[int, Reduction]] = []
        self.tensor: list[tuple[int, Line]] = []
        self.totals: list[tuple[int, tuple[str, str]]] = []
        self.host: list[tuple[int, Line]] = []
        self.stage_of: dict[str, int] = {}  # of every tensor and model value: the first in which it can be read
        self.hoisted: dict[str, str] = {}  # source of a coefficient -> its name

    def plan(self) -> Plan:
        for line in self.program.lines:
            self.add(line)
        arrays = {name for name in self.program.outputs if self.names[name] is Clock.ELEMENT}
        update, _ = prune(self.element, arrays, set())
        last = max([0, *(stage for found in (self.tensor, self.totals, self.host) for stage, _ in found)])
        stages = [self.stage(number) for number in range(1, last + 1)] or [self.stage(0)]
        if last:
            stages[0] = replace(stages[0], lines=(*self.stage(0).lines, *stages[0].lines))
        computed = [*update, *(line for s in stages for r in s.reductions for line in (*r.lines, Line("", r.value)))]
        read = names_read(line.value for line in computed)
        tensor_read = names_read(line.value for s in stages for line in s.lines)
        return Plan(
            program=self.program,
            step=tuple(self.step),
            coefficients=tuple(n for n, clock in self.names.items() if clock in ONCE and n in read),
            scalars=tuple(n for n, clock in self.names.items() if clock in ONCE and n in tensor_read),
            stages=tuple(stage for stage in stages if stage.reductions or stage.lines or stage.host),
            tensor_coefficients=tuple(n for n, clock in self.names.items() if clock is Clock.TENSOR and n in read),
            update=tuple(update),
        )

    def stage(self, number: int) -> Stage:
        """All of a stage, in the order in which it was met."""

        def of(found: list[tuple[int, Any]]) -> tuple[Any, ...]:
            return tuple(one for stage, one in found if stage == number)

        return Stage(of(self.reductions), of(self.tensor), of(self.totals), of(self.host))

    def add(self, line: Line) -> None:
        if isinstance(line.value, ast.Call) and is_total(line.value):
            self.total(line.target, rewrite(rewrite(line.value.args[0], self.decide), self.reduce))
            return
        value = rewrite(rewrite(line.value, self.decide), self.reduce)
        if isinstance(value, ast.Name) and value.id == line.target:
            return  # it stays what it is, at this step
        clock = clock_of(value, self.names)
        if clock is Clock.ELEMENT:
            self.element.append(replace(line, value=self.hoist(value)))
        else:
            self.define(clock, replace(line, value=value))
        self.names[line.target] = clock
        self.forget(line.target)

    def forget(self, name: str) -> None:
        """Coefficients made from what a name has been are not those of what it is now."""
        self.hoisted = {k: v for k, v in self.hoisted.items() if name not in names_read([expression(k)])}

    def decide(self, node: ast.expr) -> ast.expr | None:
        """An `if` on the step becomes the branch that the host chose."""
        if isinstance(node, ast.IfExp) and source_of(node.test) in self.outcomes:
            return node.body if self.outcomes[source_of(node.test)] else node.orelse
        return None

    def reduce(self, node: ast.expr) -> ast.expr | None:
        """A reduction becomes the name of its result."""
        if isinstance(node, ast.Call) and source_of(node.func) in REDUCTIONS:
            return self.reduction(source_of(node.func), node.args[0])
        return None

    def reduction(self, function: str, argument: ast.expr) -> ast.Name:
        """It carries the element lines that it needs."""
        value = self.hoist(argument)
        lines, _ = prune(self.element, names_read([value]), set())
        read = names_read([value, *(line.value for line in lines)])
        name = f"r{len(self.reductions)}"
        stage = 1 + max([0, *(self.stage_of[name] for name in read if name in self.stage_of)])
        self.reductions.append((stage, Reduction(name, function, tuple(lines), value)))
        self.names[name], self.stage_of[name] = Clock.TENSOR, stage
        return ast.Name(name)

    def total(self, name: str, argument: ast.expr) -> None:
        """Each tensor computes its part; the host adds them up."""
        part = f"part{len(self.totals)}"
        if clock_of(argument, self.names) is Clock.ELEMENT:
            argument = self.reduction("total", argument)
        self.define(Clock.TENSOR, Line(part, argument))
        stage = self.stage_of[part]
        self.totals.append((stage, (name, part)))
        self.names[name], self.stage_of[name] = Clock.MODEL, stage
        self.forget(name)

    def define(self, clock: Clock, line: Line) -> None:
        """A value that is computed once per step, per model, or per tensor."""
        if clock is Clock.STEP:
            self.refuse_too_late(line, -1)
            self.step.append(line)
            return
        value = line.value if clock is Clock.MODEL else rewrite(line.value, self.scalar)
        read = [name for name in names_read([value]) if name in self.stage_of]
        # What the host makes of a stage, the tensors can read in the next.
        later = [clock is Clock.TENSOR and self.names[name] is Clock.MODEL for name in read]
        stage = max([0, *(self.stage_of[name] + wait for name, wait in zip(read, later, strict=True))])
        if clock is Clock.MODEL:
            self.refuse_too_late(line, stage)
        (self.host if clock is Clock.MODEL else self.tensor).append((stage, replace(line, value=value)))
        self.stage_of[line.target] = stage

    def refuse_too_late(self, line: Line, stage: int) -> None:
        """A name may not change before a line of a later stage reads or writes it that stands above."""
        for later, other in self.host:
            if later > stage and line.target in {other.target, *names_read([other.value])}:
                raise SyntaxError(
                    f"{line.text}: {line.target!r} is in use until {other.text!r} is computed, which needs a"
                    f" total; give one of the two another name"
                )

    def scalar(self, node: ast.expr) -> ast.expr | None:
        """In a tensor line, what depends on the step or the model alone is computed by the host."""
        if isinstance(node, ast.BinOp | ast.Call | ast.Name) and (clock := clock_of(node, self.names)) in ONCE:
            return self.coefficient(node, clock)
        return None

    def hoist(self, value: ast.expr) -> ast.expr:
        """An element expression with its step and tensor parts as coefficients."""

        def visit(node: ast.expr) -> ast.expr | None:
            clock = clock_of(node, self.names)
            return self.coefficient(node, clock) if clock is not Clock.ELEMENT else None

        return rewrite(value, visit)

    def coefficient(self, node: ast.expr, clock: Clock) -> ast.Name:
        """The name of a coefficient: its own if it has a lasting one, else k0, k1, ... or q0, q1, ..."""
        if isinstance(node, ast.Name) and (node.id not in self.rebound or self.assigned_once(node.id)):
            return ast.Name(node.id)
        text = source_of(node)
        if text not in self.hoisted:
            letter = "k" if clock in ONCE else "q"
            name = f"{letter}{sum(1 for known in self.names if known[0] == letter and known[1:].isdigit())}"
            self.define(clock, Line(name, node))
            self.names[name] = clock
            self.hoisted[text] = name
        return ast.Name(self.hoisted[text])

    def assigned_once(self, name: str) -> bool:
        given = name in initial_clocks(self.program)
        return not given and sum(line.target == name for line in self.program.lines) == 1
