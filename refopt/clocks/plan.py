"""A program cut along its clocks: what the host computes per step, then passes over the elements.

The plan of `w = w - lr * trust * (g + wd * w)` with `trust = tc * norm(w) / norm(g)` is

    host, per step       k0 = wd
    stage 1, reductions  r0 = norm(w), r1 = norm(g)
             per tensor  trust = tc * r0 / r1;  q0 = lr * trust
    update, per element  w = w - q0 * (g + k0 * w)

Step and tensor values are computed in float64 (`k`, `q`: coefficients, rounded once to the arrays' dtype, exactly as
NumPy rounds a Python float beside an array). A reduction of a computed quantity (LAMB's norm of the update) carries
the element lines that it needs and computes them again. Tests on the step (`t == 1`) are decided by the host: a plan
is made for each outcome, so that what an element sees is straight-line.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from refopt.clocks.analysis import Clock, clock_of, initial_clocks
from refopt.spec.functions import REDUCTIONS
from refopt.spec.lines import Line, expression, names_read, prune, rewrite, source_of, substitute
from refopt.spec.program import Program


@dataclass(frozen=True)
class Reduction:
    """`name = function(value)`: one float64 per tensor. `lines` compute from the arrays what `value` reads."""

    name: str
    function: str
    lines: tuple[Line, ...]
    value: ast.expr


@dataclass(frozen=True)
class Stage:
    """A pass that reduces, and the tensor lines that can be computed after it."""

    reductions: tuple[Reduction, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Plan:
    """See the module's text. `step` lines run on the host in order; they assign `coefficients` and `scalars`."""

    program: Program
    step: tuple[Line, ...]
    coefficients: tuple[str, ...]  # step values that element lines read, rounded to the arrays' dtype
    scalars: tuple[str, ...]  # step values that tensor lines read, in float64
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
        self.stage_of: dict[str, int] = {}  # of every tensor value
        self.hoisted: dict[str, str] = {}  # source of a coefficient -> its name

    def plan(self) -> Plan:
        for line in self.program.lines:
            self.add(line)
        arrays = {name for name in self.program.outputs if self.names[name] is Clock.ELEMENT}
        update, _ = prune(self.element, arrays, set())
        last = max([0, *(stage for stage, _ in self.tensor)])
        stages = [self.stage(number) for number in range(1, last + 1)] or [self.stage(0)]
        if last:
            stages[0] = replace(stages[0], lines=(*self.stage(0).lines, *stages[0].lines))
        computed = [*update, *(line for s in stages for r in s.reductions for line in (*r.lines, Line("", r.value)))]
        read = names_read(line.value for line in computed)
        tensor_read = names_read(line.value for s in stages for line in s.lines)
        return Plan(
            program=self.program,
            step=tuple(self.step),
            coefficients=tuple(n for n, clock in self.names.items() if clock is Clock.STEP and n in read),
            scalars=tuple(n for n, clock in self.names.items() if clock is Clock.STEP and n in tensor_read),
            stages=tuple(stage for stage in stages if stage.reductions or stage.lines),
            tensor_coefficients=tuple(n for n, clock in self.names.items() if clock is Clock.TENSOR and n in read),
            update=tuple(update),
        )

    def stage(self, number: int) -> Stage:
        reductions = tuple(reduction for stage, reduction in self.reductions if stage == number)
        return Stage(reductions, tuple(line for stage, line in self.tensor if stage == number))

    def add(self, line: Line) -> None:
        value = rewrite(rewrite(line.value, self.decide), self.reduce)
        if isinstance(value, ast.Name) and value.id == line.target:
            return  # it stays what it is, at this step
        clock = clock_of(value, self.names)
        if clock is Clock.ELEMENT:
            self.element.append(replace(line, value=self.hoist(value)))
        else:
            self.define(clock, replace(line, value=value))
        self.names[line.target] = clock
        self.hoisted = {k: v for k, v in self.hoisted.items() if line.target not in names_read([expression(k)])}

    def decide(self, node: ast.expr) -> ast.expr | None:
        """An `if` on the step becomes the branch that the host chose."""
        if isinstance(node, ast.IfExp) and source_of(node.test) in self.outcomes:
            return node.body if self.outcomes[source_of(node.test)] else node.orelse
        return None

    def reduce(self, node: ast.expr) -> ast.expr | None:
        """A reduction becomes the name of its result; it carries the element lines that it needs."""
        if not (isinstance(node, ast.Call) and source_of(node.func) in REDUCTIONS):
            return None
        value = self.hoist(node.args[0])
        lines, _ = prune(self.element, names_read([value]), set())
        read = names_read([value, *(line.value for line in lines)])
        stage = 1 + max([0, *(self.stage_of[name] for name in read if name in self.stage_of)])
        name = f"r{len(self.reductions)}"
        self.reductions.append((stage, Reduction(name, source_of(node.func), tuple(lines), value)))
        self.names[name], self.stage_of[name] = Clock.TENSOR, stage
        return ast.Name(name)

    def define(self, clock: Clock, line: Line) -> None:
        """A value that is computed once per step, or once per tensor."""
        if clock is Clock.STEP:
            self.step.append(line)
            return
        value = rewrite(line.value, self.scalar)
        stage = max([0, *(self.stage_of[name] for name in names_read([value]) if name in self.stage_of)])
        self.tensor.append((stage, replace(line, value=value)))
        self.stage_of[line.target] = stage

    def scalar(self, node: ast.expr) -> ast.expr | None:
        """In a tensor line, what depends on the step alone is computed by the host."""
        if isinstance(node, ast.BinOp | ast.Call) and clock_of(node, self.names) is Clock.STEP:
            return self.coefficient(node, Clock.STEP)
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
            letter = "k" if clock is Clock.STEP else "q"
            name = f"{letter}{sum(1 for known in self.names if known[0] == letter and known[1:].isdigit())}"
            self.define(clock, Line(name, node))
            self.names[name] = clock
            self.hoisted[text] = name
        return ast.Name(self.hoisted[text])

    def assigned_once(self, name: str) -> bool:
        given = name in initial_clocks(self.program)
        return not given and sum(line.target == name for line in self.program.lines) == 1
