"""What commands share: their options, and how an answer is printed."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from refopt.files import finite
from refopt.spec.errors import RefoptError

RuleName = Annotated[str, typer.Argument(help="A rule, e.g. adam; `refopt list` shows all.")]
Claim = Annotated[
    str | None, typer.Option("--dialect", help="The dialect that it is said to follow; it deviates if it does not.")
]
DialectName = Annotated[str | None, typer.Option(help="A dialect of the rule, e.g. torch; the paper's if not given.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--hyper", "-H", metavar="NAME=VALUE", help="A number, an axis choice, or an argument."),
]
Python = Annotated[
    Path | None, typer.Option(metavar="PATH", help="The interpreter that has the target, if it is not this one's.")
]


def parse(options: list[str] | None, *taken: str) -> dict[str, Any]:
    """`["mu=0.9", "nesterov=true"]` as `{"mu": 0.9, "nesterov": True}`. Names in `taken` have options of their own."""
    values: dict[str, Any] = {}
    for option in options or []:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise RefoptError(f"-H takes NAME=VALUE, e.g. -H lr=0.1; got {option!r}")
        if name in values:
            raise RefoptError(f"-H {name} was given twice; give it once")
        if name in taken:
            raise RefoptError(f"-H takes numbers, axis choices and arguments; got {option!r}: give {name} by itself")
        try:
            values[name] = json.loads(value.lower() if value in ("True", "False") else value)
        except json.JSONDecodeError:
            values[name] = value
    return values


def answer(verdict: Any, as_json: bool) -> None:
    """Print a verdict, and end with its status."""
    if as_json:
        print(json.dumps(finite(verdict.as_dict()), indent=2, ensure_ascii=False))
    else:
        show_on_terminal(import_module("refopt.verifying.report").render(verdict))
    raise typer.Exit(verdict.exit_status)


def show_on_terminal(renderable: Any) -> None:
    Console(highlight=False, markup=False).print(renderable)  # no markup: pip install 'refopt[jax]' has brackets
