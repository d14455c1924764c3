"""The compiled engine: the specialised source as fused Numba kernels, bit-equal to the numpy engine.

A step is: the host evaluates the step lines once, in float64; threads share the blocks of all tensors and run the
passes that the plan asks for; what looks along dimensions runs between them as it is written, tensor by tensor.
Half-precision parameters, and slots, are widened to float32, updated, and rounded back by NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numba
import numpy as np

from refopt.clocks.pieces import Piece, cut
from refopt.clocks.plan import Plan, plan, tests
from refopt.engines.kernel_cache import load_module
from refopt.engines.numba_slots import ArenaSlots, Work
from refopt.engines.numba_source import carried, module_source
from refopt.engines.numba_threads import share
from refopt.engines.numpy_engine import NumpyEngine
from refopt.spec.backend import Slots
from refopt.spec.functions import FUNCTIONS, OF_MATRICES, Scalar
from refopt.spec.hyper import Hyper
from refopt.spec.lines import Line, source_of
from refopt.spec.newton_schulz import Triple, lanes_for, newton_schulz
from refopt.spec.program import Program


class NumbaEngine(NumpyEngine):
    """Runs rules on NumPy arrays, compiled. It shares with NumpyEngine all that is not the step itself."""

    name = "numba"

    def version(self) -> str:
        return f"numba {numba.__version__}, numpy {np.__version__}"

    def init(self, hyper: Hyper, params: Sequence[np.ndarray]) -> Slots:
        return ArenaSlots.of(super().init(hyper, params), hyper, params)

    def update(
        self,
        hyper: Hyper,
        t: int,
        params: Sequence[np.ndarray],
        grads: Sequence[np.ndarray] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> tuple[list[np.ndarray], Slots]:
        program = hyper.program
        parts = cut(program)
        kept = slots if isinstance(slots, ArenaSlots) and in_place else ArenaSlots.of(slots, hyper, params)
        if not params:
            return [], kept
        values = {name: Scalar(hyper.values[name]) for name in program.hypers}
        values |= {"t": Scalar(t)} | {slot.name: Scalar(slots[slot.name]) for slot in program.numbers}
        works = [Work(group, program, parts, params, grads, kept, in_place=in_place) for group in kept.groups]
        with np.errstate(all="ignore"):
            run_lines(parts.step, values)
            for piece in parts.pieces:
                if piece.fused:
                    launch(plan(piece.program, decide(piece.program, values)), values, works)
                else:
                    for work in works:
                        as_written(piece, values, work)
        fresh = list(params)
        for work in works:
            for i, array in zip(work.group.indices, work.finish(), strict=True):
                fresh[i] = array
        made = {slot.name: parts.last.get(slot.name, slot.name) for slot in program.numbers}
        kept.update({name: float(values[one]) for name, one in made.items()})
        return fresh, kept

    def compilations(self) -> int:
        """Modules of kernels that were loaded: each is compiled, or read from disk, when it is first called."""
        return load_module.cache_info().misses


def decide(program: Program, values: dict[str, Any]) -> tuple[bool, ...]:
    """The outcome of each test on the step."""
    return tuple(bool(eval(source_of(test), dict(FUNCTIONS), values)) for test in tests(program).values())


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The compiled matrix product."""
    module = load_module("matrices", Path(__file__).with_name("numba_matrices.py").read_text(encoding="utf-8"))
    return module.product(np.ascontiguousarray(x), np.ascontiguousarray(y), lanes_for(x.shape[1]))


