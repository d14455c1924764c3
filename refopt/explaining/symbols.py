"""What a name of a rule's source is called in its equations: `m_hat` is m̂, and `w` has a time.

Letters come from the declarations (`HyperParameter.symbol`, `Slot.symbol`) or, for a name that a rule only uses within
a step, from the name itself. Everything but a hyper-parameter carries its time:

    w, a slot       t-1 before the step assigns it, t afterwards; what lies between is primed: w′, then w
    g, once changed primed at t: g + wd*w is g′
    mu, once changed gets the time that it did not have: min(mu, ...) is μ at t
    x = norm(y)     x is ‖y‖
"""

from __future__ import annotations

import ast
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from refopt.clocks import Clock, clocks
from refopt.spec.declare import Rule
from refopt.spec.lines import Line, source_of
from refopt.spec.program import Program

HAT = "\N{COMBINING CIRCUMFLEX ACCENT}"


@dataclass(frozen=True)
class Symbol:
    """One letter (or word) with an accent (a combining character), primes, an index of its own, and a time."""

    base: str
    accent: str = ""
    primes: int = 0
    index: str = ""
    time: str = ""


@dataclass(frozen=True)
class NormOf:
    """A name that stands for the norm of an expression, whose names meant `names` where it was computed."""

    value: ast.expr
    names: Mapping[str, Term]


Term: TypeAlias = Symbol | NormOf


@dataclass(frozen=True)
class NamedLine:
    """A line, its clock, what it assigns and what the names in it stand for."""

    line: Line
    clock: Clock
    target: Term
    names: Mapping[str, Term]


def declared_symbol(text: str) -> Symbol:
    """The symbol that a declaration spells in Unicode: "β₁", "η₊", "v̄", "ε′"."""
    base = accent = index = ""
    for character in unicodedata.normalize("NFD", text):
        if unicodedata.combining(character):
            accent += character
        elif "SUBSCRIPT" in unicodedata.name(character):
            index += unicodedata.normalize("NFKC", character).replace("−", "-")
        elif character != "′":
            base += character
    return Symbol(base, accent, text.count("′"), index)


def local_symbol(name: str) -> Symbol:
    """The symbol of a name that no declaration spells: `m_hat` is m̂, `c1` is c₁, `rho` is ρ, `trust` is itself."""
    stem = name.removesuffix("_hat")
    word = stem.rstrip("0123456789")
    try:
        base = unicodedata.lookup(f"GREEK SMALL LETTER {word.replace('lambda', 'lamda')}") if len(word) > 1 else word
    except KeyError:
        base = word
    return Symbol(base, HAT if stem != name else "", 0, stem[len(word) :])


def named_lines(
    rule: Rule, program: Program, *, now: str = "t", before: str = "t-1", after_step: bool = False
) -> tuple[NamedLine, ...]:
    """The program's lines with their symbols at the times `before` and `now`; `after_step` for what is run after it."""
    names = _given(rule, program, now, now if after_step else before)
    given = frozenset(program.arrays)
    total = Counter(line.target for line in program.lines)
    seen: Counter[str] = Counter()
    found = []
    for line, clock in zip(program.lines, clocks(program), strict=True):
        seen[line.target] += 1
        nth, last = seen[line.target], total[line.target]
        if line.target in program.outputs:
            primes = nth if nth < last else 0
        else:
            primes = nth if line.target in given else nth - 1
        target: Term
        if is_norm(line.value) and last == 1 and line.target not in program.outputs:
            target = NormOf(line.value, names)
        else:
            letter = _declared(rule, program).get(line.target) or local_symbol(line.target)
            target = replace(letter, primes=letter.primes + primes, time=now)
        found.append(NamedLine(line, clock, target, names))
        names = {**names, line.target: target}
    return tuple(found)


def is_norm(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and source_of(value.func) == "norm"


def _declared(rule: Rule, program: Program) -> dict[str, Symbol]:
    symbols = {p.name: p.symbol for p in rule.hyper_parameters} | {s.name: s.symbol for s in program.slots}
    return {name: declared_symbol(symbol) for name, symbol in symbols.items()}


def _given(rule: Rule, program: Program, now: str, before: str) -> dict[str, Term]:
    """What the names stand for before the first line. A rule that leaves w alone reads the w of this step."""
    letters = _declared(rule, program)
    names: dict[str, Term] = {"t": Symbol("t"), **{name: letters[name] for name in program.hypers}}
    for name in (*program.arrays, *(slot.name for slot in (*program.tensors, *program.numbers))):
        stays = name == "g" or (name == "w" and not program.writes_parameter)
        names[name] = replace(letters.get(name) or local_symbol(name), time=now if stays else before)
    return names
