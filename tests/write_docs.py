"""Writes what is generated in the documentation: `python tests/write_docs.py`. tests/test_docs.py compares.

    <!-- generated: refopt ... -->  ...  <!-- end -->    what that command prints, at the root of the repository
    <!-- generated: which-adam -->  ...  <!-- end -->    the table of which_adam.py

Versions are left out, so that a block changes only when refopt or what it speaks of does.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner
from which_adam import table

from refopt.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- generated: (refopt [^>]*?|which-adam) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 110


def with_blocks(text: str) -> str:
    """A page with its blocks written anew."""
    return BLOCK.sub(lambda match: f"{match[1]}{generate(match[2])}\n{match[3]}", text)


def generate(what: str) -> str:
    """A block's content."""
    return table() if what == "which-adam" else f"```\n$ {what}\n{output(what)}\n```"


def output(command: str) -> str:
    """What a `refopt` command prints, without the versions."""
    with patch.dict(os.environ, {"COLUMNS": str(WIDTH)}):
        result = CliRunner().invoke(app, shlex.split(command)[1:])
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    return "\n".join(line for line in lines if not line.startswith("versions ")).strip()


def main() -> None:
    from refopt.explaining import write_pages

    os.chdir(ROOT)
    write_pages("docs")
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if (new := with_blocks(text)) != text:
            path.write_text(new, encoding="utf-8", newline="\n")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    sys.exit(main())
