"""To go on with a run that was stopped: what its report says has been checked, and on what."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from refopt.spec.errors import RefoptError
from refopt_conformance.driver import Driver
from refopt_conformance.records import SCHEMA, Record, Run, environment

DONE = ("passed", "skipped", "expected")
SAME = ("subject", "version", "device", "profile", "code")


def go_on(run: Run, folder: Path) -> None:
    """Gives a run the records and the seconds of an earlier run of the same in this folder. What failed runs again.

    Raises RefoptError if the folder's report is of something else.
    """
    path = folder / "results.json"
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        now = {name: getattr(run, name) for name in SAME} | {"schema": SCHEMA, "environment": environment()}
        other = [name for name, value in now.items() if found.get(name) != value]
        records = [_record(case) for case in found["cases"] if case["outcome"] in DONE]
    except (ValueError, KeyError, TypeError) as error:
        raise RefoptError(f"{path} is no report ({error}); leave --resume out, or give another folder") from error
    if other:
        raise RefoptError(
            f"{path} is of another {' and '.join(other)} than this run; leave --resume out, or give another folder"
        )
    run.records, run.seconds = records, float(found["seconds"])


def _record(case: dict[str, Any]) -> Record:
    worst = [[*row[:3], float(row[3]), row[4]] for row in case.get("worst", [])]
    return Record(**(case | {"worst": worst}))


def code_of(driver: Driver) -> str:
    """What tells one state of the reference, of the suite and of the backend from another."""
    made = hashlib.sha256()
    for module in ("refopt", "refopt_conformance", type(driver.backend).__module__.partition(".")[0]):
        spec = find_spec(module) if module != "__main__" else None
        folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
        single = getattr(sys.modules.get(module), "__file__", None)
        files = [file for folder in folders for file in sorted(folder.rglob("*.py"))] or [Path(single or __file__)]
        for file in files:
            made.update(file.name.encode() + file.read_bytes())
    return made.hexdigest()[:16]
