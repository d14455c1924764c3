"""A variant's distance from traces as a function of its numbers, for many values of these at once, and its minimum.

All arrays have the axes (guess, tensor, element); a number that is looked for has the shape (guesses, 1, 1). Distances
are in units of what counts as rounding: between -1 and 1 everywhere, the variant fits. Numbers move in coordinates in
which they have no ends to run into, and in which small ones matter as much as large ones: log x, or log(1 - x) for
those near 1.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import CodeType
from typing import Any

import numpy as np

from refopt.spec import newton_schulz, sets
from refopt.spec.declare import HyperParameter
from refopt.spec.functions import FUNCTIONS as REFERENCE
from refopt.spec.functions import MEANS, OF_MATRICES, PROPERTIES
from refopt.spec.lines import Line, source_of
from refopt.spec.program import Program
from refopt.verifying.samples import Sample

FAR = 1e30  # stands for all distances beyond, and for those of no number
STEP, LONG = 1e-6, 0.05  # of the differences that stand for derivatives, the shortest and the longest
STRIDE = 2.0  # the most that a coordinate moves down at once: by e**2
LEAP = 1e6  # the most by which a number grows at once, in multiples of itself
LEAST = 1e-20  # numbers below count as zero
AT_ONCE = 1 << 18  # elements in one array


class Coordinate:
    """log x, or log(1 - x) of a number whose usual values are near 1."""

    def __init__(self, parameter: HyperParameter) -> None:
        ends = [float(end) for end in parameter.interval[1:-1].split(",")]
        self.least, self.most = ends[0], ends[1]
        self.from_one = self.most == 1 and parameter.default >= 0.5
        self.low = np.log(1e-9 if self.from_one else LEAST)
        self.high = 0.0 if self.most == 1 else np.log(1e9)

    def of(self, x: float) -> float:
        y = np.log(max(1.0 - x if self.from_one else x, 1e-300))
        return float(np.clip(y, self.low, self.high))

    def value(self, y: np.ndarray) -> np.ndarray:
        return -np.expm1(y) if self.from_one else np.exp(y)


class Model:
    """The distances of one variant from a sample, by the numbers looked for."""

    def __init__(self, program: Program, given: Sample, coordinates: Mapping[str, Coordinate]) -> None:
        self.program, self.given, self.coordinates = program, given, coordinates
        self.low = np.array([c.low for c in coordinates.values()])
        self.high = np.array([c.high for c in coordinates.values()])
        self.broken = ~np.isfinite(given.results)
        self.properties = {f"of_{name}": self.property(REFERENCE[name]) for name in PROPERTIES}
        self.sets = max(map(sets.count, given.shapes))  # an array of sets is filled up to that
        self.update = _code(program.lines)
        self.average = _code(program.averaging.lines) if program.averaging else None

    def numbers(self, y: np.ndarray) -> dict[str, float]:
        return {name: float(c.value(y[i])) for i, (name, c) in enumerate(self.coordinates.items())}

    def distances(self, y: np.ndarray) -> np.ndarray:
        """For every row of coordinates, the distances, as one row."""
        columns = {name: c.value(y[:, i])[:, None, None] for i, (name, c) in enumerate(self.coordinates.items())}
        return self.distances_at(columns, len(y))

    def distances_at(self, numbers: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        most = max(1, AT_ONCE // self.given.params.size)
        if count > most:
            parts = [
                self.distances_at({n: x[i : i + most] for n, x in numbers.items()}, min(most, count - i))
                for i in range(0, count, most)
            ]
            return np.concatenate(parts)
        given, program = self.given, self.program
        w = given.params[None]
        state: dict[str, Any] = {}
        for slot in program.slots:
            flat = slot.clock == "set" and slot.of == "dimensions"
            shape = (*w.shape[:-1], self.sets) if flat else w.shape  # what rows have, every element has
            start = w if slot.init == "params" else np.zeros(shape) + (0.0 if slot.init == "zeros" else slot.init)
            state[slot.name] = np.float64(slot.init) if slot.clock == "step" else start
        out = np.empty((count, *given.grads.shape))
        with np.errstate(all="ignore"):
            for t, (g, known) in enumerate(zip(given.grads, given.known, strict=True), start=1):
                now = {
                    **FUNCTIONS,
                    **known,
                    **numbers,
                    "t": np.float64(t),
                    **self.properties,
                    "total": self.total,
                    "min_along": self.min_along,
                    "max_along": self.max_along,
                    "row_means": partial(self.means, "row_means"),
                    "column_means": partial(self.means, "column_means"),
                    **{name: partial(self.newton_schulz, steps) for name, steps in OF_MATRICES.items()},
                }
                values = {**now, **state, **({"w": w, "g": g} if program.reads_gradient else {"w": g})}
                exec(self.update, values)
                state = {name: values[name] for name in state}
                if program.writes_parameter:
                    w = values["w"]
                if self.average is not None:
                    values = {**now, **state}
                    exec(self.average, values)
                result = values["w"] if self.average is None else values["a"]
                out[:, t - 1] = (result - given.results[t - 1]) * given.weights[t - 1]
                if self.broken[t - 1].any():  # no number is met by any other
                    np.copyto(out[:, t - 1], 0.0, where=~np.isfinite(result) & self.broken[t - 1])
            np.copyto(out, 0.0, where=given.weights == 0)
            out[np.isnan(out)] = FAR
        return np.clip(out, -FAR, FAR).reshape(count, -1)

    def property(self, of: Callable[[np.ndarray], float]) -> np.ndarray:
        """What is known of each tensor by its shape."""
        return np.array([[of(np.empty(shape))] for shape in self.given.shapes], float)

    def total(self, x: np.ndarray) -> np.ndarray:
        """What the tensors of a trace add up to."""
        sums = np.sum(x, axis=-1, keepdims=True) + np.zeros((len(self.given.models), 1))
        return self.given.models @ sums

    def min_along(self, a: np.ndarray, x: np.ndarray) -> np.ndarray:
        """For every element, the smallest of what its sets have; zero beyond the end of a tensor."""
        out = np.zeros((*a.shape[:-1], x.shape[-1]))
        for row, shape in enumerate(self.given.shapes):
            found = sets.min_along(a[..., row, : sets.count(shape)], shape)
            out[..., row, : math.prod(shape)] = found.reshape(*found.shape[: found.ndim - len(shape)], -1)
        return out

    def max_along(self, x: np.ndarray) -> np.ndarray:
        """For every set of every tensor, the largest of its elements; zero beyond the last."""
        out = np.zeros((*x.shape[:-1], self.sets))
        for row, shape in enumerate(self.given.shapes):
            own = x[..., row, : math.prod(shape)]
            out[..., row, : sets.count(shape)] = sets.max_along(own.reshape((*own.shape[:-1], *shape)), shape)
        return out

    def means(self, name: str, x: np.ndarray, like: np.ndarray, least: int = 0) -> np.ndarray:
        """For every element, the mean of its row or its column; of tensors that have none, itself, which nobody reads.

        All arrays have a number for each element, so that the shapes are the tensors', not that of `like`.
        """
        out = np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, like.shape)))
        for row, shape in enumerate(self.given.shapes):
            if (found := sets.pair(shape, least)) is not None:
                own = out[..., row, : math.prod(shape)]
                whole = own.reshape((*own.shape[:-1], *shape))
                axis = found[MEANS[name]] - len(shape)
                own[...] = np.broadcast_to(whole.mean(axis, keepdims=True), whole.shape).reshape(own.shape)
        return out

    def newton_schulz(self, steps: Sequence[newton_schulz.Triple], x: np.ndarray) -> np.ndarray:
        """Of every tensor as a matrix, zero beyond its end; by NumPy's own products, which are quick."""
        out = np.zeros(x.shape)
        for row, shape in enumerate(self.given.shapes):
            own = x[..., row, : math.prod(shape)]
            found = newton_schulz.newton_schulz(own.reshape((*own.shape[:-1], *shape)), shape, steps, np.matmul)
            out[..., row, : math.prod(shape)] = found.reshape(own.shape)
        return out

    def slopes(self, y: np.ndarray, base: np.ndarray, size: np.ndarray | None = None) -> np.ndarray:
        """The derivatives at every row, (rows, coordinates, distances).

        The differences are made of longer steps where the slope's size is known to be so small that what counts as
        rounding would hide a short one.
        """
        count, k = y.shape
        steps = np.full((count, k), STEP) if size is None else np.clip(1.0 / size, STEP, LONG)
        steps = np.where(y + steps > self.high, -steps, steps)
        moved = y[:, None, :] + steps[:, None, :] * np.eye(k)
        return (self.distances(moved.reshape(-1, k)).reshape(count, k, -1) - base[:, None]) / steps[:, :, None]


