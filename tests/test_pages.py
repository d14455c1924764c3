"""The generated pages are those that the generator writes, and are whole."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refopt.rules import RULES

DOCS = Path(__file__).parent.parent / "docs"


def test_committed_pages_are_what_the_generator_writes(tmp_path: Path) -> None:
    """`python -m refopt.explaining.pages docs` changes nothing."""
    copy = tmp_path / "docs"
    copy.mkdir()
    for page in DOCS.glob("*.md"):
        shutil.copy(page, copy)
    command = [sys.executable, "-W", "error", "-m", "refopt.explaining.pages", str(copy)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    committed = {path.relative_to(DOCS): path.read_bytes() for path in DOCS.glob("rules/*.md")}
    assert set(committed) == {Path("rules", f"{name}.md") for name in RULES}
    committed |= {path.relative_to(DOCS): path.read_bytes() for path in DOCS.glob("*.md")}
    written = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*.md")}
    remedy = "run `python -m refopt.explaining.pages docs`"
    assert {p for p in committed if committed[p] != written[p]} == set(), remedy
    assert {Path(line).name for line in printed} >= {"adam.md", "clocks.md"}


@pytest.mark.parametrize("path", sorted(DOCS.glob("rules/*.md")), ids=lambda path: path.stem)
def test_every_row_of_a_page_has_its_columns(path: Path) -> None:
    """A `|` of the text must not end a cell."""
    width = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (width and cells) or cells == width, line
        width = cells
