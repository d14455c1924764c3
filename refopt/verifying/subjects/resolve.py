"""From `torch.optim:Adam`, `my_file.py:MyAdam`, `exec:./my_optimizer` or an object to a subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.drivers import kinds
from refopt.verifying.drivers.base import NoTarget, Refusal
from refopt.verifying.drivers.loading import load as load_target
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.interpreter import Interpreter
from refopt.verifying.subjects.library import LibrarySubject
from refopt.verifying.subjects.process import PREFIX, Command, ProcessSubject


def resolve(target: Any, options: Mapping[str, Any], *, average: bool = False) -> Subject:
    """The subject for a target: a string `module:name`, `file.py:name` or `exec:command`, or a thing.

    Args:
        target: the target.
        options: its arguments.
        average: of an optimizer that keeps an average of the parameters, drive that.

    Raises Unsupported if it cannot be imported, RefoptError if it is nothing that can be driven.
    """
    thing = load(target) if isinstance(target, str) else target
    name = target if isinstance(target, str) else name_of(target)
    if isinstance(thing, Interpreter):
        thing = replace(thing, average=thing.average or average)
    if isinstance(thing, Command | Interpreter):
        return ProcessSubject(name, thing, options)
    try:
        return LibrarySubject(name, kinds.driver_of(thing, average=average), options)
    except NoTarget as problem:
        raise RefoptError(f"{name} {problem}") from problem
    except Refusal as problem:
        raise Unsupported(f"{name}: {problem}") from problem


def load(target: str) -> Any:
    """Import `module:name` or `file.py:name`; or the `Command` that `exec:command` is."""
    if target.startswith(PREFIX):
        return Command.parse(target)
    try:
        return load_target(target)
    except NoTarget as problem:
        raise RefoptError(str(problem)) from problem
    except Refusal as problem:
        raise Unsupported(str(problem)) from problem


def name_of(thing: Any) -> str:
    """What a verdict calls a thing: a function's or a class's own name; an object is one of its class."""
    if isinstance(thing, Command | Interpreter):
        return str(thing)
    return str(getattr(thing, "__qualname__", f"a {type(thing).__qualname__}"))