def descend(
    model: Model, y: np.ndarray, *, rounds: int = 40, fixed: Sequence[int] = (), patience: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Levenberg and Marquardt's way down from every row at once: the rows' ends, the lowest first, and mean squares.

    The rows that stay behind are given up on the way, and all are when the lowest makes no progress far from rounding.
    """
    free = [i for i in range(y.shape[1]) if i not in fixed]
    here = model.distances(y)
    cost = (here**2).mean(1)
    damping = np.full(len(y), 1e-3)
    largest = np.full(y.shape, 1.0 / STEP)
    best = [float(cost.min())]
    for number in range(rounds if free else 0):
        left = 16 if number < 4 else 8 if number < 8 else 4 if number < 14 else 2
        keep = np.argsort(cost, kind="stable")[: left * max(1, patience // 5)]
        y, here, cost, damping, largest = y[keep], here[keep], cost[keep], damping[keep], largest[keep]
        slopes = model.slopes(y, here, largest)
        largest = np.maximum(np.abs(slopes).max(2), 1e-3 * largest)
        slopes = slopes[:, free]
        square = slopes @ slopes.transpose(0, 2, 1)
        size = np.sqrt(np.einsum("bii->bi", square))
        size = np.maximum(size, 1e-9 * size.max(1, keepdims=True) + 1e-150)
        square = square / (size[:, :, None] * size[:, None, :])
        down = -np.einsum("bkm,bm->bk", slopes, here) / size
        tried = np.clip(damping[:, None] * np.array([1e-3, 1.0, 1e2]), 1e-14, 1e12)
        matrices = square[:, None] + tried[:, :, None, None] * np.eye(len(free))
        move = np.linalg.solve(matrices, down[:, None, :, None])[..., 0] / size[:, None]
        new = np.repeat(y[:, None], 3, axis=1)
        # up, a number moves by so many times itself, which is exact for what it scales; down, by its logarithm
        new[:, :, free] += np.where(move > 0, np.log1p(np.clip(move, 0.0, LEAP)), np.maximum(move, -STRIDE))
        new = np.clip(new, model.low, model.high)
        there = model.distances(new.reshape(-1, y.shape[1])).reshape(len(y), 3, -1)
        costs = (there**2).mean(2)
        rows, which = np.arange(len(y)), costs.argmin(1)
        better = costs[rows, which] < cost
        damping = np.where(better, tried[rows, which], tried[:, 2] * 10)
        y = np.where(better[:, None], new[rows, which], y)
        here = np.where(better[:, None], there[rows, which], here)
        cost = np.where(better, costs[rows, which], cost)
        best.append(float(cost.min()))
        if best[-1] == 0 or damping[cost.argmin()] > 1e12:
            break
        if best[-1] < 1 and len(best) > 2 and best[-1] > 0.99 * best[-2]:
            break
        if number >= patience and best[-1] > (0.7 if best[-1] > 1e4 else 0.99) * best[-4]:
            break
    order = np.argsort(cost, kind="stable")
    return y[order], cost[order]


def _norm(x: np.ndarray) -> np.ndarray:
    return np.sqrt((x * x).sum(-1, keepdims=True))


FUNCTIONS = {
    "sqrt": np.sqrt,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "abs": np.abs,
    "sign": np.sign,
    "full_like": lambda x, value: np.zeros(np.shape(x)) + value,
    "norm": _norm,
    "vector": lambda x, least=0: x,
    "outer": np.multiply,
    "where": np.where,
    "logical_or": np.logical_or,
    "logical_and": np.logical_and,
}


def _code(lines: Sequence[Line]) -> CodeType:
    """A rule's lines, for arrays in which every guess and tensor decides for itself."""
    text = "\n".join(f"{line.target} = {source_of(line.value)}" for line in lines)
    return compile(ast.fix_missing_locations(_Decided().visit(ast.parse(text))), "<refopt>", "exec")


class _Decided(ast.NodeTransformer):
    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        return _call("where", *map(self.visit, (node.test, node.body, node.orelse)))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        first, *others = map(self.visit, node.values)
        for other in others:
            first = _call("logical_or" if isinstance(node.op, ast.Or) else "logical_and", first, other)
        return first

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if (name := ast.unparse(node.func)) in PROPERTIES:
            return ast.Name(f"of_{name}", ast.Load())
        return _call(ast.unparse(node.func), *map(self.visit, node.args))


def _call(name: str, *taken: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(taken), [])
