"""A rule's page of the documentation. Every word of it comes from the rule's declaration or from its syntax tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from refopt.clocks import has_rows, looks_along, matrix_functions
from refopt.explaining.equations import aligned
from refopt.explaining.facts import equations, facts
from refopt.explaining.layout import initial, number
from refopt.explaining.notation import LATEX
from refopt.explaining.symbols import NormOf
from refopt.spec.hyper import Hyper
from refopt.spec.program import Program

CLOCKS = "[Clocks](../clocks.md) says what step, model, tensor, set and element mean."
ALONG = (
    "With S, the maximum is over each set of elements that share an index (a row, a column), and the minimum over the"
    " sets that an element is in."
)
ROWS = (
    "The row mean of an element is over its row, the column mean over its column; rows and columns being those of the"
    " last two dimensions, unless an axis says otherwise. What a tensor has not, a vector's rows or the elements of a"
    " matrix, is not kept of it."
)
MATRIX = (
    "NS is the iteration of Newton and Schulz, five steps from the tensor as a matrix: X becomes aX + (bA + cA²)X with"
    " A = XXᵀ, as `refopt/spec/newton_schulz.py` says step by step. NSD is the same with the coefficients of Dion."
)
SUM = "Σ runs over all elements of the tensor."


def page(hyper: Hyper) -> str:
    """The whole page, for the rule under these axes."""
    known = facts(hyper)
    named = equations(hyper)
    parts = [
        f"# {known['title']}",
        *([known["about"]] if known["about"] else []),
        f"Shown here: {plain(known['convention'])}.",
        f"```python\n{known['source']}```",
        f"$$\n{aligned(named, LATEX)}\n$$",
        *([SUM] if any(isinstance(line.target, NormOf) for line in named) else []),
        *([_dimensions(hyper.program)] if looks_along(hyper.program) else []),
        "## Line by line",
        _table(
            ("line", "computed once per", "written by"),
            [(code(x["source"]), x["clock"], plain(x["origin"])) for x in known["lines"]],
        ),
        CLOCKS,
        "## Hyper-parameters",
        _table(
            ("name", "symbol", "default", "interval", "meaning", "read"),
            [_hyper_parameter(p, known) for p in known["hyper_parameters"]],
        ),
        *_state(known),
        "## Axes",
        "The points on which published implementations disagree. The choice in bold is the one shown above; the others"
        " write the lines given, all else being as above.",
        *[part for axis in known["axes"] for part in _axis(axis)],
        "## Dialects",
        _table(("dialect", "describes", "axes", "defaults"), [_dialect(d) for d in known["dialects"]]),
        "## References",
        "\n".join(f"- [{plain(r['work'])}]({r['url']}): {plain(r['where'])}" for r in known["references"]),
    ]
    return "\n\n".join(parts) + "\n"


def _dimensions(program: Program) -> str:
    """What is meant by the functions that look along dimensions."""
    if matrix_functions(program):
        return MATRIX
    return ROWS if has_rows(program) else ALONG


def _hyper_parameter(p: dict[str, Any], known: dict[str, Any]) -> tuple[str, ...]:
    names = ", ".join(code(name) for name in (p["name"], *p["aliases"]))
    axes = {axis["name"]: [choice["name"] for choice in axis["choices"]] for axis in known["axes"]}
    read = "yes" if p["read"] else "<br>".join(_with(name, c, axes[name]) for name, c in p["read_with"].items())
    return names, p["symbol"], number(p["value"]), plain(p["interval"]), plain(p["meaning"]), read


def _with(axis: str, choices: list[str], all_choices: list[str]) -> str:
    """The choices of an axis with which something counts, in the fewest words."""
    if len(choices) > 1 and choices == all_choices[1:]:
        return f"with {code(axis)} other than {code(all_choices[0])}"
    return "with " + ", ".join(code(f"{axis}={choice}") for choice in choices)


def _state(known: dict[str, Any]) -> list[str]:
    if not known["slots"]:
        return ["## State", "None."]
    rows = [
        (code(s["name"]), s["symbol"], initial(s["initial"]), s["per"], plain(s["meaning"])) for s in known["slots"]
    ]
    return ["## State", _table(("slot", "symbol", "starts as", "one number per", "meaning"), rows)]


def _axis(axis: dict[str, Any]) -> list[str]:
    rows = []
    for choice in axis["choices"]:
        name = code(choice["name"])
        chosen = choice["name"] == axis["chosen"]
        rows.append(
            (f"**{name}**" if chosen else name, plain(choice["meaning"]), plain(choice["source"]), _changes(choice))
        )
    return [
        f"### {axis['name']}",
        f"{plain(axis['meaning']).capitalize()}.",
        _table(("choice", "meaning", "found in", "lines"), rows),
    ]


def _changes(choice: dict[str, Any]) -> str:
    lines = [code(line) for line in choice["writes"]]
    lines += [f"without {code(line)}" for line in choice["without"]]
    lines += [f"{code(slot['name'])} starts as {initial(slot['initial'])}" for slot in choice["slots"]]
    for name, allowed in choice["only_with"].items():
        lines.append("only with " + " or ".join(code(f"{name}={other}") for other in allowed))
    return "<br>".join(lines)


def _dialect(dialect: dict[str, Any]) -> tuple[str, ...]:
    axes = "<br>".join(code(f"{name}={choice}") for name, choice in dialect["axes"].items())
    defaults = ", ".join(code(f"{name}={number(value)}") for name, value in dialect["defaults"].items())
    return code(dialect["name"]), plain(dialect["describes"]), axes or "the first choices", defaults


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))


def plain(text: str) -> str:
    """Text in which Markdown finds nothing to format."""
    return "".join(f"\\{character}" if character in r"\*_|<[]`" else character for character in text)


def code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"
