"""The reference engine: the specialised source, run by NumPy as it stands. Its result is the definition."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np

from refopt.engines.dtypes import compute_dtype, refuse_dtype, rounded, slot_dtype
from refopt.spec.backend import REAL_OF, Slots
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
        return refuse_dtype(dtype, hyper)

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

    def as_pairs(self, array: np.ndarray) -> np.ndarray:
        return array[..., None].view(REAL_OF[array.dtype.name])

    def as_complex(self, pairs: np.ndarray) -> np.ndarray:
        return pairs.view(np.result_type(pairs, np.complex64))[..., 0]

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
        given = [{"w": w, **{n: row[i] for n, row in zip(names, rows, strict=True)}} for i, w in enumerate(params)]
        if grads is not None:
            given = [{**one, "g": g} for one, g in zip(given, grads, strict=True)]
        for w, result in zip(params, run(program, hyper.values, t, given, numbers), strict=True):
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
        numbers = {slot.name: slots[slot.name] for slot in program.numbers}
        names = [slot.name for slot in program.slots if slot.clock != "step"]
        given = [{name: slots[name][i] for name in names} for i in range(len(params))]
        results = run(program, hyper.values, t, given, numbers)
        return [rounded(result["a"], w.dtype) for result, w in zip(results, params, strict=True)]


Arrays = Mapping[str, np.ndarray]


def run(
    program: Program, values: Mapping[str, float], t: int, arrays: Sequence[Arrays], numbers: Mapping[str, float]
) -> list[dict[str, Any]]:
    """A call of the specialised source for each tensor: its outputs by name, arrays in the compute dtype.

    What is one number for the tensor, or the model, is computed with in float64, as norms are.
    """
    given = [_given(program, values, t, one, numbers) for one in arrays]
    with np.errstate(all="ignore"):
        if program.totals:
            outputs = together([program.coroutine(**one) for one in given])
        else:
            outputs = [program.function(**one) for one in given]
    return [_outputs(program, one, made) for one, made in zip(given, outputs, strict=True)]


def together(tensors: Sequence[Generator[float, float, Any]]) -> list[Any]:
    """The results of coroutines, each of which goes on when all have added their part to a total."""
    parts, results = [next(tensor) for tensor in tensors], []
    while parts:
        total = Scalar(np.add.accumulate(parts)[-1])
        parts = []
        for tensor in tensors:
            try:
                parts.append(tensor.send(total))
            except StopIteration as end:
                results.append(end.value)
    return results


def _given(
    program: Program, values: Mapping[str, float], t: int, arrays: Arrays, numbers: Mapping[str, float]
) -> dict[str, Any]:
    dtype = compute_dtype(next(iter(arrays.values())).dtype)
    given: dict[str, Any] = {name: np.asarray(arrays[name]).astype(dtype, copy=False) for name in program.arrays}
    given |= {slot.name: Scalar(arrays[slot.name]) for slot in program.tensors}
    given |= {name: Scalar(number) for name, number in numbers.items()}
    return given | {"t": Scalar(t)} | {name: Scalar(values[name]) for name in program.hypers}


def _outputs(program: Program, given: Mapping[str, Any], outputs: Any) -> dict[str, Any]:
    """By name; none is an array that was given, nor that of another output."""
    taken = [value for value in given.values() if isinstance(value, np.ndarray)]
    dtype, fresh = taken[0].dtype, []
    for value in outputs if len(program.outputs) > 1 else (outputs,):
        fresh.append(value.copy() if any(value is array for array in taken) else value)
        taken.append(fresh[-1])
    step = {slot.name for slot in program.numbers}
    return {
        name: float(value) if name in step else np.asarray(value, dtype)
        for name, value in zip(program.outputs, fresh, strict=True)
    }


BACKEND = NumpyEngine()
