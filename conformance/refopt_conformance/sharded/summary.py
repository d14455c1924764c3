"""What a run came to, a row per layout; and what has failed, a line each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from refopt_conformance.sharded.results import OUTCOMES, Result


def show(backend: str, results: Sequence[Result]) -> None:
    """Print it."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("layout", *OUTCOMES, "largest distance"):
        table.add_column(column, overflow="fold")
    for layout in dict.fromkeys(result.layout for result in results):
        mine = [result for result in results if result.layout == layout]
        counts = Counter(result.outcome for result in mine)
        worst = max(mine, key=lambda result: result.ulps)
        where = f"{worst.ulps:.3g} ULPs, {worst.name}" if worst.ulps else "none: every bit is that of the unsharded run"
        table.add_row(layout, *(str(counts[outcome]) for outcome in OUTCOMES), where)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for outcome in OUTCOMES[1:]:
        for message in _said(result for result in results if result.outcome == outcome):
            console.print(f"{outcome}: {message}", soft_wrap=True)
    word = "deviates" if any(result.outcome == "failed" for result in results) else "conforms"
    console.print(f"{backend}, sharded, {word}: {len(results)} checks")


def write(results: Sequence[Result], folder: Path) -> None:
    """All results, as sharded.json in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(result), "ulps": str(result.ulps)} for result in results]  # a distance may be infinite
    (folder / "sharded.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _said(results: Iterable[Result]) -> list[str]:
    """Their names and messages; those that say the same in one line."""
    found: dict[str, list[str]] = {}
    for result in results:
        found.setdefault(result.message, []).append(result.name)
    return [f"{', '.join(names)}: {message}" for message, names in found.items()]
