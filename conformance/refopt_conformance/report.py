"""The report of a run: results.json, a page that needs nothing but itself, and a badge. pytest writes junit.xml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refopt_conformance.faults.matrix import published
from refopt_conformance.pages import badge, render, status_word
from refopt_conformance.records import Run

DTYPES = ("float64", "float32", "bfloat16", "float16", "pure_bfloat16", "pure_float16")


def write_report(run: Run, folder: Path) -> Iterator[Path]:
    """Writes the files, and names each that is written."""
    results = run.as_dict()
    texts = {
        "results.json": as_json(results),
        "report.html": page(results, published()),
        "badge.svg": badge("refopt", status_word(results)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        yield folder / name


def as_json(results: dict[str, Any]) -> str:
    """The results as JSON, a check a line."""
    cases = ",\n".join(json.dumps(case, ensure_ascii=False) for case in results["cases"])
    about = json.dumps({name: value for name, value in results.items() if name != "cases"}, indent=1)
    return about.removesuffix("\n}") + f',\n "cases": [\n{cases}\n]}}\n'


def page(results: dict[str, Any], faults: dict[str, list[dict[str, Any]]]) -> str:
    """The report as one HTML page, with the suite's own kill matrix: the faults of each rule."""
    return render(
        "report.html.j2",
        results,
        dtypes=DTYPES,
        table=table(results["cases"]),
        failures=[case for case in results["cases"] if case["outcome"] in ("failed", "error")],
        rows=[row(case) for case in results["cases"]],
        rules=faults,
    )


def table(cases: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """For each rule and dialect, by dtype: how many checks ran, passed and failed, and the largest part of a budget."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for case in cases:
        if "rule" not in case:
            continue
        cells = found.setdefault(f"{case['rule']}/{case['dialect']}", {})
        cell = cells.setdefault(case["dtype"], {"passed": 0, "failed": 0, "skipped": 0, "ulps": -1.0, "where": ""})
        kind = {"error": "failed", "expected": "failed"}.get(case["outcome"], case["outcome"])
        cell[kind] += 1
        for quantity, _, _, ulps, where in case.get("worst", []):
            if quantity == "parameter" and float(ulps) >= cell["ulps"]:
                cell |= {"ulps": float(ulps), "where": where}
    return found


def row(case: dict[str, Any]) -> list[Any]:
    """A check for the list that is filtered: its name, outcome, worst distance of a parameter, and what was said."""
    ulps = max((float(worst[3]) for worst in case.get("worst", []) if worst[0] == "parameter"), default=None)
    return [case["id"], case["outcome"], ulps if ulps != float("inf") else "inf", case.get("message", "")]
