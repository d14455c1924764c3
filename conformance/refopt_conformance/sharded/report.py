"""The report of a sharded run: sharded.json, sharded.xml as JUnit has it, one page, and a badge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from refopt.rules import RULES
from refopt_conformance.cases import HALF_DTYPES
from refopt_conformance.pages import badge, render, status_word
from refopt_conformance.records import environment
from refopt_conformance.report import DTYPES
from refopt_conformance.sharded.junit import junit
from refopt_conformance.sharded.results import EXCHANGE, Result
from refopt_conformance.sharded.summary import Sharded

SCHEMA = "refopt-sharded-report/1"
KINDS = (*DTYPES, *HALF_DTYPES, EXCHANGE)  # as in the other report; what that has no column for comes after it

Cells = dict[tuple[str, str], dict[str, Any]]  # by layout and kind


def write_report(run: Sharded, folder: Path) -> Iterator[Path]:
    """Writes the files, and names each that is written."""
    folder.mkdir(parents=True, exist_ok=True)
    results = as_dict(run)
    texts = {
        "sharded.json": json.dumps(results, indent=1, ensure_ascii=False) + "\n",
        "sharded.xml": junit(run),
        "sharded.html": page(run, results),
        "sharded.svg": badge("refopt sharded", status_word(results)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        yield folder / name


def as_dict(run: Sharded) -> dict[str, Any]:
    """Everything, for the machine-readable report. Distances that are infinite are the string "inf"."""
    return {
        "schema": SCHEMA,
        "subject": f"{run.backend}, sharded",
        "version": _version(run.backend),
        "device": "cpu",
        "profile": run.profile,
        "status": run.status,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(run.seconds, 1),
        "environment": environment(),
        "rows": [asdict(result) | {"ulps": _number(result.ulps)} for result in run.results],
    }


def page(run: Sharded, results: dict[str, Any]) -> str:
    """The report as one HTML page."""
    return render(
        "sharded.html.j2",
        results,
        columns=columns(run.results),
        table=table(run.results),
        failures=[
            {"id": result.name, "outcome": result.outcome, "message": result.message}
            for result in run.results
            if result.outcome == "failed"
        ],
        rows=[_row(result) for result in run.results],
    )


def columns(results: Sequence[Result]) -> dict[str, list[str]]:
    """The dtypes that were compared on each layout, and `exchange` where that was looked at."""
    found: dict[str, set[str]] = {}
    for result in results:
        if result.subject:
            found.setdefault(result.layout, set()).add(result.kind)
    return {layout: sorted(kinds, key=KINDS.index) for layout, kinds in found.items()}


def table(results: Sequence[Result]) -> dict[str, Cells]:
    """For each rule and dialect, by layout and kind: how many checks had which outcome, and the largest distance."""
    found: dict[str, dict[tuple[str, str], list[Result]]] = {}
    for result in results:
        if result.subject:
            mine = found.setdefault(result.subject, {}).setdefault((result.layout, result.kind), [])
            mine.append(result)
    order = [f"{rule.name}/{dialect.name}" for rule in RULES.values() for dialect in rule.dialects]
    return {
        name: {at: _cell(at[1], mine) for at, mine in found[name].items()} for name in sorted(found, key=order.index)
    }


def _cell(kind: str, results: Sequence[Result]) -> dict[str, Any]:
    furthest = max(results, key=lambda result: (result.ulps, result.outcome == "failed"))
    counts = {
        outcome: sum(result.outcome == outcome for result in results) for outcome in ("passed", "failed", "skipped")
    }
    if not counts["passed"] + counts["failed"]:
        said = ""
    elif kind == EXCHANGE:
        said = "; ".join(sorted({result.message for result in results if result.outcome != "skipped"}))
    else:
        said = f"{furthest.ulps:.3g} ULP".replace("inf", "∞") if furthest.ulps else "bit-equal"
    where = f"{furthest.name}: {_said(furthest) or f'all {len(results)} are bit-equal to the unsharded run'}"
    return counts | {"said": said, "where": where}


def _row(result: Result) -> list[Any]:
    """A check for the list that is filtered; one that compared no numbers has no distance."""
    compared = result.kind != EXCHANGE and result.outcome != "skipped"
    return [result.name, result.outcome, _number(result.ulps) if compared else None, _said(result)]


def _said(result: Result) -> str:
    """Of what passed, where it is furthest; else the message, which says that too."""
    return result.message or result.where


def _number(ulps: float) -> float | str:
    return float(f"{ulps:.4g}") if ulps < float("inf") else "inf"


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package}, which is not installed,"
