"""Kernels on disk: one module file per source, compiled once per machine and found again by every later process."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from refopt.spec.errors import Unsupported
from refopt.spec.functions import LANES


def cache_folder() -> Path:
    """Where kernels are kept: `REFOPT_CACHE_DIR`, else the user's cache folder."""
    chosen = os.environ.get("REFOPT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "refopt" / "kernels"


@cache
def load_module(name: str, source: str) -> ModuleType:
    """Import `source` from a file of its own. Numba's cache is keyed on the file: an unchanged one is not rewritten."""
    runtime = Path(__file__).with_name("numba_runtime.py").read_text(encoding="utf-8")
    digest = hashlib.sha256(f"{source}{runtime}{LANES}".encode()).hexdigest()[:16]  # all that is compiled into it
    path = cache_folder() / f"{name}_{digest}.py"
    if not path.exists():
        _write(path, source)
    module_name = f"refopt_kernels.{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where Numba looks for the globals of a cached function
    spec.loader.exec_module(module)
    return module


def _write(path: Path, source: str) -> None:
    """Write at once or not at all: another process may be reading."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
            file.write(source)
        os.replace(file.name, path)
    except OSError as error:
        raise Unsupported(
            f"numba: cannot write kernels to {path.parent} ({error.strerror}); "
            f"set REFOPT_CACHE_DIR to a writable folder"
        ) from error
