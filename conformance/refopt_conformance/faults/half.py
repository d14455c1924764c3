"""Faults with float16 and bfloat16 parameters: what is kept in which dtype, and how it gets there."""

from __future__ import annotations

from typing import Any

import numpy as np

from refopt.engines.dtypes import HALF, compute_dtype, rounded
from refopt.engines.numpy_engine import NumpyEngine
from refopt.rules._faults import reports
from refopt.spec.backend import Slots
from refopt.spec.hyper import Hyper
from refopt_conformance.faults.structural import Arrays, Structural, has_state, placed, rows


class ComputedNarrow(NumpyEngine):
    """Computes float16 and bfloat16 parameters in their own dtype, not in float32."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        narrow = [w.dtype if w.dtype.itemsize == 2 else None for w in params]
        cut = {
            name: [rounded(x, d).astype(x.dtype) if d else x for x, d in zip(slot, narrow, strict=True)]
            if isinstance(slot, list)
            else slot
            for name, slot in slots.items()
        }
        if any(d is not None for d in narrow):
            for name, row in rows(slots).items():
                for old, fresh in zip(row, cut[name], strict=True):
                    if in_place:
                        np.copyto(old, fresh)
        return super().update(hyper, t, params, grads, slots if in_place else cut, in_place=in_place)


class KeptWide(NumpyEngine):
    """Keeps the state in float32, whatever was asked for."""

    def init(self, hyper: Hyper, params: Arrays) -> Slots:
        return super().init(_kept_in_float32(hyper), params)

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        return super().update(_kept_in_float32(hyper), t, params, grads, slots, in_place=in_place)


def _kept_in_float32(hyper: Hyper) -> Hyper:
    return hyper.replace(state_dtype="float32") if "state_dtype" in hyper.axes else hyper


class Cut(NumpyEngine):
    """Drops the last bits of a float32 result, where it should round to the nearest."""

    def update(
        self, hyper: Hyper, t: int, params: Arrays, grads: Arrays | None, slots: Slots, *, in_place: bool
    ) -> Any:
        wide = [w.astype(compute_dtype(w.dtype)) for w in params]
        given = grads and [g.astype(compute_dtype(g.dtype)) for g in grads]
        state = {
            name: [x.astype(compute_dtype(x.dtype)) for x in slot] if isinstance(slot, list) else slot
            for name, slot in slots.items()
        }
        new, after = super().update(hyper, t, wide, given, state, in_place=False)
        cut = [_cut(w, old) for w, old in zip(new, params, strict=True)]
        out = {
            name: [_cut(x, old) for x, old in zip(slot, slots[name], strict=True)] if isinstance(slot, list) else slot
            for name, slot in after.items()
        }
        return placed(params, cut, slots, out, in_place=in_place)


def _cut(wide: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The nearest number of the other's dtype that is no larger."""
    if like.dtype.name not in HALF:
        return wide
    with np.errstate(all="ignore"):
        nearest = wide.astype(like.dtype)
        beyond = np.abs(nearest.astype(wide.dtype)) > np.abs(wide)
        return np.where(beyond, np.nextafter(nearest, like.dtype.type(0)), nearest)


HALVES = (
    Structural("state-narrow", "moments of float16 and bfloat16 parameters are kept in their dtype",
               ComputedNarrow, has_state, reports("FluxML/Optimisers.jl/issues/215")),
    Structural("state-wide", "the state of float16 and bfloat16 parameters is float32, though theirs was asked for: it "
               "takes twice the memory", KeptWide, has_state),
    Structural("halves-cut", "what does not fit into float16 or bfloat16 is cut off, not rounded: weights shrink",
               Cut),
)  # fmt: skip
