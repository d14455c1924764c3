"""The atlas as it is kept: a JSON file of rows, and what is stale in it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from refopt.files import whole
from refopt.rules import RULES, get_rule
from refopt.spec.errors import RefoptError

SCHEMA = "refopt-atlas/1"
FILE = "atlas.json"


@dataclass(frozen=True)
class Row:
    """One implementation, and what was measured of it.

    `verdict` is that of `refopt verify`, as JSON; `rules` says with which rules it was made (`digest` of its rule).
    """

    name: str
    target: str
    options: Mapping[str, Any]
    framework: str
    version: str
    rules: str
    seconds: float
    verdict: Mapping[str, Any]
    stale: str = ""

    @property
    def status(self) -> str:
        return str(self.verdict["status"])

    @property
    def rule(self) -> str:
        """The rule that it follows, or nothing."""
        return str(self.verdict["rule"]) if self.status == "conforms" else ""

    @property
    def on(self) -> str:
        """What the framework ran on, where it runs on several: `on torch 2.13.0`; else nothing."""
        below = f"{self.framework} on "
        found = (
            f"on {what.removeprefix(below)} {version}"
            for what, version in self.verdict["versions"].items()
            if what.startswith(below)
        )
        return next(found, "")


@dataclass(frozen=True)
class Atlas:
    """All rows, in the order of the frameworks' own lists."""

    rows: Sequence[Row] = field(default_factory=list)

    def named(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        raise RefoptError(f"the atlas has no row {name!r}; `refopt atlas --only {name.partition('(')[0]}` measures it")

    def against(self, versions: Mapping[str, str]) -> Atlas:
        """The same, with what is stale marked: the framework is another version here, or the rules have changed."""
        return replace(self, rows=[replace(row, stale=_stale(row, versions)) for row in self.rows])

    def write(self, folder: Path) -> None:
        """As JSON, a row a line."""
        rows = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in self.rows)
        with whole(folder / FILE) as path:
            path.write_text(f'{{"schema": "{SCHEMA}", "rows": [\n{rows}\n]}}\n', encoding="utf-8")


def load(folder: Path) -> Atlas:
    """What a folder holds; nothing if there is no atlas yet. Raises RefoptError for what is none."""
    path = folder / FILE
    if not path.is_file():
        return Atlas()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise ValueError(f"its schema is {found['schema']!r}, not {SCHEMA!r}")
        return Atlas([Row(**row) for row in found["rows"]])
    except (ValueError, KeyError, TypeError) as error:
        raise RefoptError(f"{path} is no atlas ({error}); give another folder, or remove the file") from error


@cache
def digest(follows: str = "") -> str:
    """What tells one state of the rules from another: a verdict is only as good as the variants it chose from.

    Of what follows a rule, those are its own and those of the simpler rules, which are asked first; of what follows
    none, all. Other words, faults or dialects make no other variants.
    """
    last = get_rule(follows).algorithm if follows else [*RULES][-1]
    found = []
    for rule in [*RULES.values()][: [*RULES].index(last) + 1]:
        axes = [(a.name, [(c.name, c.edits, c.slots, c.only_with) for c in a.table]) for a in rule.axes]
        numbers = [(p.name, p.interval, p.aliases, p.probes) for p in rule.hyper_parameters]
        source = [inspect.getsource(f) for f in (rule.function, rule.evaluate) if f is not None]
        slots = [*rule.slots, *(slot for a in rule.axes for c in a.table for slot in c.slots)]
        rows = [(s.of, s.least) for s in slots if s.of != "dimensions"]  # which their representation leaves out
        found.append((rule.name, source, axes, numbers, *rows))
    return hashlib.sha256(repr(found).encode()).hexdigest()[:12]


def _stale(row: Row, versions: Mapping[str, str]) -> str:
    here = versions.get(row.framework, row.version)
    if here != row.version:
        return f"measured with {row.framework} {row.version}, and {here} is installed"
    return "" if row.rules == digest(row.rule) else "measured with other rules than today's"
