"""The source of a rule's Numba kernels, written from its plan.

A kernel works on a range of pieces, each of one tensor: blocks of `BLOCK` elements in a reduction, longer ones in the
update. So one call serves one large tensor and thousands of small ones alike, and threads share ranges. In a kernel,

    address[a, i]   where tensor i of array a (w, g, the slots) begins        k   coefficients of this step
    tensor_of[b], start_of[b], count_of[b]   the place of piece b             q   coefficients of each tensor
    kept[n, i]      slot n of those that are one number for tensor i
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

import numpy as np

from refopt.clocks.pieces import cut
from refopt.clocks.plan import Plan, Reduction, Stage, plan, tests
from refopt.spec.hyper import Hyper
from refopt.spec.lines import Line, names_read, rewrite, source_of
from refopt.spec.program import Program

HEADER = '''"""{title}: written by refopt from the rule's source, for {dtype} arrays. Do not edit."""

import numba
import numpy as np

from refopt.engines.numba_runtime import BLOCK, LANES, at, fold, jit, sign, total

'''


# The names that kernels use themselves: in every one, and in those of rules with reductions.
OWN = {"address", "b", "count_of", "e", "first", "i", "k", "last", "q", "start_of", "tensor_of"}
OWN_OF_REDUCTIONS = {"kept", "lane", "partial", "row", "rows", "scalars", "term", "value", "width"}


def kernel_source(hyper: Hyper, dtype: str = "float32") -> str:
    """The modules with all kernels of a rule under these axes, as at an ordinary late step: tests on it are false."""
    fused = [piece.program for piece in cut(hyper.program).pieces if piece.fused]
    return "\n".join(module_source(plan(one, (False,) * len(tests(one))), dtype) for one in fused)


def module_source(planned: Plan, dtype: str) -> str:
    """One `reduceN` and one `tensorN` function per stage, and `update`."""
    program = planned.program
    names = {*program.arrays, *program.hypers, *(line.target for line in program.lines)}
    if taken := sorted(names & (OWN | OWN_OF_REDUCTIONS if planned.stages else OWN)):
        raise SyntaxError(f"{program.name}: kernels need the name {taken[0]!r} themselves; the rule must have another")
    parts = [HEADER.format(title=planned.program.name, dtype=dtype)]
    for number, stage in enumerate(planned.stages):
        if stage.reductions:
            parts.append(_reduce(planned, stage, number, dtype))
        parts.append(_tensor(planned, stage, number))
    parts.append(_update(planned, dtype))
    return "\n".join(parts)


def _reduce(planned: Plan, stage: Stage, number: int, dtype: str) -> str:
    """A pass that adds: every reduction of the stage, each array read once."""
    lines = [line for reduction in stage.reductions for line in reduction.lines]
    reads = names_read([*(line.value for line in lines), *(r.value for r in stage.reductions)])
    arrays = [name for name in planned.program.arrays if name in reads]
    body: list[str] = []
    changed: set[str] = set()  # arrays that the lines of a reduction assign; the next has its own lines for them
    for reduction in stage.reductions:
        body += [
            *(f"{name} = {name}_[e]" for name in arrays if name in changed),
            *_lines(reduction.lines),
            f"term = np.float64({_code(reduction.value)})",
            f"{_lanes(reduction)}[lane] += {'term * term' if reduction.function == 'norm' else 'term'}",
        ]
        changed |= {line.target for line in reduction.lines}
    return "\n".join(
        [
            "@numba.njit(cache=True, **jit)",
            f"def reduce{number}(first, last, address, tensor_of, start_of, count_of, k, q, partial):",
            *_indent(1, _unpack_step(planned, reads)),
            *_indent(1, [f"{_lanes(r)} = np.zeros(LANES)" for r in stage.reductions]),
            "    for b in range(first, last):",
            *_indent(2, ["i = tensor_of[b]", *_unpack_tensor(planned, reads)]),
            *_indent(2, [_view(planned.program, name, dtype) for name in arrays]),
            *_indent(2, [f"{_lanes(r)}[:] = 0.0" for r in stage.reductions]),
            "        rows = count_of[b] // LANES",
            "        for row in range(rows + 1):",
            "            width = LANES if row < rows else count_of[b] - rows * LANES",
            "            for lane in range(width):",
            *_indent(4, ["e = row * LANES + lane", *(f"{name} = {name}_[e]" for name in arrays), *body]),
            *_indent(2, [f"partial[{n}, b] = fold({_lanes(r)})" for n, r in enumerate(stage.reductions)]),
            "",
            "",
        ]
    )


def _tensor(planned: Plan, stage: Stage, number: int) -> str:
    """The tensor lines of a stage, in float64, for every tensor."""
    written = [line.target for line in stage.lines]
    reads = names_read(line.value for line in stage.lines)
    sums = {r.name: f"total(partial[{n}], first_of[i], number_of[i])" for n, r in enumerate(stage.reductions)}
    results = {r.name: f"np.sqrt({sums[r.name]})" if r.function == "norm" else sums[r.name] for r in stage.reductions}
    slots = {slot.name: n for n, slot in enumerate(planned.program.tensors)}
    earlier = [n for n in carried(planned) if n in reads and n not in written and n not in slots]
    return "\n".join(
        [
            "@numba.njit(cache=True, **jit)",
            f"def tensor{number}(first_of, number_of, ndim_of, size_of, scalars, partial, value, kept, q):",
            *_indent(1, [f"{name} = scalars[{n}]" for n, name in enumerate(planned.scalars) if name in reads]),
            "    for i in range(first_of.size):",
            *_indent(2, [f"{name} = {result}" for name, result in results.items()]),
            *_indent(2, [f"{name} = value[{carried(planned).index(name)}, i]" for name in earlier]),
            *_indent(2, [f"{name} = kept[{n}, i]" for name, n in slots.items() if name in reads]),
            *_indent(2, _lines(stage.lines)),
            *_indent(2, [f"kept[{n}, i] = {name}" for name, n in slots.items() if name in written]),
            *_indent(2, [f"value[{n}, i] = {name}" for n, name in enumerate(carried(planned)) if name in written]),
            *_indent(
                2, [f"q[{n}, i] = {name}" for n, name in enumerate(planned.tensor_coefficients) if name in written]
            ),
            "",
            "",
        ]
    )


def carried(planned: Plan) -> list[str]:
    """Tensor values that the host, or a later stage, reads: the rows of `value`."""
    found: list[str] = []
    for number, stage in enumerate(planned.stages):
        later = names_read(line.value for s in planned.stages[number + 1 :] for line in s.lines)
        later |= {part for _, part in stage.totals}
        found += [line.target for line in stage.lines if line.target in later and line.target not in found]
    return found


def _update(planned: Plan, dtype: str) -> str:
    """The fused loop: each array read once, each slot and the parameter written once, if this step changes it."""
    program = planned.program
    reads = names_read(line.value for line in planned.update)
    changed = {line.target for line in planned.update}
    written = [name for name in program.outputs if name in changed]
    loads = [name for name in program.arrays if name in reads]
    arrays = [name for name in program.arrays if name in loads or name in written]
    return "\n".join(
        [
            "@numba.njit(cache=True, **jit)",
            "def update(first, last, address, tensor_of, start_of, count_of, k, q):",
            *_indent(1, _unpack_step(planned, reads)),
            "    for b in range(first, last):",
            *_indent(2, ["i = tensor_of[b]", *_unpack_tensor(planned, reads)]),
            *_indent(2, [_view(program, name, dtype) for name in arrays]),
            "        for e in range(count_of[b]):",
            *_indent(3, [f"{name} = {name}_[e]" for name in loads]),
            *_indent(3, _lines(planned.update)),
            *_indent(3, [f"{name}_[e] = {name}" for name in written]),
            "",
        ]
    )


def _unpack_step(planned: Plan, reads: set[str]) -> list[str]:
    meaning = {line.target: source_of(line.value) for line in planned.step}
    lines = []
    for n, name in enumerate(planned.coefficients):
        if name in reads:
            lines.append(f"{name} = k[{n}]" + (f"  # {meaning[name]}" if name in meaning else ""))
    return lines


def _unpack_tensor(planned: Plan, reads: set[str]) -> list[str]:
    meaning = {line.target: source_of(line.value) for stage in planned.stages for line in stage.lines}
    return [
        f"{name} = q[{n}, i]  # {meaning[name]}" for n, name in enumerate(planned.tensor_coefficients) if name in reads
    ]


def _view(program: Program, name: str, dtype: str) -> str:
    start = f"address[{program.arrays.index(name)}, i] + {np.dtype(dtype).itemsize} * start_of[b]"
    return f"{name}_ = at({start}, count_of[b], np.{dtype})"


def _lanes(reduction: Reduction) -> str:
    return f"lanes_{reduction.name}"


def _lines(lines: Iterable[Line]) -> list[str]:
    return [f"{line.target} = {_code(line.value)}" for line in lines]


def _code(value: ast.expr) -> str:
    """An expression in the kernel's namespace: sqrt is np.sqrt, ndim(w) and size(w) tables, where a choice."""

    def visit(node: ast.expr) -> ast.expr | None:
        if not isinstance(node, ast.Call):
            return None
        name = source_of(node.func)
        if name in ("ndim", "size"):
            return ast.parse(f"{name}_of[i]", mode="eval").body
        if name == "sign":
            return ast.Call(ast.Name("sign"), [rewrite(a, visit) for a in node.args], [])
        if name == "full_like":
            return rewrite(node.args[1], visit)
        if name == "where":
            return ast.IfExp(*(rewrite(a, visit) for a in node.args))
        return ast.Call(ast.parse(f"np.{name}", mode="eval").body, [rewrite(a, visit) for a in node.args], [])

    return source_of(rewrite(value, visit))


def _indent(depth: int, lines: Iterable[str]) -> list[str]:
    return [" " * 4 * depth + line for line in lines]
