"""A failing case as code that runs as it stands: what the optimizer makes of it, and what the rule does."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from refopt.engines.numpy_engine import BACKEND as REFERENCE
from refopt.spec.declare import Rule
from refopt.spec.hyper import Hyper

WIDTH = 100
LINES = 40  # longer code is not printed: nobody would read it
REPEATED = 3  # so many equal values in a row are written once


@dataclass(frozen=True)
class Case:
    """A few steps: parameters, gradients and numbers by refopt's names; `at` is the parameter that differs."""

    params: list[np.ndarray]
    grads: list[list[np.ndarray]]
    hyper: list[dict[str, float]]
    at: int = 0


@dataclass(frozen=True)
class Expression:
    """How the code gets at what it drives: imports, lines that come first, the target, its other arguments."""

    imports: tuple[str, ...]
    before: tuple[str, ...]
    target: str
    arguments: tuple[str, ...]


def code(
    rule: Rule,
    axes: Mapping[str, str],
    assumed: Mapping[str, float],
    case: Case,
    got: np.ndarray,
    driven: Expression | None = None,
) -> str | None:
    """The code of a case, in which an optimizer is driven or, if None is, `got` stands as it was recorded.

    None if it would be longer than anybody reads, or if numbers that the rule does not read change between steps.
    """
    hyper = rule.hyper(**axes)
    read = [name for name in hyper.read if name in case.hyper[0]]
    unread = {name: value for name, value in case.hyper[0].items() if name not in read}
    if driven and any(now[name] != value for now in case.hyper for name, value in unread.items()):
        return None
    constant = all(now == case.hyper[0] for now in case.hyper)
    narrow = case.params[0].dtype.name if driven and case.params[0].dtype != np.float64 else None
    lines = ["import numpy as np", *(driven.imports if driven else ()), "import refopt", ""]
    if narrow == "bfloat16":
        lines.insert(0, "import ml_dtypes")
    lines += [*_arrays(case, narrow), *_numbers([{n: now[n] for n in read} for now in case.hyper])]
    if driven:
        more = [*driven.arguments, *(f"{name}={value!r}" for name, value in unread.items())]
        given = ", ".join([driven.target, "params", "grads", "numbers", *more])
        lines += [*driven.before, f"got = refopt.drive({given})[-1][{case.at}]"]
    else:
        lines += ["# as recorded", *_wrapped(f"got = np.array({_text(got)})")]
    lines += ["", *_reference(rule, hyper, axes, assumed, case, constant=constant, narrow=narrow)]
    tolist = ".astype(np.float64).tolist()" if driven and got.dtype.name == "bfloat16" else ".tolist()"
    lines += [f'print("got", got{tolist})', f'print("expected", expected[{case.at}].tolist())']
    lines += [f"# got {_list(got)}", f"# expected {_list(expected(rule, axes, assumed, case))}"]
    return "\n".join(lines) if len(lines) <= LINES else None


def expected(rule: Rule, axes: Mapping[str, str], assumed: Mapping[str, float], case: Case) -> np.ndarray:
    """What the rule makes of the case, in float64: the parameter that differs after the last step."""
    conventions = rule.hyper(**axes)
    params = [w.astype(np.float64) for w in case.params]
    slots = REFERENCE.init(conventions, params)
    for t, (given, now) in enumerate(zip(case.grads, case.hyper, strict=True), start=1):
        hyper = conventions.replace(**{n: v for n, v in {**assumed, **now}.items() if n in conventions.read})
        grads = [g.astype(np.float64) for g in given]
        if hyper.program.reads_gradient:
            params, slots = REFERENCE.update(hyper, t, params, grads, slots, in_place=False)
        else:
            _, slots = REFERENCE.update(hyper, t, grads, None, slots, in_place=False)
            params = REFERENCE.average(hyper, t, grads, slots)
    return params[case.at]


