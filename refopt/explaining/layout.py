"""Plain text in columns. A combining accent (m̂) takes no column of its own."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

WIDTH = 110


def width(text: str) -> int:
    return sum(not unicodedata.combining(character) for character in text)


def pad(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def paragraphs(text: str, columns: int, indent: str = "", hanging: str = "") -> list[str]:
    """The lines of a text, each paragraph filled anew."""
    filled = (
        textwrap.wrap(part, columns, initial_indent=indent, subsequent_indent=indent + hanging, break_long_words=False)
        for part in text.split("\n\n")
    )
    return "\n\n".join("\n".join(lines) for lines in filled).split("\n")


def table(rows: Iterable[Sequence[str]], columns: int, indent: int = 2) -> list[str]:
    """Rows with their columns aligned, two spaces between; a last column that is too long is wrapped."""
    rows = [list(row) for row in rows]
    widths = [max(width(row[n]) for row in rows) for n in range(len(rows[0]) - 1)] if rows else []
    start = indent + sum(widths) + 2 * len(widths)
    lines = []
    for *first, last in rows:
        left = " " * indent + "".join(pad(cell, widest + 2) for cell, widest in zip(first, widths, strict=True))
        wrapped = textwrap.wrap(last, max(columns - start, 40), break_long_words=False) or [""]
        lines += [(left + wrapped[0]).rstrip(), *(" " * start + line for line in wrapped[1:])]
    return lines


def number(value: float) -> str:
    """The shortest digits: 1e-08, 0.9, and 1 rather than 1.0."""
    return repr(float(value)).removesuffix(".0")


def initial(init: str | float) -> str:
    """What a slot starts as."""
    if isinstance(init, str):
        return {"zeros": "0", "params": "the parameter"}[init]
    return number(init)
