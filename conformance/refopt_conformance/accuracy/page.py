"""The rows as JSON, and as a page of tables that says where refopt's ports are not the best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from refopt_conformance.accuracy.courses import COURSES, ELEMENTS
from refopt_conformance.accuracy.measure import CHECKPOINTS, DTYPES, OURS, Error, Row

MARGIN = 5  # percent: less is luck
RANKED = ("float32", "float16", "bfloat16")  # in float64 the reference is rounded as well


def as_dict(rows: Sequence[Row], versions: dict[str, str]) -> dict[str, Any]:
    """All rows, as JSON has them; what is not finite is a string."""
    return {"versions": versions, "elements": ELEMENTS, "rows": [_finite(asdict(row)) for row in rows]}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def rows_of(data: dict[str, Any]) -> list[Row]:
    """The rows that `as_dict` wrote."""

    def error(given: dict[str, Any]) -> Error:
        numbers = {name: float(given[name]) for name in ("ulps", "rms", "found", "expected")}
        return Error(**given | numbers)

    return [Row(**row | {"errors": tuple(error(one) for one in row["errors"])}) for row in data["rows"]]


def page(rows: Sequence[Row], versions: dict[str, str]) -> str:
    """The page, in Markdown."""
    from jinja2 import Environment

    source = files("refopt_conformance.accuracy").joinpath("page.md.j2").read_text(encoding="utf-8")
    rows = sorted(rows, key=lambda row: DTYPES.index(row.dtype))
    found = list(better(rows))
    # Not HTML: the values are numbers, and names of this package.
    template = Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True).from_string(source)
    kinds = list(dict.fromkeys(row.kind for row in rows))
    text = template.render(
        courses=list(COURSES),
        elements=ELEMENTS,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        margin=MARGIN,
        better=found,
        cells=len({(row.conventions, row.dtype) for row in rows if row.dtype in RANKED}) * len(CHECKPOINTS),
        checkpoints=[f"after {t}" for t in CHECKPOINTS],
        kinds=kinds,
        first={dtype: [_first(rows, dtype, kind) for kind in kinds] for dtype in _dtypes(rows)},
        dtypes={dtype: _tables(rows, dtype) for dtype in _dtypes(rows)},
    )
    return text.rstrip() + "\n"


def _dtypes(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.dtype for row in rows))


def _first(rows: Sequence[Row], dtype: str, kind: str) -> str:
    """The worst first step of a framework, over all conventions."""
    found = [row.errors[0].ulps for row in rows if (row.dtype, row.kind) == (dtype, kind)]
    return _number(max(found, key=lambda ulps: math.inf if math.isnan(ulps) else ulps)) if found else ""


def _tables(rows: Sequence[Row], dtype: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row.dtype == dtype:
            cells = [f"{_number(error.ulps)} ({_number(error.rms)})" for error in row.errors]
            found.setdefault(row.conventions, []).append({"name": row.name, "cells": cells, "at": _at(row.errors[-1])})
    return found


def _at(error: Error) -> str:
    return f"{error.course}[{error.element}]"


def _number(ulps: float) -> str:
    if not math.isfinite(ulps):
        return str(ulps)
    return f"{ulps:.2f}" if ulps < 100 else f"{ulps:.0f}" if ulps < 1e6 else f"{ulps:.1e}"


def better(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """The best framework's optimizer of each comparison in which it beats both ports."""
    for key in dict.fromkeys((row.conventions, row.dtype) for row in rows if row.dtype in RANKED):
        mine = [row for row in rows if (row.conventions, row.dtype) == key]
        for i, step in enumerate(CHECKPOINTS):
            ours = min((row.errors[i].rms for row in mine if row.kind == OURS), key=_nan_last)
            others = [row for row in mine if row.kind not in (OURS, "floor")]
            best = min(others, key=lambda row: _nan_last(row.errors[i].rms))
            if best.errors[i].rms * (1 + MARGIN / 100) < ours:
                yield {
                    "conventions": key[0], "dtype": key[1], "step": step, "name": best.name,
                    "theirs": _number(best.errors[i].rms), "ours": _number(ours),
                }  # fmt: skip


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value
