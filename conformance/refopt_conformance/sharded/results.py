"""What came of a case, as processes write it down and as it is put together from all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

OUTCOMES = ("passed", "failed", "skipped")
EXCHANGE = "exchange"  # of checks that count what is sent, and compare no numbers
RUNNING = "running"  # written when a case begins, so that it is known where a process was lost


@dataclass(frozen=True)
class Result:
    """The outcome of a case on a layout: `dtensor/lars/paper/float32`.

    `ulps` is the largest distance: for a rule with norms from the float64 reference, for others from the unsharded run;
    `where` is the step and the leaf that show it.
    """

    name: str
    outcome: str
    message: str = ""
    ulps: float = 0.0
    where: str = ""
    seconds: float = 0.0

    @property
    def layout(self) -> str:
        return self.name.partition("/")[0]

    @property
    def subject(self) -> str:
        """The rule and dialect, `lars/paper`; "" if the check is of something else."""
        parts = self.name.split("/")
        return "/".join(parts[1:3]) if len(parts) > 3 else ""

    @property
    def kind(self) -> str:
        """The dtype that was compared, or EXCHANGE."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Report:
    """What one process wrote down, and how it was lost, if it was."""

    results: tuple[Result, ...]
    lost: str | None = None


def write(path: Path, result: Result) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


def read(path: Path) -> tuple[Result, ...]:
    """The last word on each case; a line that was cut short, when a process was killed, is left out."""
    found: dict[str, Result] = {}
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else ():
        if line.endswith("\n"):
            result = Result(**json.loads(line))
            found[result.name] = result
    return tuple(found.values())


def merged(reports: Sequence[Report]) -> list[Result]:
    """One result for each case: it has passed if it has in every process."""
    together: dict[str, list[Result]] = {}
    for report in reports:
        for result in report.results:
            together.setdefault(result.name, []).append(result)
    merged = [_worst(name, results) for name, results in together.items() if not _pending(results)]
    lost: dict[tuple[str, str], list[str]] = {}
    for rank, report in enumerate(reports):
        if report.lost is not None:
            where = next((result.name for result in report.results if result.outcome == RUNNING), "start")
            lost.setdefault((where, report.lost), []).append(str(rank))
    for (where, said), ranks in lost.items():
        message = f"of {len(reports)} processes, {' and '.join(ranks)} {said}"
        merged.append(Result(where, "failed", message, float("inf")))
    return merged


def _pending(results: Iterable[Result]) -> bool:
    return any(result.outcome == RUNNING for result in results)


def _worst(name: str, results: list[Result]) -> Result:
    furthest, seconds = max(results, key=lambda result: result.ulps), max(result.seconds for result in results)
    outcome, message = "passed", results[0].message
    for worse in ("skipped", "failed"):
        for rank, result in reversed(list(enumerate(results))):
            if result.outcome == worse:
                process = f"process {rank}: " if len(results) > 1 and worse == "failed" else ""
                outcome, message = worse, process + result.message
    return Result(name, outcome, message, furthest.ulps, furthest.where, seconds)
