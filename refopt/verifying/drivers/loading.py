"""From `torch.optim:Adam` or `my_file.py:MyAdam` to the thing itself."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .base import NoTarget, Refusal
from .keras_optimizer import KERAS, backend_chosen


def load(target: str) -> Any:
    """Import `module:name` or `file.py:name`. Raises Refusal if that fails, NoTarget if it is not there."""
    place, _, attribute = target.rpartition(":")
    if not place or not attribute:
        raise NoTarget(f"{target!r} names no target; write module:name or file.py:name, e.g. torch.optim:Adam")
    file = Path(place) if place.endswith(".py") else None
    try:
        with _importing_from(file.parent if file else Path()), backend_chosen(needed=place.startswith(KERAS)):
            module = _load_file(file) if file else importlib.import_module(place)
    except Refusal:
        raise
    except (Exception, SystemExit) as error:  # importing a stranger's module may raise anything: that is the answer
        named = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        remedy = f"; install {named}, or give an interpreter that has it (--python)" if named else ""
        raise Refusal(f"{place} cannot be imported: {type(error).__name__}: {error}{remedy}") from error
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise NoTarget(f"{place} has no {attribute!r}; it has {', '.join(_public(module)) or 'nothing public'}")
        found = getattr(found, part)
    return found


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """What lies in a folder can be imported, as when Python runs a file of it."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        with suppress(ValueError):  # a module may have removed it
            sys.path.remove(place)


def _load_file(path: Path) -> Any:
    """A file as a module, under a name that hides no other: it may be called torch.py."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"_refopt_subject_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _public(module: Any) -> list[str]:
    return sorted(n for n in dir(module) if not n.startswith("_") and callable(getattr(module, n)))[:20]
