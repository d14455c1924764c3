"""The compiled engine: the specialised source as fused Numba kernels, bit-equal to the numpy engine.

A step is: the host evaluates the step lines once, in float64; threads share the pieces of all tensors and run the
passes that the plan asks for. Half-precision parameters, and slots, are widened to float32, updated, and rounded back
by NumPy.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numba
import numpy as np

from refopt.clocks import looks_along, matrix_functions, of_model
from refopt.clocks.plan import Plan, plan, tests
from refopt.engines.arena import Layout, addresses, layout, overlap
from refopt.engines.dtypes import compute_dtype, rounded, slot_dtype
from refopt.engines.kernel_cache import load_module
from refopt.engines.numba_source import module_source
from refopt.engines.numba_threads import share
from refopt.engines.numpy_engine import NumpyEngine
from refopt.spec.backend import Slots
from refopt.spec.functions import FUNCTIONS, Scalar
from refopt.spec.hyper import Hyper
from refopt.spec.lines import source_of
from refopt.spec.program import Program

SMALL = 1 << 12  # gradients this small on average are gathered: cheaper than asking for each address


class NumbaEngine(NumpyEngine):
    """Runs rules on NumPy arrays, compiled. It shares with NumpyEngine all that is not the step itself."""

    name = "numba"

    def version(self) -> str:
        return f"numba {numba.__version__}, numpy {np.__version__}"

    def supports(self, hyper: Hyper, dtype: str, device: str | None = None) -> str | None:
        if of_model(hyper.program):
            lines = "; ".join(sorted(hyper.program.totals))
            return (
                f"numba: {hyper.rule.name} adds over the whole model ({lines}) before it moves a parameter, and its"
                f" kernels see one at a time; run it on the numpy, jax or torch backend"
            )
        if looks_along(hyper.program):
            by = ", ".join((*hyper.program.sets, *matrix_functions(hyper.program)))
            return (
                f"numba: {hyper.rule.name} looks along the dimensions of a parameter ({by}),"
                f" and its kernels see a parameter as one row; run it on the numpy, jax or torch backend"
            )
        return super().supports(hyper, dtype, device)

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
        kept = slots if isinstance(slots, ArenaSlots) and in_place else ArenaSlots.of(slots, hyper, params)
        values = {name: Scalar(hyper.values[name]) for name in program.hypers}
        values |= {"t": Scalar(t)} | {slot.name: Scalar(slots[slot.name]) for slot in program.numbers}
        planned = plan(program, decide(program, values))
        with np.errstate(all="ignore"):
            step = host_values(planned, values)
        fresh = list(params)
        for group in kept.groups:
            new = group.step(planned, step, params, grads, kept, in_place=in_place)
            for i, array in zip(group.indices, new, strict=True):
                fresh[i] = array
        kept.update({slot.name: float(step[slot.name]) for slot in program.numbers})
        return fresh, kept

    def compilations(self) -> int:
        """Modules of kernels that were loaded: each is compiled, or read from disk, when it is first called."""
        return load_module.cache_info().misses


class Group:
    """The parameters of one dtype, and the arenas of their slots."""

    def __init__(self, dtype: np.dtype, indices: list[int], hyper: Hyper, params: Sequence[np.ndarray], slots: Slots):
        self.dtype = dtype
        self.indices = indices
        self.compute = compute_dtype(dtype)
        self.kept = slot_dtype(hyper.axes, dtype)
        self.layout: Layout = layout(tuple(params[i].shape for i in indices))
        names = [slot.name for slot in hyper.program.slots if slot.clock == "element"]
        self.arenas = {n: self.layout.gather([slots[n][i] for i in indices], self.kept) for n in names}
        self.slot_addresses = {name: self.layout.addresses(arena) for name, arena in self.arenas.items()}
        # The parameters of the last step, which a state does not keep alive, and their addresses.
        self.known: tuple[list[weakref.ref[np.ndarray]], np.ndarray] | None = None
        # Addresses of gradients and parameters that were found not to overlap.
        self.apart: tuple[bytes, bytes] | None = None

    def step(
        self,
        planned: Plan,
        step: dict[str, Any],
        params: Sequence[np.ndarray],
        grads: Sequence[np.ndarray] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> list[np.ndarray]:
        program = planned.program
        mine = [params[i] for i in self.indices]
        writes = program.writes_parameter
        direct = (
            self.dtype == self.compute
            and (in_place or not writes)
            and all(w.flags.carray if writes else w.flags.c_contiguous and w.flags.aligned for w in mine)
        )
        if direct:
            arena, where = None, self.where(mine)
        else:
            arena = self.layout.gather(mine, self.compute)
            where = self.layout.addresses(arena)
        wide = {} if self.kept == self.compute else {n: a.astype(self.compute) for n, a in self.arenas.items()}
        table = {"w": where, **self.slot_addresses} | {n: self.layout.addresses(a) for n, a in wide.items()}
        held = None  # keeps what the addresses point to alive
        if grads is not None and program.reads_gradient:
            held, table["g"] = self.gradients([grads[i] for i in self.indices], where)
        places = np.stack([table[name] for name in program.arrays])
        kept = np.array([[slots[slot.name][i] for i in self.indices] for slot in program.tensors], np.float64)
        launch(planned, step, self.layout, places, kept.reshape(-1, len(mine)), self.compute)
        del held
        for slot, row in zip(program.tensors, rounded(kept.astype(self.compute), self.kept), strict=True):
            for i, number in zip(self.indices, row, strict=True):
                slots[slot.name][i][...] = number
        for name, values in wide.items():
            self.arenas[name][...] = rounded(values, self.kept)
        if arena is None or not writes:
            return mine
        new = self.layout.views(rounded(arena, self.dtype))
        if not in_place:
            return new
        for old, fresh in zip(mine, new, strict=True):
            np.copyto(old, fresh)
        return mine

    def where(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The addresses of the parameters, asked for again only when they are other arrays."""
        if self.known is None or any(ref() is not a for ref, a in zip(self.known[0], arrays, strict=True)):
            self.known = ([weakref.ref(a) for a in arrays], addresses(arrays))
        return self.known[1]

    def gradients(self, grads: list[np.ndarray], params: np.ndarray) -> tuple[Any, np.ndarray]:
        """Gradients to read, and where; copied where that is cheaper, or where they lie in what is about to change."""
        total = int(self.layout.offsets[-1])
        if total > SMALL * len(grads) and all(
            g.dtype == self.compute and g.flags.c_contiguous and g.flags.aligned for g in grads
        ):
            found = addresses(grads)
            places = (found.tobytes(), params.tobytes())
            if places == self.apart or not overlap(found, params, self.layout.sizes * self.compute.itemsize):
                self.apart = places
                return grads, found
        arena = self.layout.gather(grads, self.compute)
        return arena, self.layout.addresses(arena)


