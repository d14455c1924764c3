"""From `torch.optim:Adam`, `my_file.py:MyAdam`, `exec:./my_optimizer` or an object to a subject."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.drivers import kinds
from refopt.verifying.drivers.base import NoTarget, Refusal
from refopt.verifying.drivers.loading import load as load_target
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.interpreter import Interpreter
from refopt.verifying.subjects.library import LibrarySubject
from refopt.verifying.subjects.process import PREFIX, Command, ProcessSubject


def resolve(
    target: Any,
    options: Mapping[str, Any],
    *,
    average: bool = False,
    dtype: str | None = None,
    device: str | None = None,
    as_used: bool = False,
) -> Subject:
    """The subject for a target: a string `module:name`, `file.py:name` or `exec:command`, or a thing.

    Args:
        target: the target.
        options: its arguments.
        average: of an optimizer that keeps an average of the parameters, drive that.
        dtype: of the parameters and gradients that it will be given; the finest that it takes if None.
        device: where it is driven, if it is torch's.
        as_used: leave its framework's default dtype as users have it, though that may round coefficients to less.

    Raises Unsupported if it cannot be imported, or not be driven so; RefoptError if it is nothing that can be driven.
    """
    if dtype is not None and dtype not in PARAMETER_DTYPES:
        raise RefoptError(f"dtype must be one of {', '.join(PARAMETER_DTYPES)}; got {dtype!r}")
    subject = _subject(target, options, average, device, as_used)
    if dtype is not None and dtype not in subject.interface.dtypes:
        subject.close()
        takes = " or ".join(subject.interface.dtypes)
        raise Unsupported(f"{subject.name} is driven in {takes}, not in {dtype}; give one of these, or no dtype")
    if dtype is not None:
        subject.interface = replace(subject.interface, dtypes=(dtype,))
    return subject


def _subject(target: Any, options: Mapping[str, Any], average: bool, device: str | None, as_used: bool) -> Subject:
    thing = load(target) if isinstance(target, str) else target
    name = name_of(target)
    if isinstance(thing, Interpreter):
        thing = replace(thing, average=thing.average or average, device=device or thing.device)
    elif isinstance(thing, Command) and device is not None:
        raise Unsupported(f"{name}: a program runs where it likes; leave out device={device!r}")
    if isinstance(thing, Command | Interpreter):
        return ProcessSubject(name, thing, options)
    try:
        return LibrarySubject(name, kinds.driver_of(thing, average=average, device=device, as_used=as_used), options)
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
    """What a verdict calls a thing: its text, a function's or a class's own name; an object is one of its class."""
    if isinstance(thing, str):
        return thing
    if isinstance(thing, Command | Interpreter):
        return str(thing)
    return str(getattr(thing, "__qualname__", f"a {type(thing).__qualname__}"))
