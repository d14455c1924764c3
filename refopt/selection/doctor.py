"""`refopt doctor`: what is installed, where it can run, what would be chosen and why, and what is broken."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

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


def render(found: Mapping[str, Any]) -> RenderableType:
    """The report as a person reads it."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("backend", "works", "version", "devices", "entry point"):
        table.add_column(column, overflow="fold")
    for one in found["backends"]:
        what = one["version"] if one["works"] else one["problem"]
        table.add_row(one["name"], "yes" if one["works"] else "no", what, " ".join(one["devices"]), one["entry_point"])
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    missing = [name for name, version in found["libraries"].items() if version is None]
    chosen = found["chosen"]
    facts.add_row(
        "chosen", ": ".join(text for text in (chosen["backend"], chosen["reason"], chosen["problem"]) if text)
    )
    facts.add_row("order", found["order"])
    facts.add_row("libraries", ", ".join(f"{n} {v}" for n, v in found["libraries"].items() if v is not None))
    facts.add_row("missing", ", ".join(missing) or "nothing")
    facts.add_row("kernels", found["kernel_cache"])
    facts.add_row("machine", f"python {found['python']}, {found['processors']} processors")
    return Group(table, "", facts)
