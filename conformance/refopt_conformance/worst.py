"""The largest distances ever measured, for the budgets: `python -m refopt_conformance.worst results.json ...`.

Reads the results of runs, of any backends that are right, and writes `worst.json` beside this file: for each budget the
largest distance, the backend and the input that show it. What was measured before stays, unless it is `--anew`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

FILE = "worst.json"


def measured() -> dict[str, dict[str, Any]]:
    """What was measured, by `quantity, dtype, mode`."""
    found = files("refopt_conformance").joinpath(FILE)
    return json.loads(found.read_text(encoding="utf-8")) if found.is_file() else {}


def gather(runs: Sequence[dict[str, Any]], before: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """The largest of several runs, and of what was measured before."""
    worst = dict(before or {})
    for run in runs:
        for quantity, dtype, mode, ulps, where in (row for case in run["cases"] for row in case.get("worst", [])):
            key = ", ".join((quantity, dtype, mode))
            if key not in worst or float(ulps) > worst[key]["ulps"]:
                worst[key] = {"ulps": float(ulps), "backend": run["version"], "where": where}
    return dict(sorted(worst.items()))


def run() -> None:
    parser = argparse.ArgumentParser("refopt_conformance.worst", description="Gather the largest distances of runs.")
    parser.add_argument("results", nargs="+", type=Path, help="results.json of runs with --report")
    parser.add_argument("--anew", action="store_true", help="forget what was measured before")
    options = parser.parse_args()
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in options.results]
    worst = gather(runs, None if options.anew else measured())
    text = json.dumps(worst, indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name(FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run()
