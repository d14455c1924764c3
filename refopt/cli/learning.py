"""Commands for those who learn: list, show, explain."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console

from refopt.cli.arguments import DialectName, Options, RuleName, parse, show_on_terminal

# What a command has an argument or an option of its own for, so that -H cannot mean it.
SHOW = ("rule", "dialect", "format", "columns")
EXPLAIN = ("rule", "dialect", "steps", "dtype", "coordinate")


class Format(StrEnum):
    """How `show` prints a rule."""

    text = "text"
    latex = "latex"
    json = "json"
    markdown = "markdown"


def list_rules() -> None:
    """The rules, their dialects and axes."""
    show_on_terminal(import_module("refopt.explaining").list_rules())


def show(
    rule: RuleName,
    dialect: DialectName = None,
    hyper: Options = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.text,
) -> None:
    """A rule's source, equations, hyper-parameters, axes and references."""
    options = parse(hyper, *SHOW)
    text = import_module("refopt.explaining").show(
        rule, dialect=dialect, format=format.value, columns=Console().width, **options
    )
    print(text, end="")


def explain(
    rule: RuleName,
    steps: Annotated[int, typer.Option(min=1, help="How many steps.")] = 3,
    dialect: DialectName = None,
    hyper: Options = None,
    dtype: Annotated[str, typer.Option(help="float64, float32, float16 or bfloat16.")] = "float64",
    coordinate: Annotated[int, typer.Option(help="Which element to follow.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Each line of a rule as symbols, with the numbers in it, and its value."""
    explained = import_module("refopt.explaining").explain(
        rule, dialect=dialect, steps=steps, dtype=dtype, coordinate=coordinate, **parse(hyper, *EXPLAIN)
    )
    if as_json:
        print(explained.json())
    else:
        show_on_terminal(explained.render())