class ArenaSlots(dict[str, Any]):
    """Slots whose arrays are views of arenas, one per parameter dtype."""

    groups: list[Group]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as plain slots, since a group holds addresses; the next step makes arenas of them."""
        return dict, (dict(self),)

    @classmethod
    def of(cls, slots: Slots, hyper: Hyper, params: Sequence[np.ndarray]) -> ArenaSlots:
        """A copy of any slots."""
        dtypes: dict[np.dtype, list[int]] = {}
        for i, w in enumerate(params):
            dtypes.setdefault(w.dtype, []).append(i)
        new = cls(slots)
        new.groups = [Group(dtype, indices, hyper, params, slots) for dtype, indices in dtypes.items()]
        for slot in hyper.program.slots:
            if slot.clock == "tensor":
                new[slot.name] = [np.array(x) for x in slots[slot.name]]
            elif slot.clock == "element":
                new[slot.name] = list(slots[slot.name])
                for group in new.groups:
                    for i, view in zip(group.indices, group.layout.views(group.arenas[slot.name]), strict=True):
                        new[slot.name][i] = view
        return new


def decide(program: Program, values: dict[str, Any]) -> tuple[bool, ...]:
    """The outcome of each test on the step."""
    return tuple(bool(eval(source_of(test), dict(FUNCTIONS), values)) for test in tests(program).values())


@cache
def _host_code(planned: Plan) -> Any:
    return compile("\n".join(line.text for line in planned.step), f"<refopt step of {planned.program.name}>", "exec")


def host_values(planned: Plan, values: dict[str, Any]) -> dict[str, Any]:
    """All step-clock values, computed once in float64."""
    names = dict(values)
    exec(_host_code(planned), dict(FUNCTIONS), names)
    return names


@cache
def kernels(planned: Plan, dtype: str) -> ModuleType:
    """The compiled module of a plan (its functions compile, or are read from disk, when first called)."""
    return load_module(f"{planned.program.name}_{dtype}", module_source(planned, dtype))


def launch(
    planned: Plan, step: dict[str, Any], place: Layout, table: np.ndarray, kept: np.ndarray, dtype: np.dtype
) -> None:
    """All passes of a step over the arrays at `table`, each shared between threads. Slots in `kept` are updated."""
    module = kernels(planned, dtype.name)
    with np.errstate(all="ignore"):
        k = np.array([step[name] for name in planned.coefficients], np.float64).astype(dtype)
        s = np.array([step[name] for name in planned.scalars], np.float64)
        q = np.zeros((len(planned.tensor_coefficients), len(place.shapes)), dtype)
        value = np.zeros((sum(len(stage.lines) for stage in planned.stages), len(place.shapes)))
        for number, stage in enumerate(planned.stages):
            partial = np.zeros((len(stage.reductions), place.blocks.tensor_of.size))
            if stage.reductions:
                share(place.blocks, getattr(module, f"reduce{number}"), table, k, q, partial)
            tensor = getattr(module, f"tensor{number}")
            properties = (place.ndim_of, place.sizes)
            tensor(place.blocks.first_of, place.blocks.number_of, *properties, s, partial, value, kept, q)
        share(place.runs, module.update, table, k, q)


BACKEND = NumbaEngine()
