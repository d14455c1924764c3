"""Commands for those who check an implementation: verify, identify, translate."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from refopt.cli.arguments import Claim, Options, Python, answer, parse, show_on_terminal
from refopt.files import finite
from refopt.spec.errors import RefoptError

# What a command has an argument or an option of its own for, so that -H cannot mean it.
VERIFY = ("target", "rule", "dialect", "dtype", "device", "fit", "case")
IDENTIFY = ("files", "rule", "dialect")
TRANSLATE = ("target", "to")


def verify(
    target: Annotated[str | None, typer.Argument(help="module:name or file.py:name, e.g. torch.optim:Adam.")] = None,
    command: Annotated[
        str | None, typer.Option("--exec", metavar="COMMAND", help="A program to drive, in place of a target.")
    ] = None,
    python: Python = None,
    deadline: Annotated[
        float | None,
        typer.Option(help="The seconds that a program has for each answer: 10, with --python 120.", show_default=False),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="The rule to look in; all if not given.")] = None,
    dialect: Claim = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of its parameters: float64, or the finest that it takes.", show_default=False)
    ] = None,
    device: Annotated[str | None, typer.Option(help="Where a torch optimizer is driven, e.g. cuda; else cpu.")] = None,
    hyper: Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Name the rule and the conventions that an implementation follows, and prove it.

    Exit status: 0 conforms, 1 deviates, 2 cannot be run.
    """
    if (target is None) == (command is None):
        raise RefoptError("verify takes a target such as torch.optim:Adam, or a program as --exec COMMAND; give one")
    if (python is not None and command is not None) or (python is None and command is None and deadline is not None):
        raise RefoptError("--python goes with a target, and --deadline with --python or --exec; leave one out")
    verifying = import_module("refopt.verifying")
    limit = {} if deadline is None else {"deadline": deadline}
    subject = target if command is None else verifying.Command.parse(command, **limit)
    if python is not None:
        subject = verifying.Interpreter(python, target, **limit)
    options = parse(hyper, *VERIFY)
    found = verifying.verify(subject, rule=rule, dialect=dialect, dtype=dtype, device=device, **options)
    answer(found, as_json)


def translate(
    target: Annotated[str, typer.Argument(help="FRAMEWORK:NAME or module:name, e.g. 'keras:SGD(momentum=0.9)'.")],
    to: Annotated[str, typer.Option(help="The framework to translate to: torch, optax or keras.")],
    python: Python = None,
    hyper: Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """The same optimizer in another framework, proven by running both; or the nearest, and how far it goes astray.

    Exit status: 0 equivalent, 1 not under every learning rate, 2 cannot be run.
    """
    source = target if python is None else import_module("refopt.verifying").Interpreter(python, target)
    found = import_module("refopt.translating").translate(source, to=to, **parse(hyper, *TRANSLATE))
    if as_json:
        print(json.dumps(finite(found.as_dict()), indent=2, ensure_ascii=False))
    else:
        show_on_terminal(import_module("refopt.translating.report").render(found))
    raise typer.Exit(found.exit_status)


def identify(
    files: Annotated[list[Path], typer.Argument(help="Traces that somebody recorded: .npz or .json.")],
    rule: Annotated[str | None, typer.Option(help="The rule to look in; all if not given.")] = None,
    dialect: Claim = None,
    hyper: Options = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Name the rule and the conventions that a recorded trace follows; several of one implementation say more.

    Exit status: 0 conforms, 1 deviates, 2 cannot be read.
    """
    verifying = import_module("refopt.verifying")
    traces = [verifying.Trace.load(file) for file in files]
    answer(
        verifying.identify(
            traces,
            rule=rule,
            dialect=dialect,
            hyper=parse(hyper, *IDENTIFY),
            subject=", ".join(file.name for file in files),
        ),
        as_json,
    )
