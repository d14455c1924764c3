"""A rule for the reader: its source with clocks, its equations, numbers and axes, in one of four formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from textwrap import indent
from typing import Any

from refopt.clocks import clocks
from refopt.explaining.equations import aligned, sides
from refopt.explaining.facts import equations, facts, programs
from refopt.explaining.layout import WIDTH, initial, number, pad, paragraphs, table, width
from refopt.explaining.markdown import page
from refopt.explaining.notation import LATEX, UNICODE
from refopt.explaining.symbols import NormOf
from refopt.rules import get_rule
from refopt.spec.declare import Rule
from refopt.spec.errors import unknown
from refopt.spec.hyper import Hyper


def show(
    rule: str | Rule, *, dialect: str | None = None, format: str = "text", columns: int = WIDTH, **options: Any
) -> str:
    """A rule under these axes: as "text", its equations in "latex", everything in "json", or a "markdown" page.

    `options` are hyper-parameters and axis choices, as `rule.hyper` takes them. The text is for a terminal of so many
    `columns`; source and equations are never broken.
    """
    if format not in FORMATS:
        raise unknown("refopt", "format", format, FORMATS)
    hyper = get_rule(rule).hyper(dialect=dialect, **options)
    return text(hyper, columns) if format == "text" else FORMATS[format](hyper)


def text(hyper: Hyper, columns: int = WIDTH) -> str:
    """For a terminal."""
    known = facts(hyper)
    sections = {
        "": paragraphs("\n\n".join([f"{known['title']}, {known['convention']}", known["about"]]).strip(), columns),
        "References": [
            line
            for r in known["references"]
            for line in (*paragraphs(f"{r['work']}: {r['where']}", columns, "  ", "    "), f"      {r['url']}")
        ],
        "Source, and how often each line is computed": indent(source(hyper), "  ").splitlines(),
        "Equations" + _remark(hyper): _equations(hyper),
        "Hyper-parameters": table(
            (
                [p["name"], p["symbol"], number(p["value"]), p["interval"], p["meaning"]]
                for p in known["hyper_parameters"]
                if p["read"]
            ),
            columns,
        ),
        "State": table(
            (
                [
                    s["name"],
                    s["symbol"],
                    f"one number per {s['per']}",
                    f"starts as {initial(s['initial'])}",
                    s["meaning"],
                ]
                for s in known["slots"]
            ),
            columns,
        ),
        "Dialects": table(([d["name"], d["describes"]] for d in known["dialects"]), columns),
        "Axes (* is what is shown here)": [line for axis in known["axes"] for line in _axis(axis, columns)],
    }
    blocks = ["\n".join([heading, *lines] if heading else lines) for heading, lines in sections.items() if lines]
    return "\n\n".join(blocks) + "\n"


def source(hyper: Hyper) -> str:
    """The specialised source with each line's clock and origin as its comment."""
    functions = []
    for part in programs(hyper.program):
        first, *_, last = part.text.splitlines()
        widest = max(len(line.text) for line in part.lines)
        body = [
            f"    {line.text:<{widest}}  # {clock}" + (f", {line.origin}" if line.origin else "")
            for line, clock in zip(part.lines, clocks(part), strict=True)
        ]
        functions.append("\n".join([first, *body, last]))
    return "\n\n".join(functions) + "\n"


def _remark(hyper: Hyper) -> str:
    return ", Σ over all elements of the tensor" if any(isinstance(n.target, NormOf) for n in equations(hyper)) else ""


def _equations(hyper: Hyper) -> list[str]:
    pairs = [sides(named, UNICODE) for named in equations(hyper)]
    widest = max(width(left) for left, _ in pairs)
    return [f"  {pad(left, widest)} = {right}" for left, right in pairs]


def _axis(axis: dict[str, Any], columns: int) -> list[str]:
    rows = []
    for choice in axis["choices"]:
        mark = "*" if choice["name"] == axis["chosen"] else " "
        source = f" ({choice['source']})" if choice["source"] else ""
        rows.append([f"{mark} {choice['name']}", choice["meaning"] + source])
    return [f"  {axis['name']}: {axis['meaning']}", *table(rows, columns, indent=4)]


def latex(hyper: Hyper) -> str:
    """An `aligned` environment (amsmath, MathJax)."""
    return aligned(equations(hyper), LATEX) + "\n"


def to_json(hyper: Hyper) -> str:
    return json.dumps(facts(hyper), ensure_ascii=False, indent=2) + "\n"


FORMATS: dict[str, Callable[[Hyper], str]] = {"text": text, "latex": latex, "json": to_json, "markdown": page}
