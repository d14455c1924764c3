"""The state of an optimizer as plain arrays, and on disk as `.npz` or `.safetensors`. Never pickle.

    refopt                        what the state belongs to, as JSON: rule, axis choices, step
    slots[m]params['w']           the slot m of the parameter at params['w']
    slots[p1]                     a slot that is one number
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refopt.spec.backend import Backend, Slots
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper

META = "refopt"
FORMAT = 1
SUFFIXES = (".npz", ".safetensors")


def export(hyper: Hyper, step: int, slots: Slots, names: Sequence[str], backend: Backend) -> dict[str, np.ndarray]:
    """The state as NumPy arrays, copied."""
    meta = {"format": FORMAT, "rule": hyper.rule.name, "axes": dict(hyper.axes), "step": step}
    state = {META: np.array(json.dumps(meta))}
    for slot in hyper.program.slots:
        if slot.clock == "step":
            state[f"slots[{slot.name}]"] = np.array(slots[slot.name], np.float64)
            continue
        for name, array in zip(names, slots[slot.name], strict=True):
            state[f"slots[{slot.name}]{name}"] = np.array(backend.to_numpy(array))
    return state


def restore(
    hyper: Hyper,
    state: Mapping[str, np.ndarray],
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    backend: Backend,
    current: Slots,
) -> tuple[int, Slots]:
    """(step, slots) from an exported state, after checking that it belongs to this optimizer."""
    meta = _meta(state)
    if meta["rule"] != hyper.rule.name:
        raise RefoptError(f"the state belongs to the rule {meta['rule']!r}; this optimizer runs {hyper.rule.name!r}")
    needed = {slot.name for slot in hyper.program.slots}
    differing = {k: v for k, v in meta["axes"].items() if hyper.axes.get(k) != v}
    expected = {META} | {f"slots[{s.name}]" for s in hyper.program.numbers}
    expected |= {f"slots[{s.name}]{n}" for s in hyper.program.slots if s.clock == "element" for n in names}
    if set(state) != expected:
        odd = sorted(set(state) ^ expected)[0]
        side = "lacks" if odd in expected else "has"
        hint = f"; it was made with {differing}" if differing else ""
        raise RefoptError(
            f"the state {side} {odd!r}, this optimizer keeps {sorted(needed)} for {len(names)} parameters{hint}; "
            f"load it into an optimizer with the same axes and tree of parameters"
        )
    slots: Slots = {}
    for slot in hyper.program.slots:
        if slot.clock == "step":
            slots[slot.name] = float(state[f"slots[{slot.name}]"])
            continue
        slots[slot.name] = []
        for name, shape, now in zip(names, shapes, current[slot.name], strict=True):
            array = np.asarray(state[f"slots[{slot.name}]{name}"])
            dtype = backend.to_numpy(now).dtype
            if array.shape != shape or array.dtype != dtype:
                raise RefoptError(
                    f"slot {slot.name!r} of {name} must be {dtype} of shape {shape}; "
                    f"the state has {array.dtype} of shape {array.shape}"
                )
            slots[slot.name].append(backend.adopt(array.copy(), _device_of(now)))
    return int(meta["step"]), slots


def _device_of(array: Any) -> str | None:
    """The device of a torch tensor or a JAX array, so that the restored slot lies beside its parameter."""
    device = getattr(array, "device", None)
    if device is None or isinstance(array, np.ndarray):
        return None
    platform = getattr(device, "platform", None)  # a jax.Device
    return f"{platform}:{device.id}" if platform else str(device)


def _meta(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        meta = json.loads(str(state[META]))
        if meta["format"] != FORMAT:
            raise RefoptError(f"the state has format {meta['format']!r}, this refopt reads {FORMAT}; update refopt")
        return {"rule": meta["rule"], "axes": dict(meta["axes"]), "step": int(meta["step"])}
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, RefoptError):
            raise
        raise RefoptError("this is no state of a refopt optimizer: its 'refopt' entry is missing or damaged") from None


def write(path: str | Path, state: Mapping[str, np.ndarray]) -> None:
    """Write at once or not at all."""
    path = Path(path)
    _check_suffix(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=path.suffix, delete=False) as file:
        temporary = Path(file.name)
    try:
        if path.suffix == ".npz":
            np.savez(temporary, **state)  # type: ignore[arg-type]  # savez takes arrays by any name
        else:
            arrays = {name: array for name, array in state.items() if name != META}
            _safetensors().save_file(arrays, temporary, metadata={META: str(state[META])})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file; RefoptError if it is damaged or of another kind."""
    path = Path(path)
    _check_suffix(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        with _safetensors().safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            return arrays | {META: np.array((file.metadata() or {}).get(META, ""))}
    except FileNotFoundError:
        raise RefoptError(f"there is no file {path}") from None
    except Unsupported:
        raise
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError) as error:
        raise RefoptError(f"{path} is damaged or no {path.suffix} file: {error}; restore it from a copy") from None
    except Exception as error:
        if type(error).__name__ == "SafetensorError":  # its module is imported only where it is used
            raise RefoptError(f"{path} is damaged or no .safetensors file: {error}; restore it from a copy") from None
        raise


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise RefoptError(f"a state is kept in a file ending in {' or '.join(SUFFIXES)}; got {path.name!r}")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise Unsupported(
            "writing .safetensors needs the safetensors package: pip install safetensors, or use .npz"
        ) from None
    return safetensors.numpy
