"""The bar that shows how far a run is, where somebody looks: on a terminal."""

from __future__ import annotations

import sys

import pytest
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """A bar on a terminal; nothing elsewhere, with -v, or without a capture that keeps output off the bar."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.option
        self.shown = sys.stdout.isatty() and option.verbose <= 0 and not option.collectonly and option.capture != "no"
        self.failed = 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.bar = RichProgress(*columns, TimeElapsedColumn(), TextColumn("·"), TimeRemainingColumn(), transient=True)
        self.task = self.bar.add_task("checks", total=None)

    def start(self, total: int) -> None:
        self.bar.update(self.task, total=total)
        if self.shown:
            self.bar.start()

    def advance(self, *, failed: bool) -> None:
        self.failed += failed
        said = f"[red]{self.failed} deviate" if self.failed else "checks"
        self.bar.update(self.task, advance=1, description=said)

    def stop(self) -> None:
        self.bar.stop()
