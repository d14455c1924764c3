"""The command that runs the conformance suite."""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from refopt.cli.arguments import Options, parse
from refopt.spec.errors import RefoptError


class Profile(StrEnum):
    """How much of the suite is run."""

    fast = "fast"
    full = "full"
    brief = "brief"


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
    profile: Annotated[
        Profile, typer.Option(help="How much: of one rule, fast takes seconds, of jax a minute.")
    ] = Profile.fast,
    report: Annotated[
        Path | None,
        typer.Option(
            help="A folder for results.json, junit.xml, report.html and badge.svg; of --sharded for sharded.json, "
            "sharded.xml, sharded.html and sharded.svg."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the backend's run that --report is of, after it was stopped.")
    ] = False,
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
        if any((device, resume, rule, hyper, expect, context.args)):
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
            resume=resume,
            expect=expect,
            rule=rule,
            options=parse(hyper, "rule", "device"),
            arguments=context.args,
        )
    )
