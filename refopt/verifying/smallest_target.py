"""What a subject was made from, as code that makes it again."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any

from refopt.verifying.drivers import kinds
from refopt.verifying.smallest_code import Expression, quoted
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.interpreter import Interpreter
from refopt.verifying.subjects.library import LibrarySubject
from refopt.verifying.subjects.process import PREFIX, Command, ProcessSubject

YOURS = "...  # put yours here"


def expression(subject: Subject) -> Expression:
    """A subject's target and other arguments as code; what has no name that can be imported is left to the reader."""
    imports, before, target = _target(subject)
    arguments: list[str] = []
    for name, value in subject.names.others.items():
        text = repr(value)
        if not _is_literal(text, value):
            before = (*before, f"# {name}: the argument that was given to refopt.verify", f"{name} = {YOURS}")
            text = name
        arguments.append(f"{name}={text}" if name.isidentifier() else f"**{{{name!r}: {text}}}")
    if isinstance(subject, LibrarySubject) and type(subject.driver) in kinds.AVERAGES.values():
        arguments.append("average=True")
    return Expression(imports, before, target, tuple(arguments))


def _target(subject: Subject) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(imports, lines before, the target)"""
    if isinstance(subject, ProcessSubject):
        return _process(subject)
    thing = _thing(subject)
    if isinstance(subject, LibrarySubject) and (name := _name(subject, thing)) is not None:
        return (), (), quoted(name)
    return (), ("# target: the optimizer that was given to refopt.verify", f"target = {YOURS}"), "target"


def _process(subject: ProcessSubject) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    program = subject.target
    if isinstance(program, Interpreter):
        more = "" if program.deadline == Interpreter.deadline else f", deadline={program.deadline!r}"
        more += ", average=True" if program.average else ""
        text = f"Interpreter({quoted(str(program.python))}, {quoted(program.target)}{more})"
        return ("from refopt.verifying import Interpreter",), (f"target = {text}",), "target"
    if isinstance(program, Command) and program.deadline != Command.deadline:
        text = f"Command({list(program.words)!r}, deadline={program.deadline!r})"
        return ("from refopt.verifying import Command",), (f"target = {text}",), "target"
    return (), (), quoted(subject.name if subject.name.startswith(PREFIX) else str(program))


def _thing(subject: Subject) -> Any:
    """What the driver drives: torch's calls it `make`."""
    driver = getattr(subject, "driver", None)
    return getattr(driver, "target", None) or getattr(driver, "make", None)


def _name(subject: LibrarySubject, thing: Any) -> str | None:
    """The name by which anybody can import a thing, if there is one."""
    if ":" in subject.name:  # it was given as one
        return subject.name
    if getattr(thing, "__qualname__", None) != subject.name:  # it is an object of some class
        return None
    module = getattr(thing, "__module__", None) or ""
    place = f"{module}:{subject.name}"
    try:
        return place if find_spec(module) and resolve_name(place) is thing else None
    except (ImportError, AttributeError, ValueError):  # __main__, a module of another name, a function in a function
        return None


def _is_literal(text: str, value: Any) -> bool:
    """Whether the text says the value."""
    try:
        return bool(ast.literal_eval(text) == value)
    except (ValueError, SyntaxError):
        return False
