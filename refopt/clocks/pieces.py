"""A program cut into pieces where it looks along dimensions: kernels see a parameter as one row of elements.

What takes a tensor as it stands, with its rows and columns, or gives one number for each of these, runs as it is
written, array by array; the lines between are fused (`plan`). The pieces of SM3 are

    as written   v_0 = min_along(b, g)
    fused        v = v_0 + g * g;  u = g / sqrt(v);  m = beta1 * m + (1 - beta1) * u;  w = w - lr * m
    as written   b = max_along(v)

Each line comes as late as it can, so that as little as possible is kept between pieces, and as few are made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count

from refopt.clocks.analysis import Clock, clock_of, initial_clocks
from refopt.spec.complex_pairs import OF_PAIRS
from refopt.spec.declare import Slot
from refopt.spec.functions import FROM_SETS, OF_MATRICES, OF_SETS, PROPERTIES
from refopt.spec.lines import Line, inputs, names_read, rewrite, source_of, substitute
from refopt.spec.program import Program, is_total

WHOLE = FROM_SETS | OF_SETS | {*OF_MATRICES, *OF_PAIRS}  # functions of tensors as they stand
SIZES = frozenset({"ndim", "size"})  # what kernels know of a shape


@dataclass(frozen=True)
class Piece:
    """A part of a program, as a program: its arrays and tensors are what it reads and writes, outputs what it leaves.

    Of a fused piece the arrays all have one number for each element. `reads` is what it must be given.
    """

    program: Program
    fused: bool
    reads: frozenset[str]


@dataclass(frozen=True)
class Cut:
    """Lines of the step, which the host runs first, and then the pieces in their order.

    `last` is what the pieces call a number of the step that has become one of the model.
    """

    step: tuple[Line, ...]
    pieces: tuple[Piece, ...]
    last: Mapping[str, str] = field(default_factory=dict)


@cache
def cut(program: Program) -> Cut:
    """The pieces of a program; one, the program itself, if nothing in it looks along dimensions."""
    names: dict[str, Clock] = initial_clocks(program)
    lines: list[Line] = []
    fused: list[bool] = []
    for line in program.lines:
        for part in _apart(line, names):
            fused.append(_fits_a_kernel(part, names))
            names[part.target] = clock_of(part.value, names)
            lines.append(part)
    if all(fused):
        return Cut((), (Piece(program, True, frozenset(inputs(program.lines))),))
    lines, names, last = _renamed(program, lines)
    program = replace(program, outputs=tuple(last.get(name, name) for name in program.outputs))
    _refuse_many_clocks(program, lines)
    step = [line for line in lines if names[line.target] is Clock.STEP]
    rest = [i for i, line in enumerate(lines) if names[line.target] is not Clock.STEP]
    levels = _levels([lines[i] for i in rest], [fused[i] for i in rest])
    ordered = sorted(zip(levels, rest, strict=True))
    groups = {level: [lines[i] for at, i in ordered if at == level] for level in dict.fromkeys(at for at, _ in ordered)}
    return Cut(tuple(step), tuple(_pieces(program, groups, names)), last)


def _renamed(program: Program, lines: Sequence[Line]) -> tuple[list[Line], dict[str, Clock], dict[str, str]]:
    """The lines with another name for a number of the step from where a total makes it one of the model.

    Beside them the clocks of all names, and the other names by the first ones.
    """
    names, last = initial_clocks(program), dict[str, str]()
    new: list[Line] = []
    for line in lines:
        value = substitute(line.value, {name: ast.Name(other) for name, other in last.items()})
        clock = clock_of(value, names)
        if clock is Clock.MODEL and names.get(line.target) is Clock.STEP:
            last[line.target] = f"{line.target}_of_model"
        target = last.get(line.target, line.target)
        names[target] = clock
        new.append(replace(line, target=target, value=value))
    return new, names, last


def _refuse_many_clocks(program: Program, lines: Sequence[Line]) -> None:
    """Pieces know a name by its clock, and the host has computed the step's before the first of them."""
    names = initial_clocks(program)
    in_pieces: set[str] = set()  # what lines of other clocks have read
    for line in lines:
        clock = clock_of(line.value, names)
        changes = clock is Clock.STEP and line.target in in_pieces
        if line.target in names and (names[line.target] is not clock or changes):
            raise SyntaxError(
                f"{line.text}: {line.target!r} has been of the {names[line.target]} before, and {program.name}"
                f" looks along dimensions; give it another name"
            )
        names[line.target] = clock
        in_pieces |= set() if clock is Clock.STEP else names_read([line.value])


