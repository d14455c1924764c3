"""From what is named on the command line to what is driven: a backend, or a bare subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refopt.selection import get_backend
from refopt.selection.registry import installed
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.subjects.resolve import load as load_target
from refopt_conformance.bare import Bare, bare
from refopt_conformance.driver import Driver, find_device

METHODS = ("adopt", "init", "update", "to_numpy", "supports")


@dataclass(frozen=True, eq=False)  # pytest hashes its plugins
class Loaded:
    """Is given to pytest as a plugin: to identify an optimizer takes seconds, and need not be done twice."""

    driver: Driver | Bare


def load(
    name: str, device: str | None = None, *, rule: str | None = None, options: Mapping[str, Any] | None = None
) -> Driver | Bare:
    """The backend and device of these names, or the optimizer; RefoptError, in one sentence, if either is not here."""
    if name not in installed() and ":" in name and _is_optimizer(name):
        if device is not None:
            raise RefoptError(f"{name} is an optimizer, which runs on the CPU; leave --device out, or test a backend")
        return bare(name, rule, options or {})
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        module = f"{Path(path).stem}:{attribute}"
        raise RefoptError(f"{name} is no optimizer; a backend is named as {module}, from the folder of its file")
    if rule is not None or options:
        raise RefoptError(f"{name} is a backend, which has all rules; --rule and -H are for optimizers")
    try:
        found = get_backend(name)
        here = found.devices()
    except RefoptError:
        raise
    except Exception as error:  # whatever a broken backend raises
        raise Unsupported(f"backend {name!r} cannot be used: {type(error).__name__}: {error}") from error
    return Driver(found, None if device is None else find_device(found.name, device, here), name)


def _is_optimizer(name: str) -> bool:
    """Whether the name is of something callable that is no backend."""
    try:
        found = load_target(name)
    except RefoptError:
        if ".py:" in name:
            raise
        return False  # the search for a backend says what is wrong
    return callable(found) and not any(hasattr(found, method) for method in METHODS[2:])
