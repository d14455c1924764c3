"""Faults that small models and usual numbers hide: of long arrays, many tensors, odd layouts, numbers that are 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from refopt.engines.numpy_engine import NumpyEngine
from refopt.spec.backend import Slots
from refopt.spec.hyper import Hyper
from refopt.spec.program import Program
from refopt_conformance.faults.structural import Arrays, Structural, has_state, moves

ELEMENTS, TENSORS = 2**16, 110  # what one launch of a kernel may take


class LongCut(NumpyEngine):
    """Elements beyond the first 65536 of an array are left as they were."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        rests = [w.reshape(-1)[ELEMENTS:].copy() for w in params]
        new, after = super().update(hyper, t, params, grads, slots, in_place=in_place)
        for w, rest in zip(new, rests, strict=True):
            if rest.size:
                w.reshape(-1)[ELEMENTS:] = rest
        return new, after


class ManyCut(NumpyEngine):
    """Tensors beyond the first 110 are left as they were."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        rest = [w.copy() for w in params[TENSORS:]]
        new, after = super().update(hyper, t, params, grads, slots, in_place=in_place)
        for w, old in zip(new[TENSORS:], rest, strict=True):
            np.copyto(w, old)
        return new, after


class LostInPlace(NumpyEngine):
    """A parameter that does not lie row by row is updated in a copy, which is thrown away."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        work = [w if w.flags.c_contiguous or not in_place else w.copy() for w in params]
        new, after = super().update(hyper, t, work, grads, slots, in_place=in_place)
        return (list(params) if in_place else new), after


class ZeroIsDefault(NumpyEngine):
    """`beta or 0.9`: a number that is 0 is taken for one that was not given."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        given = {n: hyper.rule.hyper_parameter(n).default for n in hyper.read if hyper.values[n] == 0 and n != "lr"}
        return super().update(hyper.replace(**given), t, params, grads, slots, in_place=in_place)


class IdleWithoutRate(NumpyEngine):
    """A step with a learning rate of 0 is no step."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        new, after = super().update(hyper, t, params, grads, slots, in_place=in_place and hyper.values["lr"] != 0)
        return (new, after) if hyper.values["lr"] != 0 else (list(params), dict(slots))


def _reads_numbers(program: Program) -> bool:
    return bool({*program.hypers} - {"lr", "wd"})


def _has_velocity(program: Program) -> bool:
    return moves(program) and has_state(program)


EXTENT = (
    Structural("long-arrays-cut", "elements beyond the first 65536 of an array are not updated: half of an embedding "
               "never learns", LongCut, moves),
    Structural("many-tensors-cut", "tensors beyond the first 110 are not updated: the last layers never learn",
               ManyCut, moves),
    Structural("update-lost-in-place", "a transposed parameter is updated in a copy: it never learns",
               LostInPlace, moves),
    Structural("zero-is-default", "a beta or an epsilon of 0 is taken for the default: it cannot be turned off",
               ZeroIsDefault, _reads_numbers),
    Structural("idle-without-rate", "a step with a learning rate of 0 leaves the moments as they are: a warm-up that "
               "starts at 0 loses its first gradients", IdleWithoutRate, _has_velocity),
)  # fmt: skip
