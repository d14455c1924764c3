"""Verify every target, several at a time, and keep each row as soon as it is there: who is cut off goes on later."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any

from refopt.atlas.document import Atlas, Row, digest, load
from refopt.atlas.targets import Target, listed
from refopt.files import finite
from refopt.spec.errors import RefoptError

Watch = Callable[[int, int, str], None]  # how many are done, of how many, and the last one's name


def chart(
    folder: Path,
    pythons: Sequence[Path] = (),
    *,
    only: str = "",
    fresh: bool = False,
    jobs: int | None = None,
    watch: Watch | None = None,
) -> tuple[Atlas, list[str]]:
    """The atlas in `folder`, with all rows that it lacks, and those that are stale, measured anew.

    Of what follows no rule by default, no other setting is measured.

    Args:
        folder: where `atlas.json` is, or will be.
        pythons: other interpreters whose frameworks are looked at as well.
        only: what the names of the targets begin with; the others stay as they are.
        fresh: measure all of them, whatever there is.
        jobs: how many at a time; if None, as many as there are processors.

    Returns:
        The atlas, and the reasons why some framework is not in it.
    """
    targets, reasons = listed(pythons, only)
    kept = load(folder).against({target.framework: target.version for target in targets})
    have = {row.name: row for row in kept.rows}
    todo = [t for t in targets if fresh or t.name not in have or have[t.name].stale]
    order = list(dict.fromkeys([*(row.name for row in kept.rows), *(target.name for target in targets)]))
    for done, row in enumerate(_measured(todo, have, jobs), 1):
        have[row.name] = row
        Atlas([have[name] for name in order if name in have]).write(folder)
        if watch:
            watch(done, len(todo), row.name)
    found = Atlas([have[name] for name in order if name in have])
    found.write(folder)
    return found, reasons


def _follows(target: Target, have: Mapping[str, Row]) -> bool:
    """Whether it does by default, as far as is known."""
    return target.average or target.target not in have or bool(have[target.target].rule)


def _measured(targets: Sequence[Target], have: Mapping[str, Row], jobs: int | None) -> Iterator[Row]:
    """The rows as they come, from processes of their own: frameworks leave traces in whoever imports them.

    What takes long is first, so that no processor waits for it at the end; other settings come when `have`, to which
    the caller adds the rows, says whether the default follows a rule.
    """
    took = {name: row.seconds for name, row in have.items()}
    left = sorted(targets, key=lambda target: -took.get(target.name, 0.0))
    coming = {target.target for target in targets if not target.options}
    workers = min(len(targets), jobs or os.cpu_count() or 1)
    with ProcessPoolExecutor(max(workers, 1), mp_context=multiprocessing.get_context("spawn")) as pool:
        running: dict[Future[Row], Target] = {}
        while left:
            ready = [t for t in left if not t.options or (t.target not in coming and _follows(t, have))]
            for target in ready[: workers - len(running)]:
                running[pool.submit(measure, target)] = target
                left.remove(target)
            if not running:
                return  # what is left is another setting of what follows no rule
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                target = running.pop(future)
                if not target.options:
                    coming.discard(target.target)
                yield future.result()
        for future in as_completed(running):
            yield future.result()


def measure(target: Target) -> Row:
    """One row. What cannot be verified has a verdict that says why."""
    from refopt.verifying import Interpreter, verify  # in the process that works

    os.environ.update(target.environment)
    subject: Any = target.target if target.python is None else Interpreter(target.python, target.target)
    started = time.perf_counter()
    try:
        rule = "ema" if target.average else None
        found = verify(subject, rule=rule, fit=False, case=False, **target.options).as_dict()
    except RefoptError as refusal:
        found = {"status": "unsupported", "rule": None, "reason": str(refusal)}
    seconds = round(time.perf_counter() - started, 1)
    about = (target.name, target.target, target.options, target.framework, target.version)
    return Row(*about, digest(_rule(found)), seconds, _short(found))


def _rule(verdict: Mapping[str, Any]) -> str:
    return str(verdict["rule"]) if verdict["status"] == "conforms" else ""


def _short(verdict: dict[str, Any]) -> dict[str, Any]:
    """The verdict as JSON has it, without the code of the smallest case."""
    return finite({name: value for name, value in verdict.items() if name not in ("case", "subject")})
