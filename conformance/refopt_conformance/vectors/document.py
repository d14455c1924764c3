"""A file of vectors: numbers as C's hex floats, which every language reads without rounding, a case a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from refopt.rules import get_rule
from refopt_conformance.budgets import BUDGETS, CHAIN, LONG_CHAIN
from refopt_conformance.cases import DTYPES, canonical
from refopt_conformance.reference import Step, average, initial
from refopt_conformance.vectors.cases import LONG_INPUTS, Course, everything
from refopt_conformance.vectors.flags import flags, notes

SCHEMA = 1
NUMBER = 4.0  # ULPs of float64 for a number that is kept for all elements: products of betas, by any library
# The rules that have vectors: those for which the readers in other languages have been written.
WITH_VECTORS = ("sgd", "momentum", "adam", "lars", "ema")
CANCELLED = 1000.0  # ULPs more for an average: its correction 1 - mu**t, of 0.999, cancels by three digits


def names() -> list[str]:
    """The files: of each rule its dialects, and its other choices where it has some."""
    return [f"{rule}{kind}.json" for rule in WITH_VECTORS for kind in ("", "_choices")]


def texts(only: str = "") -> Iterator[tuple[str, str]]:
    """The name and text of every file, or of those of one rule."""
    for rule in WITH_VECTORS:
        if only in ("", rule):
            yield from ((name, text(rule, courses)) for name, courses in files(rule).items())


def files(rule: str) -> dict[str, list[Course]]:
    """The cases of a rule's two files: the dialects' own, and those of all other choices."""
    found = everything(get_rule(rule))
    dialects = [course for course in found if course.case.name in canonical()]
    return {f"{rule}.json": dialects, f"{rule}_choices.json": [course for course in found if course not in dialects]}


def text(rule: str, courses: list[Course]) -> str:
    """A file of these cases."""
    cases = [as_dict(course) for course in courses]
    used = {flag for case in cases for flag in case["flags"]}
    head = {
        "schema": SCHEMA,
        "spec": version("refopt"),
        "rule": rule,
        "title": get_rule(rule).title,
        "references": [reference.url for reference in get_rule(rule).references],
        "notes": notes(get_rule(rule), used),
    }
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    return json.dumps(head, ensure_ascii=False, indent=1)[:-2] + f',\n "cases": [\n{lines}\n ]\n}}\n'


def as_dict(course: Course) -> dict[str, Any]:
    """A case as the schema has it."""
    case, mode = course.case, LONG_CHAIN if course.inputs == LONG_INPUTS else CHAIN
    tolerance = {kind: BUDGETS[kind, case.dtype, mode].ulps for kind in ("parameter", "slot")} | {"number": NUMBER}
    if case.conventions.program.evaluate:
        tolerance["average"] = tolerance["slot"] + BUDGETS["average", case.dtype, mode].ulps  # it is made of the slot
        if case.dtype in DTYPES:
            tolerance["average"] += CANCELLED
    return {
        "name": str(case) + (f"/{course.steps}" if mode == LONG_CHAIN else ""),
        "axes": dict(case.conventions.axes),
        "dtype": case.dtype,
        "flags": flags(course, tolerance),
        "tolerance": tolerance,
        "hyper": {name: [number(value) for value in case.values(name)] for name in case.conventions.read},
        "tensors": [
            {"name": leaf, "shape": list(w.shape)}
            for leaf, w in zip(case.leaves, initial(case).params, strict=True)
        ],
        "params": arrays(initial(case).params),
        "inputs": [arrays(course.arriving(t)) for t in range(1, course.inputs + 1)],
        "first_step": course.first,
        "checkpoints": [_checkpoint(step) for step in course.follow() if step.t in course.checkpoints],
    }  # fmt: skip


def _checkpoint(step: Step) -> dict[str, Any]:
    found: dict[str, Any] = {"step": step.t}
    if step.grads is not None:
        found["params"] = arrays(step.after.params)
    found["slots"] = {
        name: arrays(slot) if isinstance(slot, list) else number(slot) for name, slot in step.after.slots.items()
    }
    if step.hyper.program.evaluate:
        found["average"] = arrays(average(step.hyper, step.t, step.after))
    return found


def arrays(tensors: list[np.ndarray]) -> list[list[str]]:
    """The elements of each, in C order."""
    return [[number(x) for x in tensor.astype(np.float64).ravel()] for tensor in tensors]


def number(value: float) -> str:
    """As C's %a has it, without zeros at the end: 0x1.8p+1, inf, nan."""
    mantissa, p, exponent = float(value).hex().partition("p")
    if not p or "." not in mantissa:
        return mantissa
    return mantissa.rstrip("0").rstrip(".") + p + exponent
