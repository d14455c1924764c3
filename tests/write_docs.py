"""Writes what is generated in the documentation: `python tests/write_docs.py`. tests/test_docs.py compares.

`docs/rules/<name>.md` are generated as a whole. Other pages hold generated blocks, `<!-- generated: what --> ...
<!-- end -->`, where `what` is one of

    refopt ...          what that command prints, at the root of the repository
    file PATH           a file of the repository
    which-adam          the table of which_adam.py
    rules PREFIX        links to the pages of all rules
    source RULE DIALECT a rule's source with its clocks
    kernel RULE DIALECT the Numba kernel that is generated from it
    pieces              what of the rules that look along dimensions is fused, and what runs as it is written

Versions are left out, so that a block changes only when refopt or what it speaks of does.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from textwrap import fill
from unittest.mock import patch

from typer.testing import CliRunner
from which_adam import table

from refopt.cli import app
from refopt.clocks import cut
from refopt.engines.numba_source import kernel_source
from refopt.explaining import show
from refopt.explaining.show import source
from refopt.rules import RULES, VIEWS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(<!-- generated: (refopt [^>]*?|which-adam|pieces|(?:file|rules) [^ ]+|(?:source|kernel) \w+ \w+) -->\n)"
    r".*?(<!-- end -->)",
    re.DOTALL,
)
WIDTH = 110


def with_blocks(text: str) -> str:
    """A page with its blocks written anew."""
    return BLOCK.sub(lambda match: f"{match[1]}{generate(match[2])}\n{match[3]}", text)


def generate(what: str) -> str:
    """A block's content."""
    kind, *words = what.split()
    if kind == "which-adam":
        return table()
    if kind == "pieces":
        return pieces()
    if kind == "rules":
        return fill(", ".join(f"[{name}]({words[0]}/{name}.md)" for name in (*RULES, *VIEWS)) + ".", 120)
    if kind == "refopt":
        return f"```\n$ {what}\n{output(what)}\n```"
    if kind == "file":
        path = ROOT / words[0]
        return f"```{path.suffix.removeprefix('.')}\n{path.read_text(encoding='utf-8').strip()}\n```"
    rule, dialect = words
    hyper = RULES[rule].hyper(dialect=dialect)
    code = source(hyper) if kind == "source" else kernel_source(hyper, dtype="float32")
    return f"```python\n{code.strip()}\n```"


def pieces() -> str:
    """The canonical rules that are cut, line by line."""
    lines = []
    for name, rule in RULES.items():
        parts = cut(rule.hyper().program)
        if len(parts.pieces) > 1:
            lines += ["", name, *(f"    host        {line.text}" for line in parts.step)]
        for piece in parts.pieces if len(parts.pieces) > 1 else ():
            kinds = ["fused" if piece.fused else "as written", *[""] * (len(piece.program.lines) - 1)]
            shown = zip(kinds, piece.program.lines, strict=True)
            lines += [f"    {kind:<10}  {line.text}" for kind, line in shown]
            lines += [f"                -> {', '.join(piece.program.outputs)}"]
    return "\n".join(["```text", *lines[1:], "```"])


def rule_pages() -> dict[Path, str]:
    """The rules' pages, as they should be."""
    return {ROOT / "docs" / "rules" / f"{name}.md": show(name, format="markdown") for name in (*RULES, *VIEWS)}


def output(command: str) -> str:
    """What a `refopt` command prints, without the versions."""
    with patch.dict(os.environ, {"COLUMNS": str(WIDTH)}):
        result = CliRunner().invoke(app, shlex.split(command)[1:])
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    return "\n".join(line for line in lines if not line.startswith("versions ")).strip()


def main() -> None:
    os.chdir(ROOT)
    by_hand = {path: with_blocks(path.read_text(encoding="utf-8")) for path in PAGES}
    for path, text in {**by_hand, **rule_pages()}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
