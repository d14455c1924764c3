"""A verdict as a person reads it: a table, and as plain text."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from refopt.rules import get_rule
from refopt.verifying.complex_numbers import MEANING as COMPLEX
from refopt.verifying.distance import EXCLUDED
from refopt.verifying.verdict import Verdict

STYLES = {"conforms": "bold green", "deviates": "bold red", "unsupported": "bold yellow"}


def render(verdict: Verdict) -> RenderableType:
    """The verdict as a rich renderable."""
    parts: list[RenderableType] = [headline(verdict)]
    if verdict.axes or verdict.nearest:
        parts += ["", axes_table(verdict)]
    if (facts := facts_table(verdict)).row_count:
        parts += ["", facts]
    if verdict.case:
        parts += [
            "",
            Text("the smallest case that shows it:", "bold"),
            Text(verdict.case, no_wrap=True, overflow="ignore"),
        ]
    return Group(*parts)


def text(verdict: Verdict, width: int = 110) -> str:
    """The verdict as plain text."""
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False, markup=False)
    console.print(render(verdict))
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]  # the StringIO above


def headline(verdict: Verdict) -> Text:
    line = Text(verdict.subject, "bold")
    line.append("  ")
    line.append(verdict.status, STYLES[verdict.status])
    if verdict.status == "unsupported":
        reason = verdict.reason.replace(f"{verdict.subject}: ", "").replace(f"{verdict.subject} ", "")
        return line.append(f": {' '.join(reason.split())}")  # the subject has been named
    rule = get_rule(verdict.rule or "")
    if verdict.status == "deviates":
        what = f"dialect {verdict.dialect}" if verdict.dialect else "every variant"
        others = f", and of {either(verdict.tried)}" if verdict.tried else ""
        return line.append(f" from {what} of {rule.name} ({rule.title}){others}")
    line.append(f" to {rule.name}, dialect {verdict.dialect}")
    if verdict.departures:
        line.append(" with " + ", ".join(f"{axis}={choice}" for axis, choice in verdict.departures.items()))
    return line


def axes_table(verdict: Verdict) -> Table:
    """Every axis, what the data says of it, and what that means."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 2, 0, 0))
    for column in ("axis", "choice", "data", "meaning"):
        table.add_column(column, overflow="fold")
    rule = get_rule(verdict.rule or "")
    for name, choice in verdict.nearest.items():
        table.add_row(name, choice, "nearest", rule.axis(name).choice(choice).meaning)
    for axis in verdict.axes.values():
        declared = rule.axis(axis.name)
        if declared.storage:  # nothing of it can be seen
            continue
        if axis.status == "open":
            table.add_row(axis.name, " | ".join(axis.choices), "open", axis.why or "these agree on all that was seen")
        else:
            choice = axis.choices[0]
            meaning = declared.choice(choice).meaning
            seen = meaning if axis.status == "pinned" else f"{meaning} ({axis.why or 'no other choice could be seen'})"
            table.add_row(axis.name, choice, axis.status, seen)
    return table


def facts_table(verdict: Verdict) -> Table:
    """The numbers behind the verdict."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("fact", style="dim", no_wrap=True)
    table.add_column("value", overflow="fold")
    if verdict.distance is not None and verdict.allowed is not None:
        table.add_row("distance", f"{ulps(verdict.distance)}; up to {verdict.allowed:g} is rounding")
    if verdict.next_distance is not None and verdict.allowed is not None:
        other = ", ".join(f"{axis}={choice}" for axis, choice in verdict.next_axes.items())
        table.add_row(
            "next class", f"{ulps(verdict.next_distance)}, with {other}; excluded from {EXCLUDED * verdict.allowed:g}"
        )
    if verdict.first is not None:
        where = f" of {verdict.first.name or f'trace {verdict.first.trace}'}" if verdict.runs > 1 else ""
        table.add_row("first differs", f"step {verdict.first.step}{where}, {verdict.first.quantity}")
        table.add_row(
            "", f"expected {verdict.first.expected!r}, got {verdict.first.actual!r}, {ulps(verdict.first.distance)}"
        )
    if verdict.conforms and verdict.faults:
        meant = (f"{fault.name}, if {either(fault.dialects)} was meant" for fault in verdict.faults)
        table.add_row("else a fault", "; ".join(meant))
    for fault in () if verdict.conforms else verdict.faults:
        table.add_row("fault", f"{fault.name}: {fault.effect}")
        for issue in fault.issues:
            table.add_row("", issue)
    if len(verdict.dialects) > 1:
        table.add_row("same here", f"dialects {', '.join(verdict.dialects)} cannot differ on what was seen")
    if verdict.assumed:
        table.add_row("assumed", ", ".join(f"{name}={value:g}" for name, value in verdict.assumed.items()))
    if verdict.fitted:
        table.add_row("fitted", ", ".join(f"{name}={number}" for name, number in verdict.fitted.items()))
    if verdict.complex_numbers:
        said = COMPLEX[verdict.complex_numbers]
        reason = f": {verdict.complex_reason}" if verdict.complex_reason else ""
        table.add_row("complex", f"{verdict.complex_numbers}: {said}{reason}{_unlike_dialect(verdict)}")
    if verdict.defaults:
        table.add_row("defaults", ", ".join(f"{name}={value:g}" for name, value in verdict.defaults.items()))
    if verdict.steps:
        runs = f", in {verdict.runs} runs" if verdict.runs > 1 else ""
        table.add_row("seen", f"{verdict.steps} steps in {verdict.dtype}{runs}")
    for note in verdict.notes:
        table.add_row("note", note)
    if verdict.versions:
        table.add_row("versions", ", ".join(f"{name} {version}" for name, version in verdict.versions.items()))
    return table


def _unlike_dialect(verdict: Verdict) -> str:
    """Where the dialect that fits has another meaning of complex numbers than what was seen."""
    rule = get_rule(verdict.rule or "")
    declared = rule.dialect(verdict.dialect).axes.get("complex") if verdict.dialect else None
    unlike = declared is not None and verdict.complex_numbers not in (declared, "either")
    return f"; the dialect {verdict.dialect} has complex={declared}" if unlike else ""


def either(names: Sequence[str]) -> str:
    """a, b or c."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def ulps(distance: float) -> str:
    """A distance in ULPs, short: 3.1 ULP, 4.4e+14 ULP."""
    if math.isinf(distance):
        return "infinitely many ULP"
    return f"{distance:.1f} ULP" if distance < 1e5 else f"{distance:.1e} ULP"
