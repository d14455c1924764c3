"""The atlas as tables: for each rule a row per implementation, and a column per axis on which they differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from refopt.atlas.claims import REMARKS, Claim, disagreements
from refopt.atlas.document import Atlas, Row
from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.verifying.complex_numbers import MEANING
from refopt.verifying.report import ulps

OPEN = " | "  # between the choices of an axis that is open
FINEST = "float64"  # what is measured in, unless a line says otherwise


@dataclass(frozen=True)
class Line:
    """What is said of an implementation; `also` are the settings that change nothing of it."""

    row: Row
    also: Sequence[str]
    cells: Mapping[str, str]
    claims: Sequence[Claim]

    @property
    def distance(self) -> str:
        """To what fits; with the dtype that it was measured in, if that is not float64."""
        dtype = self.row.verdict.get("dtype", FINEST)
        return _ulps(self.row.verdict["distance"]) + ("" if dtype == FINEST else f" of {dtype}")

    @property
    def next_distance(self) -> str:
        """How far the nearest other class is; nothing where there is no other."""
        return _ulps(self.row.verdict["next_distance"])

    @property
    def defaults(self) -> str:
        return ", ".join(f"{name}={float(value):g}" for name, value in self.row.verdict["defaults"].items())

    @property
    def status(self) -> Mapping[str, str]:
        """Of each axis whether it is pinned, open or assumed."""
        return {name: axis["status"] for name, axis in self.row.verdict["axes"].items()}


@dataclass(frozen=True)
class Table:
    """The implementations of one rule. `axes` are those on which they differ, `common` the choices that all share."""

    rule: Rule
    lines: Sequence[Line]
    axes: Sequence[str]
    common: Mapping[str, str]

    def meanings(self) -> Iterator[tuple[str, str, str]]:
        """Every choice that is in the table: the axis, the choice, and what that means."""
        for axis in self.rule.axes:
            shown = {choice for line in self.lines for choice in line.cells.get(axis.name, "").split(OPEN)}
            shown |= set(self.common.get(axis.name, "").split(OPEN))
            yield from ((axis.name, choice.name, choice.meaning) for choice in axis.table if choice.name in shown)


def tables(atlas: Atlas) -> list[Table]:
    """A table for each rule that somebody follows, in the rules' order."""
    return [_table(rule, rows) for rule in RULES.values() if (rows := [r for r in atlas.rows if r.rule == rule.name])]


def complex_numbers(atlas: Atlas) -> list[tuple[str, str, list[str]]]:
    """What implementations make of complex numbers: the word for it, what that means, and who; by default alone."""
    found: dict[str, list[str]] = {}
    for row in atlas.rows:
        if (word := row.verdict.get("complex_numbers")) and (not row.options or row.target not in _plain(atlas)):
            found.setdefault(word, []).append(row.name)
    return [(word, meaning, found[word]) for word, meaning in MEANING.items() if word in found]


def _plain(atlas: Atlas) -> set[str]:
    """The targets that follow a rule as they are."""
    return {row.target for row in atlas.rows if not row.options and row.rule}


def others(atlas: Atlas) -> list[tuple[Row, str]]:
    """The implementations that follow none of the rules, or cannot be verified, with the reason."""
    return [(row, _reason(row)) for row in atlas.rows if not row.rule]


def versions(atlas: Atlas) -> list[str]:
    """Each framework, its version, and what it ran on, if it runs on several."""
    on = {row.framework: row.on for row in atlas.rows if row.on}
    whole = ((f"{row.framework} {row.version}", on.get(row.framework)) for row in atlas.rows)
    return list(dict.fromkeys(f"{name} ({below})" if below else name for name, below in whole))


def _table(rule: Rule, rows: Sequence[Row]) -> Table:
    cells = {row.name: _cells(rule, row) for row in rows}
    names = [axis.name for axis in rule.axes if not axis.storage]
    differ = [name for name in names if len({cells[row.name].get(name) for row in rows}) > 1]
    common = {name: cells[rows[0].name].get(name, "") for name in names if name not in differ}
    return Table(rule, list(_lines(rows, cells)), differ, common)


def _cells(rule: Rule, row: Row) -> dict[str, str]:
    """The choices that fit, by axis. What is assumed stands in parentheses."""
    shown = {}
    for name, axis in row.verdict["axes"].items():
        if not rule.axis(name).storage:
            text = OPEN.join(axis["choices"])
            shown[name] = f"({text})" if axis["status"] == "assumed" else text
    return shown


def _lines(rows: Iterable[Row], cells: Mapping[str, Mapping[str, str]]) -> Iterator[Line]:
    """One line for settings of an implementation under which it does the same."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.target, tuple(cells[row.name].items())), []).append(row)
    for first, *same in groups.values():
        also = [row.name.removeprefix(row.target).strip("()") for row in same]
        claims = dict.fromkeys(claim for row in (first, *same) for claim in disagreements(row))
        yield Line(first, also, cells[first.name], list(claims))


def _reason(row: Row) -> str:
    verdict = row.verdict
    if row.status == "unsupported":
        return " ".join(str(verdict["reason"]).replace(f"{row.target}: ", "").split())
    if verdict["faults"]:
        fault = verdict["faults"][0]
        on = f", {row.on}" if row.on else ""
        return f"{verdict['rule']} with the fault {fault['name']}{on}, to {_ulps(fault['distance'])}: {fault['effect']}"
    first = verdict["first"]
    where = f", from which it differs at step {first['step']}" if first else ""
    remark = REMARKS.get((row.target, verdict["rule"]), "")
    return f"none of the rules here; the nearest is {verdict['rule']}{where}{remark and f': {remark}'}"


def _ulps(distance: float | str | None) -> str:
    return "" if distance is None else ulps(float(distance))
