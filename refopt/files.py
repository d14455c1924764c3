"""Files that are written at once or not at all, what JSON can hold, and `.npz` archives with bfloat16 and no pickle."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from refopt.engines.dtypes import BFLOAT16
from refopt.spec.errors import RefoptError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside this one to write to, which takes its place at the end; after an error, nothing is left of it."""
    if not path.parent.is_dir():
        raise RefoptError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".refopt-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.npz` file. Never pickle."""
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):  # np.load would try other formats, and pickle
            raise zipfile.BadZipFile("it is no zip archive")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            return {name: _named(file[name]) for name in file.files}


def _named(array: np.ndarray) -> np.ndarray:
    """A .npz file has no name for bfloat16: it says two bytes of something, which nothing else here is."""
    return array.view(BFLOAT16) if array.dtype == np.dtype("V2") else array


def finite(value: Any) -> Any:
    """Infinities and NaN as strings: JSON has none."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return (
        str(value) if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))) else value
    )