def _reference(
    rule: Rule,
    hyper: Hyper,
    axes: Mapping[str, str],
    assumed: Mapping[str, float],
    case: Case,
    *,
    constant: bool,
    narrow: str | None,
) -> list[str]:
    """The lines that compute what is expected, through refopt's pure functions."""
    name, paper = quoted(rule.name), rule.hyper().axes
    choices = [f"{axis}={quoted(choice)}" for axis, choice in axes.items() if choice != paper[axis]]
    choices += [f"{n}={v!r}" for n, v in assumed.items() if n in hyper.read and n not in case.hyper[0]]
    called = ", ".join([*choices, "**numbers" if constant else "**numbers[0]"])
    lines = _wrapped(f"hyper = refopt.get_rule({name}).hyper({called})")
    start = "[w.astype(np.float64) for w in params]" if narrow else "params"
    given = "[x.astype(np.float64) for x in g]" if narrow else "g"
    loop = "for g in grads:" if constant else "for g, now in zip(grads, numbers):"
    now = "hyper" if constant else "hyper, **now"
    if hyper.program.reads_gradient:
        lines += [f"expected = {start}", f"state = refopt.init({name}, expected, hyper)", loop]
        return [*lines, f"    expected, state = refopt.update({name}, expected, {given}, state, {now})"]
    lines += [f"state = refopt.init({name}, {start}, hyper)", loop]
    lines += [f"    values, state = refopt.update({name}, {given}, None, state, {now})"]
    return [*lines, f"expected = refopt.average({name}, values, state, {now})"]


def _arrays(case: Case, narrow: str | None) -> list[str]:
    """The parameters, and the gradients step by step."""
    dtype = "" if narrow is None else ", ml_dtypes.bfloat16" if narrow == "bfloat16" else f", np.{narrow}"
    params = ", ".join(f"np.array({_text(w)}{dtype})" for w in case.params)
    if len(case.params) == 1 and case.params[0].shape == (1,):
        one, steps = f"[np.array([g]{dtype})]", [_text(now[0])[1:-1] for now in case.grads]
    elif len(case.params) == 1:
        one, steps = f"[np.array(g{dtype})]", [_text(now[0]) for now in case.grads]
    else:
        one = f"[np.array(x{dtype}) for x in g]"
        steps = [f"[{', '.join(map(_text, now))}]" for now in case.grads]
    grads = f"grads = [{one} for g in {_sequence(steps)}]"
    if len(steps) == 1:
        grads = f"grads = [[{', '.join(f'np.array({_text(g)}{dtype})' for g in case.grads[0])}]]"
    return [*_wrapped(f"params = [{params}]"), *_wrapped(grads)]


def _numbers(hyper: Sequence[Mapping[str, float]]) -> list[str]:
    """The numbers: one mapping if they are constant, else one per step."""
    first = hyper[0]
    changing = [name for name in first if any(now[name] != first[name] for now in hyper)]
    if not changing:
        return _wrapped(f"numbers = {_mapping(first)}")
    same = {name: value for name, value in first.items() if name not in changing}
    rows = [", ".join(repr(now[name]) for name in changing) for now in hyper]
    rows = rows if len(changing) == 1 else [f"({row})" for row in rows]
    each = "".join(f", {quoted(name)}: {name}" for name in changing)
    each = f"{{**same{each}}}"
    return [
        *_wrapped(f"same = {_mapping(same)}"),
        *_wrapped(f"numbers = [{each} for {', '.join(changing)} in {_sequence(rows)}]"),
    ]


def _mapping(numbers: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{quoted(name)}: {value!r}" for name, value in numbers.items()) + "}"


def quoted(text: str) -> str:
    """A text as code, between double quotes where it has none itself."""
    single = repr(text)
    return f'"{single[1:-1]}"' if single[0] == "'" and '"' not in single and "\\" not in single else single


def _sequence(texts: Sequence[str]) -> str:
    """A list of what these texts say; many equal ones in a row as `[0.0] * 10`."""
    parts: list[str] = []
    single: list[str] = []
    for text, group in groupby(texts):
        times = len(list(group))
        if times > REPEATED:
            parts += [f"[{', '.join(single)}]"] if single else []
            parts, single = [*parts, f"[{text}] * {times}"], []
        else:
            single += [text] * times
    parts += [f"[{', '.join(single)}]"] if single else []
    return " + ".join(parts)


def _text(array: np.ndarray) -> str:
    """The values as code, all digits of them."""
    return re.sub(r"\b(nan|inf)\b", r"np.\1", repr(array.astype(np.float64).tolist()))


def _list(array: np.ndarray) -> str:
    """The values as `print` shows them."""
    wide: Any = array.astype(np.float64)
    return repr(wide.tolist())


def _wrapped(line: str) -> list[str]:
    """A line of code as several, if it is long: it has brackets around each place where it may be broken."""
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
