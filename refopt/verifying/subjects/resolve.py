"""From `torch.optim:Adam`, `my_file.py:MyAdam`, `exec:./my_optimizer` or an object to a subject."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.function import FunctionSubject
from refopt.verifying.subjects.keras_optimizer import KerasSubject, choose_backend
from refopt.verifying.subjects.optax_transform import OptaxSubject
from refopt.verifying.subjects.process import PREFIX, Command, ProcessSubject
from refopt.verifying.subjects.torch_optim import TorchSubject

# The first that takes a target has it; a function takes what is left.
KINDS: tuple[type[Subject], ...] = (ProcessSubject, TorchSubject, KerasSubject, OptaxSubject, FunctionSubject)


def resolve(target: Any, options: Mapping[str, Any]) -> Subject:
    """The subject for a target: a string `module:name`, `file.py:name` or `exec:command`, or a thing.

    Raises Unsupported if it cannot be imported, RefoptError if it is nothing that can be driven.
    """
    name = target if isinstance(target, str) else getattr(target, "__qualname__", str(target))
    thing = load(target) if isinstance(target, str) else target
    if not callable(thing):
        raise RefoptError(
            f"{name} is a {type(thing).__name__}; give an optimizer class, an optax factory, or a function"
        )
    kind = next(kind for kind in KINDS if kind.takes(thing))
    return kind(name, thing, options)


def load(target: str) -> Any:
    """Import `module:name` or `file.py:name`; or the `Command` that `exec:command` is."""
    if target.startswith(PREFIX):
        return Command.parse(target)
    place, _, attribute = target.rpartition(":")
    if not place or not attribute:
        raise RefoptError(f"{target!r} names no target; write module:name or file.py:name, e.g. torch.optim:Adam")
    if place.partition(".")[0] == "keras":
        choose_backend()
    file = Path(place) if place.endswith(".py") else None
    try:
        with _importing_from(file.parent if file else Path()):
            module = _load_file(file) if file else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # importing a stranger's module may raise anything: that is the answer
        raise Unsupported(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise RefoptError(f"{place} has no {attribute!r}; it has {', '.join(_public(module)) or 'nothing public'}")
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