def _with_product(steps: Sequence[Triple]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: newton_schulz(x, np.shape(x), steps, product)


MATRICES: dict[str, Callable[..., Any]] = {name: _with_product(steps) for name, steps in OF_MATRICES.items()}


KNOWN = {**FUNCTIONS, **MATRICES}


@cache
def _code(lines: tuple[Line, ...]) -> CodeType:
    return compile("\n".join(line.text for line in lines), "<refopt>", "exec")


def run_lines(lines: tuple[Line, ...], names: dict[str, Any]) -> None:
    """Run lines as they are written, on what `names` has; it gets what they assign."""
    if lines:
        exec(_code(lines), KNOWN, names)


def as_written(piece: Piece, values: Mapping[str, Any], work: Work) -> None:
    """A piece that looks along dimensions, one tensor after the other."""
    numbers = [slot.name for slot in piece.program.tensors]
    left: dict[str, list[Any]] = {name: [] for name in piece.program.outputs}
    for i in range(len(work.params)):
        names: dict[str, Any] = {name: work.views(name)[i] for name in piece.program.arrays if name in piece.reads}
        names |= {name: Scalar(work.numbers[name][i]) for name in numbers if name in piece.reads}
        names |= values
        run_lines(piece.program.lines, names)
        for name, results in left.items():
            results.append(names[name])
    for name, results in left.items():
        if name in numbers:
            work.numbers[name] = np.array(results, np.float64)
        else:
            work.put(name, results)


@cache
def kernels(planned: Plan, dtype: str) -> ModuleType:
    """The compiled module of a plan (its functions compile, or are read from disk, when first called)."""
    return load_module(f"{planned.program.name}_{dtype}", module_source(planned, dtype))


def launch(planned: Plan, values: dict[str, Any], works: Sequence[Work]) -> None:
    """All passes of a fused piece over the arrays of all groups, each shared between threads.

    `values` gets what the host computes, for the step first and, from totals, after each stage.
    """
    run_lines(planned.step, values)
    runs = [Run(planned, work) for work in works]
    for number, stage in enumerate(planned.stages):
        for run in runs:
            run.stage(number, values)
        for name, part in stage.totals:
            row = carried(planned).index(part)
            parts = {i: x for run in runs for i, x in zip(run.work.group.indices, run.value[row], strict=True)}
            values[name] = Scalar(np.add.accumulate([parts[i] for i in sorted(parts)])[-1])
        run_lines(stage.host, values)
    for run in runs:
        run.update(values)


class Run:
    """The kernels of a plan, and what they are given of a group."""

    def __init__(self, planned: Plan, work: Work):
        self.planned, self.work, self.place = planned, work, work.layout
        self.module = kernels(planned, work.dtype.name)
        program, count = planned.program, len(work.params)
        work.room([name for name in program.outputs if name in program.arrays])
        self.table = np.stack([work.table[name] for name in program.arrays])
        unknown = np.zeros(count)
        kept = [work.numbers.get(slot.name, unknown) for slot in program.tensors]
        self.kept = np.array(kept, np.float64).reshape(-1, count)
        given = [work.numbers.get(name, unknown) for name in planned.tensor_coefficients]
        self.q = np.array(given, np.float64).astype(work.dtype).reshape(-1, count)
        self.value = np.zeros((len(carried(planned)), count))

    def coefficients(self, values: Mapping[str, Any]) -> np.ndarray:
        """Those that are known by now: a pass reads no other."""
        return np.array([values.get(name, 0) for name in self.planned.coefficients], np.float64).astype(self.work.dtype)

    def stage(self, number: int, values: Mapping[str, Any]) -> None:
        blocks, reductions = self.place.blocks, self.planned.stages[number].reductions
        partial = np.zeros((len(reductions), blocks.tensor_of.size))
        if reductions:
            kernel = getattr(self.module, f"reduce{number}")
            share(blocks, kernel, self.table, self.coefficients(values), self.q, partial)
        scalars = np.array([values.get(name, 0) for name in self.planned.scalars], np.float64)
        tensor = getattr(self.module, f"tensor{number}")
        properties = (self.place.ndim_of, self.place.sizes)
        tensor(blocks.first_of, blocks.number_of, *properties, scalars, partial, self.value, self.kept, self.q)

    def update(self, values: Mapping[str, Any]) -> None:
        share(self.place.runs, self.module.update, self.table, self.coefficients(values), self.q)
        for slot, numbers in zip(self.planned.program.tensors, self.kept, strict=True):
            self.work.numbers[slot.name] = numbers


BACKEND = NumbaEngine()
