"""The `refopt` command. Every sub-command is a few lines over the library."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from refopt.spec.errors import RefoptError

app = typer.Typer(
    help="The executable specification of optimizers.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

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

# What a command has an argument or an option of its own for, so that -H cannot mean it.
SHOW = ("rule", "dialect", "format", "columns")
EXPLAIN = ("rule", "dialect", "steps", "dtype", "coordinate")
VERIFY = ("target", "rule", "dialect", "dtype", "device")
IDENTIFY = ("files", "rule", "dialect")
TRANSLATE = ("target", "to")


class Format(StrEnum):
    """How `show` prints a rule."""

    text = "text"
    latex = "latex"
    json = "json"
    markdown = "markdown"


class Profile(StrEnum):
    """How much of the suite is run."""

    fast = "fast"
    full = "full"


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


@app.command("list")
def list_rules() -> None:
    """The rules, their dialects and axes."""
    _print(import_module("refopt.explaining").list_rules())


@app.command()
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


@app.command()
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
        _print(explained.render())


@app.command()
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
    _answer(found, as_json)


@app.command()
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
        print(json.dumps(_finite(found.as_dict()), indent=2, ensure_ascii=False))
    else:
        _print(import_module("refopt.translating.report").render(found))
    raise typer.Exit(found.exit_status)


@app.command()
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
    _answer(
        verifying.identify(
            traces,
            rule=rule,
            dialect=dialect,
            hyper=parse(hyper, *IDENTIFY),
            subject=", ".join(file.name for file in files),
        ),
        as_json,
    )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def conform(
    context: typer.Context,
    backend: Annotated[
        str | None, typer.Argument(help="numpy, numba, jax, torch, module:ATTRIBUTE, or torch.optim:Adam.")
    ] = None,
    command: Annotated[
        str | None, typer.Option("--exec", metavar="COMMAND", help="A program to drive, in place of a backend.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to run, e.g. cuda; the backend's default if not given.")
    ] = None,
    profile: Annotated[Profile, typer.Option(help="How much: fast takes a minute, of jax two.")] = Profile.fast,
    report: Annotated[
        Path | None,
        typer.Option(
            help="A folder for results.json, junit.xml, report.html and badge.svg; of --sharded for sharded.json, "
            "sharded.xml, sharded.html and sharded.svg."
        ),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="The rule of an optimizer; found if not given.")] = None,
    hyper: Options = None,
    expect: Annotated[
        Path | None, typer.Option(help="A JSON file {pattern of checks: reason} of what is known to deviate.")
    ] = None,
    sharded: Annotated[
        bool, typer.Option("--sharded", help="The cases on tensors in shards over processes and devices: torch or jax.")
    ] = False,
) -> None:
    """Run the shared conformance suite against a backend, or an optimizer such as torch.optim:Adam.

    Further arguments (-k adam, -n 2, --last-failed) go to pytest.
    """
    try:
        suite = import_module("refopt_conformance")
        import_module("pytest")
    except ImportError as error:
        raise RefoptError(
            f"the suite needs pytest ({error}); install it with: pip install 'refopt[conform]'"
        ) from error
    if command is not None and backend is not None:
        context.args.insert(0, backend)  # `--exec ./adam -k long`: pytest's, for a backend there is none
        backend = None
    if (backend is None) == (command is None):
        raise RefoptError("conform takes a backend such as torch, or a program as --exec COMMAND; give one")
    backend = backend or f"exec:{command}"
    if sharded:
        if any((device, rule, hyper, expect, context.args)):
            raise RefoptError(
                "conform --sharded runs all cases on this machine's CPU; of the options it takes --profile and --report"
            )
        sharding = import_module("refopt_conformance.sharded")
        raise typer.Exit(sharding.main(backend, profile=profile.value, report=report))
    raise typer.Exit(
        suite.main(
            backend,
            device=device,
            profile=profile.value,
            report=report,
            expect=expect,
            rule=rule,
            options=parse(hyper, "rule", "device"),
            arguments=context.args,
        )
    )


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """What is installed, on which devices, what is chosen and why, and what is broken."""
    examination = import_module("refopt.selection.doctor")
    found = examination.report()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(examination.render(found))


def _answer(verdict: Any, as_json: bool) -> None:
    """Print a verdict, and end with its status."""
    if as_json:
        print(json.dumps(_finite(verdict.as_dict()), indent=2, ensure_ascii=False))
    else:
        _print(import_module("refopt.verifying.report").render(verdict))
    raise typer.Exit(verdict.exit_status)


def _print(renderable: Any) -> None:
    Console(highlight=False, markup=False).print(renderable)  # no markup: pip install 'refopt[jax]' has brackets


def _finite(value: Any) -> Any:
    """Infinities and NaN as strings: JSON has none."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return (
        str(value) if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))) else value
    )


def main() -> None:
    """The entry point: refopt's own refusals are one line on stderr, and exit status 2."""
    try:
        app(prog_name="refopt")
    except RefoptError as error:
        print("refopt:", " ".join(str(error).removeprefix("refopt: ").split()), file=sys.stderr)
        sys.exit(2)
