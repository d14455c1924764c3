"""What the workers share: their arguments, what they write down, and an end that comes by itself."""

from __future__ import annotations

import argparse
import faulthandler
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from refopt_conformance.sharded.results import RUNNING, Result, write

ORPHAN = 20  # seconds after the deadline at which a worker ends whose launcher could not end it


class Task(NamedTuple):
    """One of several processes, the port at which they meet, what is run, and the fault that is planted.

    Processes that are `apart` do not meet: each takes its part of the cases.
    """

    rank: int
    processes: int
    port: int
    apart: bool
    profile: str
    fault: str | None

    def mine(self, number: int) -> bool:
        """Whether this process takes part in the case of that number."""
        return not self.apart or number % self.processes == self.rank


Checks = Iterator[tuple[str, Callable[[], Result]]]


def work(checks: Callable[[Task], Checks]) -> None:
    """Run the checks (a name, and what comes to a result), in the same order in all processes."""
    parser = argparse.ArgumentParser()
    for name, kind in (("rank", int), ("processes", int), ("port", int), ("file", Path), ("deadline", float)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--profile", default="fast")
    parser.add_argument("--fault")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    faulthandler.dump_traceback_later(given.deadline + ORPHAN, exit=True)
    task = Task(given.rank, given.processes, given.port, given.apart, given.profile, given.fault)
    for name, check in checks(task):
        if not re.search(given.only, name):
            continue
        write(given.file, Result(name, RUNNING))
        if task.fault == "hang" and task.rank == task.processes - 1:
            time.sleep(given.deadline + ORPHAN)
        started = time.perf_counter()
        write(given.file, replace(check(), seconds=round(time.perf_counter() - started, 4)))
    faulthandler.cancel_dump_traceback_later()
