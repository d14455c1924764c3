"""The documentation is true: links lead somewhere, code runs, commands work, and what is generated is up to date."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from write_docs import PAGES, ROOT, with_blocks

from refopt.cli import app
from refopt.verifying.distance import EXCLUDED, ROUNDING, Deviation
from refopt.verifying.verdict import AxisVerdict, Verdict

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"<!-- generated: .*?<!-- end -->", re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language that were written by hand. ```python runs; any other name for it does not."""
    return [
        code for found, code in FENCE.findall(GENERATED.sub("", page.read_text(encoding="utf-8"))) if found == language
    ]


BY_HAND = [page for page in PAGES if page.parent.name != "rules"]
# Tested elsewhere; or not there.
ELSEWHERE = (
    *("refopt conform", "refopt identify", "refopt atlas"),
    *("refopt verify optax:lars", "refopt verify my_file.py", "refopt verify --exec", "refopt verify --python"),
)
SHOWN = [
    pytest.param(line, id=f"{name(page)}: {line.partition('  ')[0]}")
    for page in BY_HAND
    for block in (*blocks(page, ""), *blocks(page, "sh"))
    for line in block.splitlines()
    if line.startswith("refopt ") and not line.startswith(ELSEWHERE)
]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {link}, which is not there"
        assert target.is_relative_to(ROOT), f"{name(page)} links to {link}, outside of the repository"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}; no heading is called that"


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub addresses them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in BY_HAND if blocks(page, "python")], ids=name)
def test_code_runs(page: Path) -> None:
    """A page's blocks, one after the other, from the root of the repository; warnings are errors."""
    code = "\n".join(blocks(page, "python"))
    command = [sys.executable, "-W", "error", "-c", code]
    environment = {k: v for k, v in os.environ.items() if k != "REFOPT_BACKEND"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", SHOWN)
def test_commands_work(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(app, shlex.split(command, comments=True)[1:])
    assert result.exit_code == 0, f"{result.output}{result.exception!r}"


@pytest.mark.parametrize("page", BY_HAND, ids=name)
def test_generated_blocks_are_up_to_date(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text(encoding="utf-8")
    assert without_ulps(with_blocks(text)) == without_ulps(text), "run: python tests/write_docs.py"


def without_ulps(text: str) -> str:
    """Without the distances: the last digits of a framework depend on the processor."""
    return re.sub(r"[\d.]+(e[+-]\d+)? ULP", "ULP", text)


@pytest.mark.parametrize(
    ("table", "kind"), [("`Verdict`", Verdict), ("`AxisVerdict`", AxisVerdict), ("`Deviation`", Deviation)]
)
def test_every_field_of_a_verdict_is_explained(table: str, kind: Any) -> None:
    """docs/verdicts.md has one row per field, in their order."""
    text = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    rows = text.partition(f"{table}")[2].partition("| --- | --- |\n")[2].partition("\n\n")[0].splitlines()
    assert [re.findall(r"`(\w+)`", row)[0] for row in rows] == [field.name for field in dataclasses.fields(kind)]
    assert all(len(row.split(" | ")[1]) > 10 for row in rows)


def test_the_page_on_verdicts_has_the_numbers_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8").split())
    wide, narrow = ROUNDING["float64"], ROUNDING["float16"]
    assert set(ROUNDING) == {"float64", "float32", "float16", "bfloat16"}
    assert (ROUNDING["float32"], ROUNDING["bfloat16"]) == (wide, narrow)
    assert f"{wide:g} ULP in float64 and float32, {narrow:g} ULP in float16 and bfloat16" in text
    assert f"Beyond {EXCLUDED:g} times that" in text
