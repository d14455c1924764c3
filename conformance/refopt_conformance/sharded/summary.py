"""What a run came to, a row per layout; and what has failed, a line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from refopt_conformance.sharded.launch import Watch
from refopt_conformance.sharded.results import OUTCOMES, RUNNING, Result, read


@dataclass(frozen=True)
class Sharded:
    """One run of a profile on shards, and what it came to."""

    backend: str
    profile: str
    results: list[Result]
    seconds: float

    @property
    def counts(self) -> dict[str, int]:
        """How many checks have had each outcome."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    @property
    def word(self) -> str:
        """`conforms`, `deviates`, or `was not tested`, which is what it comes to if all is skipped."""
        if self.counts["failed"]:
            return "deviates"
        return "conforms" if self.counts["passed"] else "was not tested"

    @property
    def status(self) -> str:
        """The word and the numbers."""
        counts = self.counts
        said = f"{counts['passed']} checks passed"
        if self.word == "deviates":
            said = f"{counts['failed']} of {counts['passed'] + counts['failed']} checks failed"
        elif self.word != "conforms":
            said = "every check was skipped" if counts["skipped"] else "no check has such a name"
        return f"{self.word}: {said}" + (f", {counts['skipped']} skipped" if counts["skipped"] else "")


@contextmanager
def progress(backend: str) -> Iterator[Watch | None]:
    """On a terminal, a line that says how far the run is; what shows it is given the files of results as they grow."""
    console, seen = Console(highlight=False, markup=False), dict[Path, int]()
    if not console.is_terminal:
        yield None
        return
    with console.status(f"{backend}, sharded") as status:

        def watch(files: list[Path]) -> None:
            sizes = {file: file.stat().st_size for file in files if file.is_file()}
            if any(size != seen.get(file, 0) for file, size in sizes.items()):
                seen.update(sizes)
                results = [result for file in files for result in read(file)]
                done = {result.name for result in results if result.outcome != RUNNING}
                status.update(f"{backend}, sharded: {len(done)} checks, {results[-1].name if results else ''}")

        yield watch


def show(run: Sharded) -> None:
    """Print it."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("layout", *OUTCOMES, "largest distance"):
        table.add_column(column, overflow="fold")
    for layout in dict.fromkeys(result.layout for result in run.results):
        mine = [result for result in run.results if result.layout == layout]
        counts = Counter(result.outcome for result in mine)
        worst = max(mine, key=lambda result: result.ulps)
        where = f"{worst.ulps:.3g} ULPs, {worst.name}" if worst.ulps else "none: every bit is that of the unsharded run"
        table.add_row(layout, *(str(counts[outcome]) for outcome in OUTCOMES), where)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for outcome in OUTCOMES[1:]:
        for message in _said(result for result in run.results if result.outcome == outcome):
            console.print(f"{outcome}: {message}", soft_wrap=True)
    console.print(f"{run.backend}, sharded, {run.status}", soft_wrap=True)


def _said(results: Iterable[Result]) -> list[str]:
    """Their names and messages; those that say the same in one line."""
    found: dict[str, list[str]] = {}
    for result in results:
        found.setdefault(result.message, []).append(result.name)
    return [f"{', '.join(names)}: {message}" for message, names in found.items()]
