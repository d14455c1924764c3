"""Traces on disk, as `.npz` or as `.json` that any language can write. docs/traces.md shows both.

    .npz    refopt_trace               JSON: {"format": 1, "hyper": [{"lr": 0.1}, ...]}
            params/NAME                the parameter NAME before the first step
            grads/1/NAME               its gradient at step 1
            results/1/NAME             the parameter after step 1
    .json   {"refopt_trace": 1, "dtype": "float32", "hyper": {"b1": 0.9}, "params": {NAME: [...]},
             "steps": [{"hyper": {"lr": 0.1}, "grads": {NAME: [...]}, "results": {NAME: [...]}}, ...]}

Numbers in JSON are decimal, or strings: hexadecimal floats ("0x1.8p+0"), "nan", "inf", "-inf".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.files import read_npz, whole
from refopt.spec.errors import RefoptError
from refopt.verifying.trace import Arrays, Trace

META = "refopt_trace"
FORMAT = 1
SUFFIXES = (".npz", ".json")
PARTS = ("grads", "results")


def save(path: str | Path, trace: Trace) -> None:
    """Write a trace at once or not at all; `.npz` or `.json`.

    Raises:
        RefoptError: another suffix, a folder that does not exist, or a trace whose trees do not match.
    """
    path = _checked(path)
    arrays = trace.arrays()
    names = [name.lstrip("[").rstrip("]").replace("'", "").replace("][", ".") for name in arrays.paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RefoptError(f"two parameters would be called {twice[0]!r} in the file; name them otherwise")
    write = _write_npz if path.suffix == ".npz" else _write_json
    with whole(path) as temporary:
        write(temporary, arrays, names)


def load(path: str | Path) -> Trace:
    """The trace that a file holds, its trees flat: {name: array}.

    Raises:
        RefoptError: no such file, another format, or something missing; the message says what.
    """
    path = _checked(path)
    if not path.is_file():
        raise RefoptError(f"there is no file {path}; give a trace, a file ending in {' or '.join(SUFFIXES)}")
    try:
        return (_read_npz if path.suffix == ".npz" else _read_json)(path)
    except RefoptError as problem:
        raise RefoptError(f"{path}: {problem}") from None
    except Exception as error:  # damage shows as any error: of zip, of a header, of JSON
        raise RefoptError(f"{path} is damaged or no {path.suffix} file: {error}; record it anew") from None


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise RefoptError(f"a trace is kept in a file ending in {' or '.join(SUFFIXES)}; got {path.name!r}")
    return path


def _write_npz(path: Path, arrays: Arrays, names: list[str]) -> None:
    hyper = [dict(now) for now in arrays.hyper]
    out = {META: np.array(json.dumps({"format": FORMAT, "hyper": hyper}))}
    out |= {f"params/{name}": w for name, w in zip(names, arrays.params, strict=True)}
    for part, steps in zip(PARTS, (arrays.grads, arrays.results), strict=True):
        for step, now in enumerate(steps, start=1):
            out |= {f"{part}/{step}/{name}": x for name, x in zip(names, now, strict=True)}
    np.savez_compressed(path, **out)  # type: ignore[arg-type]  # savez takes arrays by any name


def _read_npz(path: Path) -> Trace:
    found = read_npz(path)
    if META not in found:
        raise RefoptError(f"it has no {META!r} and is no trace; docs/traces.md shows the format")
    meta = json.loads(str(found.pop(META)))
    _of_this_format(meta.get("format"))
    steps = range(1, len(meta["hyper"]) + 1)

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}

    grads, results = ([under(f"{part}/{step}/") for step in steps] for part in PARTS)
    return Trace(under("params/"), grads, meta["hyper"], results)


def _write_json(path: Path, arrays: Arrays, names: list[str]) -> None:
    def tree(leaves: list[np.ndarray]) -> dict[str, Any]:
        return {name: _plain(leaf.astype(np.float64)) for name, leaf in zip(names, leaves, strict=True)}

    dtypes = {a.dtype.name for a in arrays.results[0]}
    if len(dtypes) > 1:
        raise RefoptError(f"a .json trace has one dtype; got {', '.join(sorted(dtypes))}: save it as .npz")
    steps = [
        {"hyper": dict(now), "grads": tree(g), "results": tree(w)}
        for now, g, w in zip(arrays.hyper, arrays.grads, arrays.results, strict=True)
    ]
    document = {META: FORMAT, "dtype": dtypes.pop(), "params": tree(arrays.params), "steps": steps}
    path.write_text(json.dumps(document), encoding="utf-8")


def _read_json(path: Path) -> Trace:
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or META not in document:
        raise RefoptError(f"it has no {META!r} and is no trace; docs/traces.md shows the format")
    _of_this_format(document[META])
    dtype = PARAMETER_DTYPES.get(document.get("dtype", "float64"))
    if dtype is None:
        raise RefoptError(f"dtype must be one of {', '.join(PARAMETER_DTYPES)}; got {document['dtype']!r}")
    steps, held = _part(document, "steps", "the trace"), document.get("hyper", {})

    def tree(holder: Mapping[str, Any], part: str, where: str) -> Any:
        leaves = _part(holder, part, where)
        named = leaves if isinstance(leaves, dict) else {"0": leaves}
        return {name: _array(leaf, dtype) for name, leaf in named.items()}

    return Trace(
        tree(document, "params", "the trace"),
        [tree(now, "grads", f"step {step}") for step, now in enumerate(steps, start=1)],
        [{**held, **now.get("hyper", {})} for now in steps],
        [tree(now, "results", f"step {step}") for step, now in enumerate(steps, start=1)],
    )


def _part(holder: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in holder:
        raise RefoptError(f"{where} has no {name!r}; docs/traces.md shows the format")
    return holder[name]


def _of_this_format(found: Any) -> None:
    if found != FORMAT:
        raise RefoptError(f"it has format {found!r}, this refopt reads {FORMAT}; update refopt")


def _plain(array: np.ndarray) -> Any:
    """Nested lists of hexadecimal floats: exact in any dtype, and valid JSON for NaN and infinities."""
    return float(array).hex() if array.ndim == 0 else [_plain(row) for row in array]


def _array(value: Any, dtype: np.dtype) -> np.ndarray:
    def number(x: Any) -> Any:
        if isinstance(x, list):
            return [number(y) for y in x]
        if isinstance(x, str):
            return float.fromhex(x) if "x" in x.lower() else float(x)
        if isinstance(x, bool) or not isinstance(x, int | float):
            raise RefoptError(f"arrays are nested lists of numbers; got {x!r}")
        return float(x)

    with np.errstate(all="ignore"):
        return np.array(number(value), np.float64).astype(dtype)
