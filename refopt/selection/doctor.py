"""`refopt doctor`: what is installed, where it can run, what would be chosen and why, and what is broken."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from refopt.selection.registry import get_backend, importable, installed, one_line
from refopt.selection.select import select

LIBRARIES = ("numpy", "optree", "numba", "jax", "optax", "torch", "keras", "ml_dtypes", "safetensors")


@dataclass(frozen=True)
class Diagnosis:
    """One backend: its entry point, whether it works, and what it would run on."""

    name: str
    entry_point: str
    works: bool
    version: str
    devices: tuple[str, ...]
    problem: str


def diagnose(name: str) -> Diagnosis:
    """Import one backend and ask it; a broken one is described, never raised."""
    point = installed()[name].value if name in installed() else name
    if problem := importable(name):
        return Diagnosis(name, point, False, "", (), problem)
    backend = get_backend(name)
    try:
        return Diagnosis(name, point, True, backend.version(), tuple(backend.devices()), "")
    except Exception as error:  # a driver that fails is what a doctor is for
        return Diagnosis(name, point, False, "", (), one_line(error))


def report() -> dict[str, Any]:
    """Everything, as plain data."""
    from refopt.engines.kernel_cache import cache_folder

    chosen = select()
    return {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "backends": [asdict(diagnose(name)) for name in dict.fromkeys([*installed(), chosen.name])],
        "chosen": {"backend": chosen.name, "reason": chosen.reason, "problem": importable(chosen.name) or ""},
        "order": "argument, then refopt.use(...), then REFOPT_BACKEND, then the type of the arrays, then numpy",
        "kernel_cache": str(cache_folder()),
    }


def _version(name: str) -> str | None:
    if find_spec(name) is None:
        return None
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
