"""The state of an optimizer as plain arrays, and on disk as `.npz` or `.safetensors`. Never pickle.

    refopt                        what the state belongs to, as JSON: rule, axis choices, step
    slots[m]params['w']           the slot m of the parameter at params['w']
    slots[p1]                     a slot that is one number

A file is written at once or not at all, and checked as a whole before anything is restored from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refopt.files import read_npz, whole
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
            # In C order, as safetensors would write the bytes of any other as they lie.
            state[f"slots[{slot.name}]{name}"] = np.array(backend.to_numpy(array), order="C")
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
        raise RefoptError(
            f"the state belongs to the rule {meta['rule']!r}, this optimizer runs {hyper.rule.name!r}; "
            f"load it into an optimizer of its own rule"
        )
    # An axis that a file does not name was added to the rule after it was written: its first choice is what there was.
    axes = {axis.name: axis.choices[0] for axis in hyper.rule.axes} | meta["axes"]
    if differing := sorted(name for name in axes if axes[name] != hyper.axes.get(name)):
        theirs = ", ".join(f"{name}={axes[name]!r}" for name in differing)
        ours = ", ".join(f"{name}={hyper.axes[name]!r}" for name in differing if name in hyper.axes)
        raise RefoptError(
            f"the state was made with {theirs}, this optimizer with {ours or 'no such axis'}; "
            f"load it into an optimizer with the same axes"
        )
    expected = {META} | {f"slots[{s.name}]" for s in hyper.program.numbers}
    expected |= {f"slots[{s.name}]{n}" for s in hyper.program.slots if s.clock != "step" for n in names}
    if set(state) != expected:
        odd = sorted(set(state) ^ expected)[0]
        side = "lacks" if odd in expected else "has"
        raise RefoptError(
            f"the state {side} {odd!r}, this optimizer keeps {[s.name for s in hyper.program.slots]} for {len(names)} "
            f"parameters; load it into an optimizer with the same tree of parameters"
        )
    slots: Slots = {}
    for slot in hyper.program.slots:
        if slot.clock == "step":
            slots[slot.name] = float(_checked(state[f"slots[{slot.name}]"], f"slot {slot.name!r}", (), np.float64))
            continue
        slots[slot.name] = []
        for name, shape, now in zip(names, shapes, current[slot.name], strict=True):
            laid_out = np.empty_like(backend.to_numpy(now))  # in memory as now: torch's last bits depend on the strides
            laid_out[...] = _checked(
                state[f"slots[{slot.name}]{name}"], f"slot {slot.name!r} of {name}", slot.shape(shape), laid_out.dtype
            )
            slots[slot.name].append(backend.beside(laid_out, now))
    return meta["step"], slots


def _checked(array: Any, what: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.shape != shape or array.dtype != dtype:
        raise RefoptError(
            f"{what} must be {np.dtype(dtype)} of shape {shape}; the state has {array.dtype} of shape {array.shape}; "
            f"load it into an optimizer of the same parameters"
        )
    return array


def _meta(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    try:
        meta = json.loads(str(state[META]))
        if meta["format"] == FORMAT and isinstance(meta["step"], int) and meta["step"] >= 0:
            return {"rule": meta["rule"], "axes": dict(meta["axes"]), "step": meta["step"]}
        found = meta["format"]
    except (KeyError, ValueError, TypeError):
        found = FORMAT
    if found != FORMAT:
        raise RefoptError(f"the state has format {found!r}, this refopt reads {FORMAT}; update refopt")
    raise RefoptError(
        "this is no state of a refopt optimizer: its 'refopt' entry is missing or damaged; "
        "give what state_dict() returned, or a file that save() wrote"
    )


def write(path: str | Path, state: Mapping[str, np.ndarray]) -> None:
    """Write at once or not at all."""
    path = Path(path)
    _check_suffix(path)
    library = None if path.suffix == ".npz" else _safetensors()
    with whole(path) as temporary:
        if library is None:
            np.savez(temporary, **state)  # type: ignore[arg-type]  # savez takes arrays by any name
        else:
            arrays = {name: array for name, array in state.items() if name != META}
            library.save_file(arrays, temporary, metadata={META: str(state[META])})


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file; RefoptError if it is damaged or of another kind."""
    path = Path(path)
    _check_suffix(path)
    reader = read_npz if path.suffix == ".npz" else _read_safetensors
    try:
        return reader(path)
    except FileNotFoundError:
        raise RefoptError(f"there is no file {path}; give one that save() wrote") from None
    except PermissionError as error:
        raise RefoptError(f"{path} cannot be read: {error.strerror}; change its permissions") from None
    except Unsupported:
        raise
    except Exception as error:  # damage shows as any error: of zip, of a header, of the memory that a header asks for
        raise RefoptError(f"{path} is damaged or no {path.suffix} file: {error}; restore it from a copy") from None


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with _safetensors().safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        return arrays | {META: np.array((file.metadata() or {}).get(META, ""))}


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise RefoptError(f"a state is kept in a file ending in {' or '.join(SUFFIXES)}; got {path.name!r}")


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise Unsupported(
            ".safetensors files need the safetensors package; pip install safetensors, or use .npz"
        ) from None
    return safetensors.numpy
