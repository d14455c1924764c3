"""The command that measures everything that is installed: atlas."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def atlas(
    out: Annotated[Path, typer.Option(help="The folder for atlas.json, atlas.md and atlas.html.")] = Path("atlas"),
    python: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Another interpreter whose frameworks are measured too; may be repeated."),
    ] = None,
    only: Annotated[str, typer.Option(help="What the names begin with: torch.optim, optax:adam.")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure anew what is there and not stale.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at a time; one a processor if not given.")] = None,
) -> None:
    """Verify every optimizer of every framework that is installed, and write one table of what they are.

    What is there already, measured with the same versions and rules, stays: who was interrupted runs it again.
    """
    found = import_module("refopt.atlas")
    out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("listing", total=None)

        def watch(done: int, total: int, name: str) -> None:
            progress.update(bar, completed=done, total=total, description=name)

        chart, reasons = found.chart(out, python or [], only=only, fresh=fresh, jobs=jobs, watch=watch)
    pages = import_module("refopt.atlas.pages").write_pages(chart, out)
    for reason in reasons:
        console.print(reason, markup=False, highlight=False)
    named = sum(1 for row in chart.rows if row.rule)
    print(f"{named} of {len(chart.rows)} settings follow a rule: {', '.join(map(str, pages))}")
