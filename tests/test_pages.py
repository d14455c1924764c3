"""The rules' pages are those that are generated, and are whole."""

import re
from pathlib import Path

import pytest
from write_docs import ROOT, rule_pages


def test_there_is_a_page_for_each_rule_and_no_other() -> None:
    assert set((ROOT / "docs" / "rules").iterdir()) == set(rule_pages())


@pytest.mark.parametrize(("path", "text"), rule_pages().items(), ids=lambda x: x.stem if isinstance(x, Path) else "")
def test_a_page_is_what_is_generated(path: Path, text: str) -> None:
    assert path.read_text(encoding="utf-8") == text, "run: python tests/write_docs.py"


@pytest.mark.parametrize("path", rule_pages(), ids=lambda path: path.stem)
def test_every_row_of_a_page_has_its_columns(path: Path) -> None:
    """A `|` of the text must not end a cell."""
    width = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (width and cells) or cells == width, line
        width = cells
