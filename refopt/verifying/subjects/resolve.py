"""From `torch.optim:Adam`, `my_file.py:MyAdam` or an object to a subject."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.function import FunctionSubject
from refopt.verifying.subjects.keras_optimizer import KerasSubject, choose_backend
from refopt.verifying.subjects.optax_transform import OptaxSubject
from refopt.verifying.subjects.torch_optim import TorchSubject


def resolve(target: Any, options: Mapping[str, Any]) -> Subject:
    """The subject for a target: a string `module:name` or `file.py:name`, a class, or a function.

    Raises Unsupported if it cannot be imported, RefoptError if it is nothing that can be driven.
    """
    name = target if isinstance(target, str) else getattr(target, "__qualname__", repr(target))
    thing = load(target) if isinstance(target, str) else target
    if not callable(thing):
        raise RefoptError(
            f"{name} is a {type(thing).__name__}; give an optimizer class, an optax factory, or a function"
        )
    ancestors = {f"{c.__module__}.{c.__qualname__}" for c in getattr(thing, "__mro__", ())}
    if "torch.optim.optimizer.Optimizer" in ancestors:
        return TorchSubject(name, thing, options)
    if any(a.startswith("keras.src.optimizers.") for a in ancestors):
        return KerasSubject(name, thing, options)
    if _returns_transformation(thing):
        return OptaxSubject(name, thing, options)
    return FunctionSubject(name, thing, options)


def load(target: str) -> Any:
    """Import `module:name` or `file.py:name`."""
    place, _, attribute = target.rpartition(":")
    if not place or not attribute:
        raise RefoptError(f"{target!r} names no target; write module:name or file.py:name, e.g. torch.optim:Adam")
    if place.partition(".")[0] == "keras":
        choose_backend()
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # importing a stranger's module may raise anything: that is the answer
        raise Unsupported(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise RefoptError(f"{place} has no {attribute!r}; it has {', '.join(_public(module)) or 'nothing public'}")
        found = getattr(found, part)
    return found


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _public(module: Any) -> list[str]:
    return sorted(n for n in dir(module) if not n.startswith("_") and callable(getattr(module, n)))[:20]


def _returns_transformation(thing: Any) -> bool:
    """Whether a function makes an optax transformation: its annotation or its module says so."""
    thing = thing.func if isinstance(thing, functools.partial) else thing  # optax.nadam is a partial of optax.adam
    annotation = str(getattr(thing, "__annotations__", {}).get("return", ""))
    return "GradientTransformation" in annotation or str(getattr(thing, "__module__", "")).startswith("optax.")
