"""Faults that are no fault of a rule, but of what runs it: engines whose loops, states or steps are wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refopt.clocks import Clock, clocks, looks_along
from refopt.engines.numpy_engine import NumpyEngine
from refopt.rules._faults import reports
from refopt.spec.backend import Slots
from refopt.spec.functions import Scalar
from refopt.spec.hyper import Hyper
from refopt.spec.lines import names_read
from refopt.spec.program import Program

Arrays = Sequence[np.ndarray]


def rows(slots: Slots) -> dict[str, list[np.ndarray]]:
    return {name: slot for name, slot in slots.items() if isinstance(slot, list)}


def placed(params: Arrays, new: list[np.ndarray], slots: Slots, after: Slots, *, in_place: bool) -> Any:
    """What `update` returns when a step was computed elsewhere: in place it is written into the arrays."""
    if not in_place:
        return new, after
    for old, fresh in zip(params, new, strict=True):
        np.copyto(old, fresh)
    for name, row in rows(slots).items():
        for old, fresh in zip(row, after[name], strict=True):
            np.copyto(old, fresh)
    return list(params), {**after, **rows(slots)}


class SharedState(NumpyEngine):
    def init(self, hyper: Hyper, params: Arrays) -> Slots:
        slots = super().init(hyper, params)
        for row in rows(slots).values():
            first: dict[Any, np.ndarray] = {}
            row[:] = [first.setdefault((x.shape, x.dtype), x) for x in row]
        return slots


class GradientWritten(NumpyEngine):
    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        result = super().update(hyper, t, params, grads, slots, in_place=in_place)
        for g in grads or []:
            if g.flags.writeable:
                g *= 0.5
        return result


class InputsWritten(NumpyEngine):
    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        writeable = all(w.flags.writeable for w in params)
        return super().update(hyper, t, params, grads, slots, in_place=in_place or writeable)


class StateNotRestored(NumpyEngine):
    """It goes on from its own state, whatever it is given."""

    def __init__(self) -> None:
        self.own: Slots | None = None

    def init(self, hyper: Hyper, params: Arrays) -> Slots:
        self.own = super().init(hyper, params)
        return dict(self.own)

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        fits = self.own is not None and self.own.keys() == slots.keys()
        fits = fits and all(
            [x.shape for x in mine] == [x.shape for x in slots[name]] for name, mine in rows(self.own or {}).items()
        )
        start = self.own if fits and self.own is not None else slots
        new, own = super().update(hyper, t, params, grads, start, in_place=False)
        self.own = own
        given = {n: [x.copy() for x in s] if isinstance(s, list) else s for n, s in own.items()}
        return placed(params, new, slots, given, in_place=in_place)


class TailSkipped(NumpyEngine):
    """Elements beyond the last full vector of four are left as they were."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        tails = [w.reshape(-1)[w.size // 4 * 4 :].copy() for w in params]
        new, after = super().update(hyper, t, params, grads, slots, in_place=in_place)
        for w, tail in zip(new, tails, strict=True):
            if tail.size < w.size and w.flags.writeable and w.flags.c_contiguous:
                w.reshape(-1)[w.size // 4 * 4 :] = tail
        return new, after


class OneByOne(NumpyEngine):
    """Steps each tensor by itself, with a step number of its own."""

    def number(self, t: int, i: int, count: int) -> int:
        raise NotImplementedError

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        params_out: list[np.ndarray] = []
        out: Slots = {name: [] if isinstance(slot, list) else slot for name, slot in slots.items()}
        for i, w in enumerate(params):
            mine = {name: slot[i : i + 1] if isinstance(slot, list) else slot for name, slot in slots.items()}
            number = self.number(t, i, len(params))
            new, after = super().update(hyper, number, [w], grads and grads[i : i + 1], mine, in_place=in_place)
            params_out += new
            for name, slot in after.items():
                out[name] = [*out[name], *slot] if isinstance(slot, list) else slot
        return params_out, out


class FirstCounted(OneByOne):
    def number(self, t: int, i: int, count: int) -> int:
        return t if i == 0 else 1


class CountedPerTensor(OneByOne):
    def number(self, t: int, i: int, count: int) -> int:
        return (t - 1) * count + i + 1


class OneTensor(NumpyEngine):
    """Takes the model for one long tensor: norms are over everything."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        if not params or len({w.dtype for w in params}) > 1:
            return super().update(hyper, t, params, grads, slots, in_place=in_place)

        def joined(arrays: Arrays) -> list[np.ndarray]:
            return [np.concatenate([a.ravel() for a in arrays])]

        def cut(whole: list[np.ndarray]) -> list[np.ndarray]:
            parts = np.split(whole[0], np.cumsum([w.size for w in params])[:-1])
            return [part.reshape(w.shape) for part, w in zip(parts, params, strict=True)]

        single = {slot.name for slot in hyper.program.tensors}  # of which the whole model has one
        long = {
            name: slot[:1] if name in single else joined(slot) if isinstance(slot, list) else slot
            for name, slot in slots.items()
        }
        new, after = super().update(hyper, t, joined(params), grads and joined(grads), long, in_place=False)
        out = {
            name: [slot[0].copy() for _ in params] if name in single else cut(slot) if isinstance(slot, list) else slot
            for name, slot in after.items()
        }
        return placed(params, cut(new), slots, out, in_place=in_place)


class GradientKept(NumpyEngine):
    """Keeps the gradients alive until the next step."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        self.kept = grads and list(grads)
        return super().update(hyper, t, params, grads, slots, in_place=in_place)


class LayoutIgnored(NumpyEngine):
    """Reads the memory of an array as if it lay row by row."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        if not in_place:
            params = [w.ravel(order="K").reshape(w.shape) for w in params]
            grads = None if grads is None else [g.ravel(order="K").reshape(g.shape) for g in grads]
        return super().update(hyper, t, params, grads, slots, in_place=in_place)


class RatesRounded(NumpyEngine):
    """Computes what is the same for all elements in float32."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        low = {n: float(np.float32(Scalar(hyper.values[n]))) for n in hyper.read}
        return super().update(hyper.replace(**low), t, params, grads, slots, in_place=in_place)


def always(program: Program) -> bool:
    return True


def has_state(program: Program) -> bool:
    return any(slot.clock in ("element", "set") for slot in program.slots)


def counts(program: Program) -> bool:
    lines = (*program.lines, *(program.evaluate.lines if program.evaluate else ()))
    return "t" in names_read(line.value for line in lines)


def takes_norms(program: Program) -> bool:
    """And could be joined: one long tensor has no rows."""
    return Clock.TENSOR in clocks(program) and not looks_along(program)


def reads_gradient(program: Program) -> bool:
    return program.reads_gradient


def moves(program: Program) -> bool:
    return program.writes_parameter


@dataclass(frozen=True)
class Structural:
    """A wrong engine, what it does to training, where people met it, and which programs it can show in.

    Of an engine that computes nothing wrong only laws can tell: it is tried on nothing else.
    """

    name: str
    effect: str
    engine: type[NumpyEngine]
    shows_in: Callable[[Program], bool] = always
    issues: tuple[str, ...] = ()
    computes: bool = True


STRUCTURAL = (
    Structural("state-shared", "tensors of one shape share their state: each mixes its moments with the others'",
               SharedState, has_state),
    Structural("gradient-written", "the gradient is changed in place: whoever reads it after the step reads another",
               GradientWritten, reads_gradient, reports("pytorch/pytorch/issues/12218", "pytorch/pytorch/pull/18732")),
    Structural("inputs-written", "a step that should return new parameters writes into the old: a rejected step cannot "
               "be taken back", InputsWritten, moves),
    Structural("state-not-restored", "a loaded state is ignored: after a restart the moments start anew",
               StateNotRestored, has_state,
               reports("thinking-machines-lab/tinker-feedback/issues/127", "KempnerInstitute/KempnerForge/pull/115")),
    Structural("tail-skipped", "elements beyond the last full vector are not updated", TailSkipped, moves),
    Structural("first-tensor-counted", "only the first tensor's step is counted: the others start anew at every step",
               FirstCounted, counts),
    Structural("counted-per-tensor", "the step counter is raised once per tensor: corrections end far too early",
               CountedPerTensor, counts),
    Structural("one-tensor", "norms are taken over the whole model: layers no longer have a rate of their own",
               OneTensor, takes_norms),
    Structural("gradient-kept", "gradients are held until the next step: memory that should be free is not",
               GradientKept, reads_gradient),
    Structural("layout-ignored", "a transposed array is read row by row: elements get each other's updates",
               LayoutIgnored, moves),
    Structural("numbers-in-float32", "hyper-parameters are rounded to float32 before 1 - beta is taken",
               RatesRounded, issues=reports("tenstorrent/tt-metal/issues/55935")),
)  # fmt: skip