def _apart(line: Line, names: dict[str, Clock]) -> Iterator[Line]:
    """The line, before it what it gives to functions of whole tensors and, if the rest can be fused, these calls."""
    made: list[Line] = []
    fresh = (name for n in count() if (name := f"{line.target}_{n}") not in names)

    def moved(value: ast.expr) -> ast.expr:
        made.append(Line(next(fresh), value, line.origin))
        return ast.Name(made[-1].target)

    def argument(node: ast.expr) -> ast.expr:
        simple = isinstance(node, ast.Name | ast.Constant) or clock_of(node, names) is not Clock.ELEMENT
        return node if simple else moved(node)

    def call(node: ast.expr) -> ast.expr | None:
        if not (isinstance(node, ast.Call) and source_of(node.func) in WHOLE):
            return None
        return ast.Call(node.func, [argument(one) for one in node.args], [])

    value = rewrite(line.value, call)
    rest = rewrite(value, lambda node: ast.Name("g") if _is_whole(node) else None)
    element = clock_of(value, names | {one.target: Clock.ELEMENT for one in made}) is Clock.ELEMENT
    if (element or is_total(value)) and not _is_whole(value) and not _reads_sets(rest, names):
        value = rewrite(value, lambda node: moved(node) if _is_whole(node) else None)
    yield from made
    yield replace(line, value=value)


def _is_whole(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and source_of(node.func) in WHOLE


def _reads_sets(node: ast.expr, names: dict[str, Clock]) -> bool:
    return any(names.get(name) is Clock.SET for name in names_read([node]))


def _fits_a_kernel(line: Line, names: dict[str, Clock]) -> bool:
    calls = {source_of(node.func) for node in ast.walk(line.value) if isinstance(node, ast.Call)}
    return not (calls & (WHOLE | (PROPERTIES - SIZES)) or _reads_sets(line.value, names))


def _levels(lines: Sequence[Line], fused: Sequence[bool]) -> list[int]:
    """The number of each line's piece, of which the odd ones are fused: the last that all who wait for it allow."""
    reads = [names_read([line.value]) for line in lines]
    waits = [
        [j for j in range(i) if lines[j].target in reads[i] | {line.target} or line.target in reads[j]]
        for i, line in enumerate(lines)
    ]
    first: list[int] = []
    for i, before in enumerate(waits):
        first.append(max([int(fused[i]), *(first[j] + (fused[j] != fused[i]) for j in before)]))
    last = [max(level for level, one in zip(first, fused, strict=True) if one is kind) for kind in fused]
    for i in reversed(range(len(lines))):
        for j in waits[i]:
            last[j] = min(last[j], last[i] - (fused[j] != fused[i]))
    return last


def _pieces(program: Program, groups: dict[int, list[Line]], names: dict[str, Clock]) -> Iterator[Piece]:
    for level, lines in groups.items():
        later = inputs([line for other, more in groups.items() if other > level for line in more])
        left = [name for name in dict.fromkeys(line.target for line in lines) if name in later | {*program.outputs}]
        used = [*dict.fromkeys([*sorted(inputs(lines)), *left])]
        known = {name for name in inputs(lines) if names[name] is Clock.MODEL}  # by pieces before
        known |= {name for name in used if names[name] is Clock.STEP and name != "t"}
        yield Piece(
            Program(
                name=program.name,
                arrays=tuple(name for name in used if names[name] in (Clock.ELEMENT, Clock.SET)),
                tensors=tuple(_number(name) for name in used if names[name] is Clock.TENSOR),
                numbers=(),
                hypers=tuple(name for name in used if name in known),
                slots=(),
                lines=tuple(lines),
                outputs=tuple(left),
            ),
            fused=bool(level % 2),
            reads=frozenset(inputs(lines)),
        )


def _number(name: str) -> Slot:
    """What a piece leaves of each tensor for a later one."""
    return Slot(name, name, "of each tensor", 0.0, "tensor")
