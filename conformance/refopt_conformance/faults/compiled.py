"""Faults of backends that compile their steps, or make new arrays at each: what is only seen by who donates memory.

NumPy plays such a backend: its programs are the keys of the steps that it has taken, its eager mode is a mark, and to
donate is to write the results over the arguments.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from refopt.clocks import estimates
from refopt.engines.dtypes import compute_dtype
from refopt.engines.numpy_engine import NumpyEngine
from refopt.rules._faults import reports
from refopt.spec.backend import Body, Slots
from refopt.spec.hyper import Hyper
from refopt.spec.lines import inputs, prune
from refopt.spec.program import Program
from refopt_conformance.faults.structural import Arrays, Structural, has_state, moves


class Compiler(NumpyEngine):
    """Without a fault: it makes a program for each rule and list of shapes."""

    in_place = False

    def __init__(self) -> None:
        self.programs: set[Hashable] = set()
        self.interprets = False

    def key(self, hyper: Hyper, t: int) -> Hashable:
        return ()

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        shapes = tuple((w.shape, w.dtype) for w in params)
        self.programs.add((hyper.program.key, shapes, self.key(hyper, t)))
        return super().update(hyper, t, params, grads, slots, in_place=in_place)

    def compilations(self) -> int:
        return len(self.programs)

    @contextmanager
    def eager(self) -> Iterator[None]:
        self.interprets = True
        try:
            yield
        finally:
            self.interprets = False

    def compiled(self, body: Body, *, donate: bool) -> Body:
        def program(params: list[Any], slots: Slots, grads: list[Any] | None) -> tuple[list[Any], Slots]:
            new, new_slots = body(params, slots, grads)
            if not donate:
                return new, new_slots
            _write(params, new)
            for name, row in slots.items():
                _write(row, new_slots[name])
            return params, slots

        return program


def _write(old: Arrays, new: Arrays) -> None:
    for array, fresh in zip(old, new, strict=True):
        np.copyto(array, fresh)


class RateCompiledIn(Compiler):
    """The learning rate is a constant of the program."""

    def key(self, hyper: Hyper, t: int) -> Hashable:
        return hyper.values["lr"]


class StepCompiledIn(Compiler):
    """The step number is a constant of the program, read or not."""

    def key(self, hyper: Hyper, t: int) -> Hashable:
        return t


class EagerDiffers(Compiler):
    """What is not compiled is cast down to bfloat16, as some frameworks do by themselves."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        new, after = super().update(hyper, t, params, grads, slots, in_place=in_place)
        if not self.interprets:
            return new, after
        narrow = {name: _narrow(slot) if isinstance(slot, list) else slot for name, slot in after.items()}
        return _narrow(new), narrow


def _narrow(arrays: Arrays) -> list[np.ndarray]:
    return [x.astype(ml_dtypes.bfloat16).astype(x.dtype) for x in arrays]


class ReadTooLate(Compiler):
    """With donated memory, the parameters' step reads slots that the new ones have been written over."""

    def compiled(self, body: Body, *, donate: bool) -> Body:
        def program(params: list[Any], slots: Slots, grads: list[Any] | None) -> tuple[list[Any], Slots]:
            new, after = body(params, slots, grads)
            if donate:
                new, _ = body(params, after, grads)
            return new, after

        return program


class SlotsShareAnArray(NumpyEngine):
    """Slots that start alike start as one array: nobody writes into it."""

    in_place = False

    def init(self, hyper: Hyper, params: Arrays) -> Slots:
        slots = super().init(hyper, params)
        first: dict[Any, np.ndarray] = {}
        for slot in hyper.program.slots:
            if isinstance(slot.init, str):  # copies of one parameter are alike, zeros wherever they are
                keys = [i if slot.init == "params" else (x.shape, x.dtype) for i, x in enumerate(slots[slot.name])]
                slots[slot.name] = [first.setdefault(key, x) for key, x in zip(keys, slots[slot.name], strict=True)]
        return slots


class SlotIsTheParameter(NumpyEngine):
    """A slot that starts from the parameter is the parameter: nobody writes into it."""

    in_place = False

    def init(self, hyper: Hyper, params: Arrays) -> Slots:
        slots = super().init(hyper, params)
        for slot in hyper.program.slots:
            if slot.init == "params":
                slots[slot.name] = [w.astype(compute_dtype(w.dtype), copy=False) for w in params]
        return slots


class OldParametersKept(NumpyEngine):
    """Keeps the parameters that a step began with, to be able to go back."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        self.kept = list(params)
        return super().update(hyper, t, params, grads, slots, in_place=in_place)


class OldSlotsKept(NumpyEngine):
    """Keeps the state that a step began with, to be able to go back."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        self.kept = dict(slots)
        return super().update(hyper, t, params, grads, slots, in_place=in_place)


def _moves_by_state(program: Program) -> bool:
    """Whether the parameters are moved, and by state: not only watched by it; and in a program of its own."""
    if estimates(program):
        return False
    arrays = {slot.name for slot in program.slots if slot.clock == "element"}
    lines, _ = prune(program.lines, {"w"}, arrays)
    return program.writes_parameter and bool(inputs(lines) & arrays)


def _watches(program: Program) -> bool:
    return not program.writes_parameter


_FAULTS = (
    Structural("rate-compiled-in", "each new learning rate compiles the step anew: under a schedule, every step does",
               RateCompiledIn, moves,
               reports("pytorch/pytorch/issues/130467", "pytorch/FBGEMM/pull/3287")),
    Structural("step-compiled-in", "each step compiles anew, because the count of steps is part of the program",
               StepCompiledIn, issues=reports("Koratahiu/Advanced_Optimizers/pull/6")),
    Structural("eager-differs", "a step that is not compiled computes in bfloat16: who debugs one sees another run",
               EagerDiffers, issues=reports("stockeh/mlx-optimizers/issues/38")),
    Structural("donated-memory-read-late", "where memory is donated, new moments are written before the old are read: "
               "every step takes two", ReadTooLate, _moves_by_state, reports("jax-ml/jax/issues/39625")),
    Structural("slots-share-an-array", "all slots start as one array of zeros: who donates the state donates it twice, "
               "and the step fails", SlotsShareAnArray, has_state,
               reports("jax-ml/jax/issues/9635", "liesel-devs/liesel/pull/272")),
    Structural("slot-is-the-parameter", "an average starts as the parameter itself: who donates both, donates one "
               "array twice, and the step fails", SlotIsTheParameter, _watches,
               reports("google-deepmind/optax/pull/1059")),
    Structural("old-parameters-kept", "parameters are held after the step that replaced them: memory for a second "
               "model", OldParametersKept, issues=reports("google-deepmind/optax/issues/969")),
    Structural("old-slots-kept", "the state is held after the step that replaced it: memory for a second state",
               OldSlotsKept, has_state),
)  # fmt: skip
COMPILED = tuple(replace(one, computes=False) for one in _FAULTS)
