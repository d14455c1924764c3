"""Everything that can be said about a rule under given axes, as plain data: what `show` prints and JSON carries."""

from __future__ import annotations

from difflib import SequenceMatcher
from inspect import getdoc, getmodule
from typing import Any

from refopt.explaining.equations import sides
from refopt.explaining.notation import LATEX, UNICODE
from refopt.explaining.symbols import NamedLine, named_lines
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter
from refopt.spec.hyper import Hyper, conflict, reads
from refopt.spec.lines import Line
from refopt.spec.program import Program, program


def programs(update: Program) -> tuple[Program, ...]:
    """The update, and what to evaluate with if the rule has it."""
    return (update, update.evaluate) if update.evaluate else (update,)


def equations(hyper: Hyper) -> list[NamedLine]:
    """The lines of the update and of the average, with their symbols."""
    update, *average = programs(hyper.program)
    named = list(named_lines(hyper.rule, update))
    for part in average:
        named += named_lines(hyper.rule, part, after_step=True)
    return named


def convention(hyper: Hyper) -> str:
    """The dialect, what it describes, and the axis choices that are not its own."""
    dialect = hyper.rule.dialect(hyper.dialect)
    own = hyper.rule.hyper(dialect=hyper.dialect).axes
    others = [f"{name}={choice}" for name, choice in hyper.axes.items() if choice != own[name]]
    return f"dialect {dialect.name} ({dialect.describes})" + (f" but {', '.join(others)}" if others else "")


def facts(hyper: Hyper) -> dict[str, Any]:
    """All of it, in words, numbers, lists and dicts."""
    rule = hyper.rule
    dialect = rule.dialect(hyper.dialect)
    return {
        "rule": rule.name,
        "title": rule.title,
        "dialect": dialect.name,
        "convention": convention(hyper),
        "about": getdoc(getmodule(rule.function)) or "",
        "source": "\n".join(part.text for part in programs(hyper.program)),
        "lines": [_line(named) for named in equations(hyper)],
        "hyper_parameters": [_hyper_parameter(hyper, dialect, p) for p in rule.hyper_parameters],
        "slots": [
            {
                "name": s.name,
                "symbol": s.symbol,
                "initial": s.init,
                "clock": s.clock,
                "per": s.per,
                "meaning": s.meaning,
            }
            for s in hyper.program.slots
        ],
        "axes": [
            {
                "name": axis.name,
                "meaning": axis.meaning,
                "chosen": hyper.axes[axis.name],
                "choices": [_choice(hyper, axis, choice) for choice in axis.table],
            }
            for axis in rule.axes
        ],
        "dialects": [_dialect(hyper, other) for other in rule.dialects],
        "references": [{"work": r.work, "where": r.where, "url": r.url} for r in rule.references],
    }


def _line(named: NamedLine) -> dict[str, str]:
    return {
        "target": named.line.target,
        "source": named.line.text,
        "clock": str(named.clock),
        "origin": named.line.origin,
        "unicode": " = ".join(sides(named, UNICODE)),
        "latex": " = ".join(sides(named, LATEX)),
    }


def _hyper_parameter(hyper: Hyper, dialect: Dialect, p: HyperParameter) -> dict[str, Any]:
    return {
        "name": p.name,
        "symbol": p.symbol,
        "value": hyper.values[p.name],
        "default": dialect.defaults.get(p.name, p.default),
        "interval": p.interval,
        "meaning": p.meaning,
        "aliases": list(p.aliases),
        "read": p.name in hyper.read,
        "read_with": {
            axis.name: choices
            for axis in hyper.rule.axes
            if (choices := [choice.name for choice in axis.table if p.name in _reads_with(hyper, axis, choice)])
        },
    }


def _choice(hyper: Hyper, axis: Axis, choice: Choice) -> dict[str, Any]:
    """A choice, the lines that it `writes`, and those that it goes `without`: what they assign is no longer there."""
    axes = _with(hyper, axis, choice)
    other = program(hyper.rule, axes) if axes else None
    writes, without = _difference(hyper.program, other) if other else ([], [])
    known = set(hyper.program.slots)
    return {
        "name": choice.name,
        "meaning": choice.meaning,
        "source": choice.source,
        "only_with": {name: list(allowed) for name, allowed in choice.only_with.items()},
        "writes": writes,
        "without": without,
        "slots": [{"name": s.name, "initial": s.init} for s in (other.slots if other else ()) if s not in known],
    }


def _with(hyper: Hyper, axis: Axis, choice: Choice) -> dict[str, str] | None:
    """The choices with this one in place of the one taken, if the others allow it."""
    axes = {**hyper.axes, axis.name: choice.name}
    return None if conflict(hyper.rule, axes) else axes


def _reads_with(hyper: Hyper, axis: Axis, choice: Choice) -> tuple[str, ...]:
    axes = _with(hyper, axis, choice)
    return reads(hyper.rule, axes) if axes else ()


def _difference(old: Program, new: Program) -> tuple[list[str], list[str]]:
    writes: list[str] = []
    lost: list[Line] = []
    for before, after in zip(programs(old), programs(new), strict=True):
        a, b = [line.text for line in before.lines], [line.text for line in after.lines]
        for _, i, j, k, n in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            same = a[i:j] == b[k:n]
            writes += [] if same else b[k:n]
            lost += [] if same else before.lines[i:j]
    assigned = {line.target for part in programs(new) for line in part.lines}
    return writes, [line.text for line in lost if line.target not in assigned]


def _dialect(hyper: Hyper, dialect: Dialect) -> dict[str, Any]:
    """A dialect, its choices that are not the first of their axis, and all numbers that it reads."""
    full = hyper.rule.hyper(dialect=dialect.name)
    return {
        "name": dialect.name,
        "describes": dialect.describes,
        "axes": {
            axis.name: full.axes[axis.name] for axis in hyper.rule.axes if full.axes[axis.name] != axis.choices[0]
        },
        "defaults": {name: full.values[name] for name in full.read},
    }
