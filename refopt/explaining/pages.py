"""Writes the generated documentation: `python -m refopt.explaining.pages docs`.

`rules/<name>.md` are generated as a whole. Pages written by hand hold generated blocks between two markers:

    <!-- generated: source adam objax -->  ...  <!-- end -->
    <!-- generated: kernel adam objax -->  ...  <!-- end -->
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from refopt.explaining.show import show, source
from refopt.rules import RULES, get_rule

BLOCK = re.compile(r"(<!-- generated: (source|kernel) (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write_pages(folder: str | Path) -> list[Path]:
    """Write every rule's page, and the generated blocks of the other pages, under a documentation folder."""
    root = Path(folder)
    pages = {root / "rules" / f"{name}.md": show(name, format="markdown") for name in RULES}
    by_hand = {path: path.read_text(encoding="utf-8") for path in sorted(root.glob("*.md"))}
    pages |= {path: with_blocks(text) for path, text in by_hand.items() if BLOCK.search(text)}
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(pages)


def with_blocks(text: str) -> str:
    """A page with its generated blocks written anew."""

    def block(match: re.Match[str]) -> str:
        start, kind, rule, dialect, end = match.groups()
        return f"{start}```python\n{BLOCKS[kind](rule, dialect).strip()}\n```\n{end}"

    return BLOCK.sub(block, text)


def _source(rule: str, dialect: str) -> str:
    return source(get_rule(rule).hyper(dialect=dialect))


def _kernel(rule: str, dialect: str) -> str:
    from refopt.engines.numba_source import kernel_source  # here: only these pages need the generator

    return kernel_source(get_rule(rule).hyper(dialect=dialect), dtype="float32")


BLOCKS: dict[str, Callable[[str, str], str]] = {"source": _source, "kernel": _kernel}

if __name__ == "__main__":
    for written in write_pages(sys.argv[1] if len(sys.argv) > 1 else "docs"):
        print(written)
