"""The `refopt` command. Every sub-command is a few lines over the library."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Annotated

import typer

from refopt.cli.arguments import show_on_terminal
from refopt.cli.charting import atlas
from refopt.cli.checking import identify, translate, verify
from refopt.cli.conforming import conform
from refopt.cli.learning import explain, list_rules, show
from refopt.spec.errors import RefoptError

app = typer.Typer(
    help="The executable specification of optimizers.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """What is installed, on which devices, what is chosen and why, and what is broken."""
    examination = import_module("refopt.selection.doctor")
    found = examination.report()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show_on_terminal(examination.render(found))


app.command("list")(list_rules)
for command in (show, explain, verify, translate, identify, atlas):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(conform)
app.command()(doctor)


def main() -> None:
    """The entry point: refopt's own refusals are one line on stderr, and exit status 2."""
    try:
        app(prog_name="refopt")
    except RefoptError as error:
        print("refopt:", " ".join(str(error).removeprefix("refopt: ").split()), file=sys.stderr)
        sys.exit(2)
