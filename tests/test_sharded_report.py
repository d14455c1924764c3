"""What a sharded run leaves behind, from results made up here; and what each of its profiles runs."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from refopt.clocks import looks_along
from refopt_conformance.cases import DTYPES, HALF_DTYPES, canonical, conventions
from refopt_conformance.sharded.models import along_dimensions, cases, dealt, exchanging, takes_norms
from refopt_conformance.sharded.report import SCHEMA, columns, table, write_report
from refopt_conformance.sharded.results import Result
from refopt_conformance.sharded.summary import Sharded

FINE = Result("dtensor/adam/torch/float32", "passed", seconds=0.25)
FAR = Result("dtensor/lars/paper/float32", "passed", "", 6.25, "t=3, w of the leaf rows", 0.5)
CHOICE = Result("dtensor/lars/paper/clip:yes/float32", "failed", "t=2, w: 1e5 ULPs \x1b[31m<&>", float("inf"))
SENT = Result("dtensor/lars/paper/exchange", "passed", "2 x allreduce")
UNEVEN = Result("devices-auto/uneven", "skipped", "there are no uneven shards")
ALL = [FINE, FAR, CHOICE, SENT, UNEVEN]

VERDICTS = [
    # results, the word, exact status
    (ALL, "deviates", "deviates: 1 of 4 checks failed, 1 skipped"),
    ([FINE, FAR, UNEVEN], "conforms", "conforms: 2 checks passed, 1 skipped"),
    ([UNEVEN], "was not tested", "was not tested: every check was skipped, 1 skipped"),
    ([], "was not tested", "was not tested: no check has such a name"),
]


@pytest.mark.parametrize(("results", "word", "status"), VERDICTS)
def test_what_a_run_comes_to(results: list[Result], word: str, status: str) -> None:
    run = Sharded("torch", "fast", results, 1.0)
    assert (run.word, run.status) == (word, status)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "new"
    written = write_report(Sharded("torch", "full", ALL, 12.345), folder)
    assert [file.name for file in written] == ["sharded.json", "sharded.xml", "sharded.html", "sharded.svg"]
    return folder


def test_the_json(report: Path) -> None:
    found = json.loads((report / "sharded.json").read_text(encoding="utf-8"))
    assert (found["schema"], found["profile"], found["seconds"]) == (SCHEMA, "full", 12.3)
    assert found["status"].startswith("deviates")
    assert found["environment"]["numpy"]
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == {result.name for result in ALL}
    assert rows[CHOICE.name]["ulps"] == "inf", "JSON has no infinity"
    assert (rows[FAR.name]["ulps"], rows[FAR.name]["where"]) == (6.25, FAR.where)


def test_the_junit_file(report: Path) -> None:
    root = ET.parse(report / "sharded.xml").getroot()
    assert (root.tag, root.attrib["tests"], root.attrib["failures"], root.attrib["skipped"]) == (
        "testsuites",
        "5",
        "1",
        "1",
    )
    assert {suite.attrib["name"]: suite.attrib["tests"] for suite in root} == {"dtensor": "4", "devices-auto": "1"}
    names = {f"{case.attrib['classname']}/{case.attrib['name']}" for case in root.iter("testcase")}
    assert names == {result.name for result in ALL}
    (failure,) = root.iter("failure")
    assert failure.attrib["message"] == failure.text == CHOICE.message.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert [skip.text for skip in root.iter("skipped")] == [UNEVEN.message]


def test_the_page_needs_nothing_but_itself(report: Path) -> None:
    page = (report / "sharded.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="[^#]', page)
    for part in ("bit-equal", "∞ ULP", "2 x allreduce", "1 of 2", "&lt;&amp;&gt;", 'id="environment"'):
        assert part in page
    assert "deviates" in (report / "sharded.svg").read_text(encoding="utf-8")


def test_the_matrix() -> None:
    assert columns(ALL) == {"dtensor": ["float32", "exchange"]}
    cells = table(ALL)
    assert list(cells) == ["adam/torch", "lars/paper"], "as the rules are ordered"
    assert cells["adam/torch"]["dtensor", "float32"]["said"] == "bit-equal"
    cell = cells["lars/paper"]["dtensor", "float32"]
    assert (cell["said"], cell["passed"], cell["failed"]) == ("∞ ULP", 1, 1)
    assert CHOICE.name in cell["where"]


# What is cut: all but the rules that look along dimensions, which have a check of their own.
CUT = {name: hyper for name, hyper in conventions().items() if not looks_along(hyper.program)}


def test_what_looks_along_dimensions_has_a_check_of_its_own() -> None:
    apart = {case.conventions.rule.name for case in along_dimensions()}
    assert apart == {hyper.rule.name for name, hyper in conventions().items() if name not in CUT} >= {"sm3"}


def test_the_full_profile_has_all_choices_in_all_dtypes() -> None:
    full = {(case.name, case.dtype) for case in cases("full")}
    assert {(case.name, case.dtype) for case in cases("fast")} < full
    for name, hyper in CUT.items():
        half = name in canonical() or not takes_norms(hyper)
        assert {dtype for at, dtype in full if at == name} == set(DTYPES) | (set(HALF_DTYPES) if half else set())
    assert {case.name for case in exchanging("full")} == set(CUT)


def test_dtypes_are_dealt_evenly() -> None:
    assert set(dealt().items()) <= {(case.name, case.precision) for case in cases("full")}
    assert set(dealt()) == set(CUT)
    elements = Counter(dtype for name, dtype in dealt().items() if not takes_norms(CUT[name]))
    for dtype in (*DTYPES, *HALF_DTYPES):
        assert elements[dtype] > 0.8 * elements.total() / len((*DTYPES, *HALF_DTYPES)), elements


def test_jax_runs_every_set_of_choices_on_every_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax", reason="jax is not installed")
    from refopt_conformance.sharded import jax_worker

    monkeypatch.setattr(jax_worker, "WIDE", True)
    for layout in ("devices-auto", "devices-explicit"):
        assert {case.name for case in cases("full") if jax_worker.in_full(case, False, layout)} == set(CUT)
        between = {case.name for case in cases("full") if jax_worker.in_full(case, True, layout)}
        assert between == (set(canonical()) & set(CUT)) | {name for name, hyper in CUT.items() if takes_norms(hyper)}
    monkeypatch.setattr(jax_worker, "WIDE", False)
    narrow = {case.dtype for case in cases("full") if jax_worker.in_full(case, False, "devices-auto-x32")}
    assert narrow == {"float32", *HALF_DTYPES}
