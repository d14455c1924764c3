"""The two notations in which an equation is written: Unicode on one line, and LaTeX.

A notation joins parts that are already written. Each part has a level, how tightly it holds together, so that
parentheses appear where, and only where, leaving them out would change the order of the operations.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar, NamedTuple

from refopt.explaining.symbols import Symbol


class Level(IntEnum):
    CHOICE = 0
    OR = 1
    AND = 2
    COMPARE = 3
    SUM = 4
    SIGN = 5
    QUOTIENT = 6
    PRODUCT = 7
    POWER = 8
    ATOM = 9


class Part(NamedTuple):
    text: str
    level: Level = Level.ATOM


def number(text: str) -> Part:
    """A number is a part by itself, unless it has a sign."""
    return Part(text, Level.SIGN if text.startswith("-") else Level.ATOM)


class Unicode:
    """One line of text: m̂ = m / (1 − β₁ᵗ)."""

    minus, plus = " − ", " + "
    words: ClassVar = {"or": " or ", "and": " and "}
    relations: ClassVar = {"==": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥"}
    _below = str.maketrans("0123456789t-+", "₀₁₂₃₄₅₆₇₈₉ₜ₋₊")
    _above = str.maketrans("0123456789tnpk−-+()", "⁰¹²³⁴⁵⁶⁷⁸⁹ᵗⁿᵖᵏ⁻⁻⁺⁽⁾")

    def wrap(self, part: Part, least: Level) -> str:
        """The part, in parentheses unless it holds together at least that tightly."""
        return part.text if part.level >= least else self.parentheses(part.text)

    def parentheses(self, text: str) -> str:
        return f"({text})"

    def symbol(self, symbol: Symbol) -> Part:
        below = ",".join(part.translate(self._below) for part in (symbol.index, symbol.time) if part)
        return Part(f"{symbol.base}{symbol.accent}{'′' * symbol.primes}{below}".replace("′′", "″"))

    def product(self, left: Part, right: Part) -> Part:
        return Part(f"{self.wrap(left, Level.PRODUCT)}·{self.wrap(right, Level.POWER)}", Level.PRODUCT)

    def quotient(self, top: Part, bottom: Part) -> Part:
        return Part(f"{self.wrap(top, Level.QUOTIENT)} / {self.wrap(bottom, Level.POWER)}", Level.QUOTIENT)

    def power(self, base: Part, exponent: Part) -> Part:
        raised = exponent.text.replace(" ", "")
        if all(ord(character) in self._above for character in raised):
            return Part(f"{self.wrap(base, Level.ATOM)}{raised.translate(self._above)}", Level.POWER)
        return Part(f"{self.wrap(base, Level.ATOM)}^{self.wrap(exponent, Level.ATOM)}", Level.POWER)

    def root(self, inside: Part) -> Part:
        return Part(f"√{self.wrap(inside, Level.ATOM)}", Level.POWER)

    def norm(self, inside: Part) -> Part:
        return Part(f"‖{inside.text}‖")

    def magnitude(self, inside: Part) -> Part:
        return Part(f"|{inside.text}|")

    def transposed(self, inside: Part) -> Part:
        return Part(f"{self.wrap(inside, Level.ATOM)}ᵀ", Level.POWER)

    def total(self, inside: Part) -> Part:
        """The sum over all elements of the model."""
        return Part(f"Σ({inside.text})")

    def along(self, name: str, inside: Part) -> Part:
        """The extremum over the sets that an element is in, or over the elements of a set."""
        return Part(f"{name}ₛ({inside.text})")

    def root_of_squares(self, inside: Part) -> Part:
        """What the norm is, the sum being over all elements."""
        return Part(f"√Σ {self.power(inside, Part('2')).text}", Level.POWER)

    def call(self, name: str, arguments: Sequence[Part]) -> Part:
        return Part(f"{name}({', '.join(argument.text for argument in arguments)})")

    def cases(self, rows: Sequence[tuple[Part, Part]], otherwise: Part) -> Part:
        """Each row is a value and the test for it."""
        tested = [f"{self.wrap(value, Level.OR)} if {test.text}" for value, test in rows]
        return Part(", ".join([*tested, f"else {otherwise.text}"]), Level.CHOICE)


class Latex(Unicode):
    """What MathJax and LaTeX read; `aligned` and `cases` need amsmath."""

    minus, plus = " - ", " + "
    words: ClassVar = {"or": r" \text{ or } ", "and": r" \text{ and } "}
    relations: ClassVar = {"==": "=", "!=": r"\ne", "<": "<", "<=": r"\le", ">": ">", ">=": r"\ge"}
    _accents: ClassVar = {"CIRCUMFLEX ACCENT": "hat", "MACRON": "bar", "TILDE": "tilde"}

    def parentheses(self, text: str) -> str:
        return rf"\left({text}\right)" if r"\frac" in text or r"\begin" in text else f"({text})"

    def symbol(self, symbol: Symbol) -> Part:
        text = self._letter(symbol.base)
        for accent in symbol.accent:
            text = rf"\{self._accents[unicodedata.name(accent).removeprefix('COMBINING ')]}{{{text}}}"
        below = ",".join(part for part in (symbol.index, symbol.time) if part)
        if below:
            below = f"_{below}" if len(below) == 1 else f"_{{{below}}}"
        return Part(text + "'" * symbol.primes + below)

    def _letter(self, base: str) -> str:
        if len(base) > 1:
            return r"\mathrm{" + base.replace("_", r"\_") + "}"
        if base.isascii():
            return base
        name = unicodedata.name(base).split()[-1].lower()  # GREEK SMALL LETTER ETA
        return "\\" + {"lamda": "lambda", "epsilon": "varepsilon"}.get(name, name)

    def product(self, left: Part, right: Part) -> Part:
        first, second = self.wrap(left, Level.PRODUCT), self.wrap(right, Level.POWER)
        dot = second[0].isdigit() or r"\mathrm" in first + second  # a word beside a letter would run into it
        return Part(f"{first} \\cdot {second}" if dot else f"{first} {second}", Level.PRODUCT)

    def quotient(self, top: Part, bottom: Part) -> Part:
        return Part(rf"\frac{{{top.text}}}{{{bottom.text}}}", Level.POWER)

    def power(self, base: Part, exponent: Part) -> Part:
        inside = self.wrap(base, Level.ATOM)
        inside = f"{{{inside}}}" if "'" in inside else inside  # a prime is a superscript already
        raised = exponent.text if len(exponent.text) == 1 else f"{{{exponent.text}}}"
        return Part(f"{inside}^{raised}", Level.POWER)

    def root(self, inside: Part) -> Part:
        return Part(rf"\sqrt{{{inside.text}}}")

    def norm(self, inside: Part) -> Part:
        return Part(rf"\lVert {inside.text} \rVert")

    def magnitude(self, inside: Part) -> Part:
        return Part(rf"\lvert {inside.text} \rvert")

    def transposed(self, inside: Part) -> Part:
        return Part(rf"{self.wrap(inside, Level.ATOM)}^{{\top}}", Level.POWER)

    def total(self, inside: Part) -> Part:
        return Part(rf"\textstyle\sum {self.parentheses(inside.text)}", Level.PRODUCT)

    def along(self, name: str, inside: Part) -> Part:
        return Part(rf"\{name}_{{S}}{self.parentheses(inside.text)}")

    def root_of_squares(self, inside: Part) -> Part:
        return self.root(Part(rf"\textstyle\sum {self.power(inside, Part('2')).text}"))

    def call(self, name: str, arguments: Sequence[Part]) -> Part:
        operator = rf"\{name}" if name in ("max", "min") else rf"\operatorname{{{name}}}"
        return Part(operator + self.parentheses(", ".join(argument.text for argument in arguments)))

    def cases(self, rows: Sequence[tuple[Part, Part]], otherwise: Part) -> Part:
        lines = [rf"{value.text} & \text{{if }} {test.text}" for value, test in rows]
        lines.append(rf"{otherwise.text} & \text{{otherwise}}")
        separator = r" \\ "
        return Part(rf"\begin{{cases}} {separator.join(lines)} \end{{cases}}", Level.CHOICE)


UNICODE, LATEX = Unicode(), Latex()
