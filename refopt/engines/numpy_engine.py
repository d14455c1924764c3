"""The reference engine: the specialised source, run by NumPy as it stands. Its result is the definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refopt.engines.dtypes import compute_dtype, refuse_dtype, rounded, slot_dtype
from refopt.spec.backend import Slots
from refopt.spec.errors import Unsupported
from refopt.spec.functions import Scalar
from refopt.spec.hyper import Hyper
from refopt.spec.program import Program


class NumpyEngine:
    """Runs rules on NumPy arrays (and, through `ml_dtypes`, on bfloat16 ones)."""

    name = "numpy"
    in_place = True

    def version(self) -> str:
        return f"numpy {np.__version__}"

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray | np.generic)

    def supports(self, hyper: Hyper, dtype: str, device: str | None = None) -> str | None:
        if device not in (None, "cpu"):
            return (
                f"{self.name} runs on cpu only; got device {device!r}; leave it out, or choose the jax or torch backend"
            )
        return refuse_dtype(dtype)

    def adopt(self, array: Any, device: str | None = None) -> np.ndarray:
        if not isinstance(array, np.ndarray | np.generic):
            raise Unsupported(
                f"{self.name}: expected a NumPy array, got {type(array).__module__}.{type(array).__name__}; "
                f"convert it with np.asarray, or leave backend= out to run where the array lives"
            )
        if isinstance(array, np.ma.MaskedArray):
            raise Unsupported(f"{self.name}: a masked array would lose its mask; pass array.filled(x) or array.data")
        if not array.dtype.isnative:
            raise Unsupported(
                f"{self.name}: arrays must have this machine's byte order; got {array.dtype.str}; "
                f"convert it with array.astype(array.dtype.newbyteorder('='))"
            )
        return np.asarray(array)

    def beside(self, array: Any, other: np.ndarray) -> np.ndarray:
        return self.adopt(array)

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return array

    def init(self, hyper: Hyper, params: Sequence[np.ndarray]) -> Slots:
        slots: Slots = {}
        for slot in hyper.program.slots:
            if slot.clock == "step":
                slots[slot.name] = float(slot.init)
            elif slot.init == "params":
                slots[slot.name] = [p.astype(slot_dtype(hyper.axes, p.dtype), order="C") for p in params]
            else:
                start = 0.0 if slot.init == "zeros" else slot.init
                slots[slot.name] = [
                    np.full(slot.shape(p.shape), start, slot_dtype(hyper.axes, p.dtype)) for p in params
                ]
        return slots

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
        numbers = {slot.name: slots[slot.name] for slot in program.numbers}
        names = [slot.name for slot in program.slots if slot.clock != "step"]
        rows = [slots[name] for name in names]
        new: dict[str, Any] = {**numbers, **{name: [] for name in names}}
        new_params: list[np.ndarray] = []
        for i, w in enumerate(params):
            arrays = {"w": w, **({"g": grads[i]} if grads is not None else {})}
            arrays |= {name: row[i] for name, row in zip(names, rows, strict=True)}
            result = run(program, hyper.values, t, arrays, numbers)
            new_params.append(rounded(result.get("w", w), w.dtype))
            for name in names:
                new[name].append(rounded(result[name], slot_dtype(hyper.axes, w.dtype)))
            new |= {name: float(result[name]) for name in numbers}
        if in_place:
            for old, fresh in [*zip(params, new_params, strict=True),
                               *(pair for n in names for pair in zip(slots[n], new[n], strict=True))]:  # fmt: skip
                if old is not fresh:
                    np.copyto(old, fresh)
            return list(params), {**slots, **{name: new[name] for name in numbers}}
        return new_params, new

    def assign(self, params: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> None:
        for w, value in zip(params, values, strict=True):
            np.copyto(w, value)

    def average(self, hyper: Hyper, t: int, params: Sequence[np.ndarray], slots: Slots) -> list[np.ndarray]:
        program = hyper.program.evaluate
        if program is None:
            raise Unsupported(f"{hyper.rule.name}: there is no average to evaluate with; use the parameters themselves")
        averages, numbers = [], {slot.name: slots[slot.name] for slot in program.numbers}
        for i, w in enumerate(params):
            arrays = {slot.name: slots[slot.name][i] for slot in program.slots if slot.clock != "step"}
            averages.append(rounded(run(program, hyper.values, t, arrays, numbers)["a"], w.dtype))
        return averages


def run(
    program: Program,
    values: Mapping[str, float],
    t: int,
    arrays: Mapping[str, np.ndarray],
    numbers: Mapping[str, float],
) -> dict[str, Any]:
    """One call of the specialised source for one tensor: its outputs by name, arrays in the compute dtype.

    What is one number for the tensor is computed with in float64, as norms are.
    """
    dtype = compute_dtype(next(iter(arrays.values())).dtype)
    given: dict[str, Any] = {name: np.asarray(arrays[name]).astype(dtype, copy=False) for name in program.arrays}
    given |= {slot.name: Scalar(arrays[slot.name]) for slot in program.tensors}
    given |= {name: Scalar(number) for name, number in numbers.items()}
    with np.errstate(all="ignore"):
        outputs = program.function(**given, t=Scalar(t), **{name: Scalar(values[name]) for name in program.hypers})
    if len(program.outputs) == 1:
        outputs = (outputs,)
    taken = [value for value in given.values() if isinstance(value, np.ndarray)]
    fresh = []  # no output is an array that was given, nor that of another output
    for value in outputs:
        fresh.append(value.copy() if any(value is array for array in taken) else value)
        taken.append(fresh[-1])
    step = {slot.name for slot in program.numbers}
    return {
        name: float(value) if name in step else np.asarray(value, dtype)
        for name, value in zip(program.outputs, fresh, strict=True)
    }


BACKEND = NumpyEngine()
