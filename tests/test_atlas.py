"""The atlas: what is listed, kept, stale and shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from refopt.atlas import Atlas, chart, load, measuring
from refopt.atlas.claims import CLAIMS, disagreements
from refopt.atlas.document import FILE, Row, digest
from refopt.atlas.pages import render, write_pages
from refopt.atlas.tables import others, tables, versions
from refopt.atlas.targets import Target, listed
from refopt.rules import RULES
from refopt.selection import importable
from refopt.spec.errors import RefoptError

COMMITTED = Path(__file__).parents[1] / "docs" / "atlas"
TORCH = pytest.mark.skipif(
    importable("torch") is not None, reason="torch is not installed, whose optimizers are listed"
)


def row(target: str = "torch.optim:SGD", version: str = "1", **verdict: object) -> Row:
    """A row that somebody measured."""
    axes = {"decay": {"status": "pinned", "choices": ["l2"], "considered": ["none", "l2"], "why": ""}}
    known = {"status": "conforms", "rule": "sgd", "axes": axes, "distance": 0.8, "next_distance": 1e14}
    given = {**known, "defaults": {"lr": 0.1}, "reason": "", "first": None, "faults": [], "versions": {}}
    given = {**given, **verdict}
    rules = digest(str(given["rule"]) if given["status"] == "conforms" else "")
    return Row(target, target, {}, "torch", version, rules, 0.1, given)


@TORCH
def test_what_is_listed() -> None:
    names = {target.name for target in listed([], "torch.")[0]}
    assert {"torch.optim:Adam", "torch.optim:Adam(amsgrad=True)", "torch.optim.swa_utils:AveragedModel"} <= names
    assert {"torch.optim:SGD(momentum=0.9)", "torch.optim:SGD(momentum=0.9, nesterov=True)"} <= names
    assert not {name for name in names if "maximize" in name or name == "torch.optim:Optimizer"}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: listed([], "tensorflow.nothing"), "begins with 'tensorflow.nothing'"),
        (lambda: listed([Path("no-such-python")]), "did not list its optimizers"),
        (lambda: Atlas().named("torch.optim:Adam"), "has no row 'torch.optim:Adam'; `refopt atlas --only"),
    ],
)
def test_refusals(call: Callable[[], object], says: str) -> None:
    with pytest.raises(RefoptError, match=re.escape(says)):
        call()


@pytest.mark.parametrize("text", ["{", '{"schema": "refopt-atlas/0", "rows": []}', '{"rows": 1}'])
def test_what_is_no_atlas_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    with pytest.raises(RefoptError, match="is no atlas"):
        load(tmp_path)


@TORCH
def test_who_is_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is kept; what is stale, or missing, is measured; what was not asked for stays."""
    targets = [Target(f"torch.optim:{name}", {}, "torch", "2") for name in ("SGD", "Adam", "LBFGS")]
    monkeypatch.setattr(measuring, "listed", lambda pythons, only: (targets, ["keras cannot be imported"]))
    measured: list[str] = []

    def fake(todo: list[Target], have: Mapping[str, Row], jobs: int | None) -> list[Row]:
        measured.extend(target.name for target in todo)
        return [row(target.target, target.version) for target in todo]

    monkeypatch.setattr(measuring, "_measured", fake)
    Atlas([row("optax:sgd"), row("torch.optim:SGD", "2"), row("torch.optim:Adam", "1")]).write(tmp_path)
    seen: list[tuple[int, int, str]] = []
    found, reasons = chart(tmp_path, watch=lambda *said: seen.append(said))
    assert measured == ["torch.optim:Adam", "torch.optim:LBFGS"]
    assert seen == [(1, 2, "torch.optim:Adam"), (2, 2, "torch.optim:LBFGS")]
    assert reasons == ["keras cannot be imported"]
    assert [one.name for one in found.rows] == ["optax:sgd", "torch.optim:SGD", "torch.optim:Adam", "torch.optim:LBFGS"]
    assert load(tmp_path) == found
    chart(tmp_path, fresh=True)
    assert measured[2:] == ["torch.optim:SGD", "torch.optim:Adam", "torch.optim:LBFGS"]


@TORCH
def test_a_row_is_measured(tmp_path: Path) -> None:
    found = measuring.measure(Target("torch.optim:SGD", {"momentum": 0.9, "nesterov": True}, "torch", "2"))
    assert (found.rule, found.verdict["axes"]["nesterov"]["choices"]) == ("momentum", ["yes"])
    refused = measuring.measure(Target("torch.optim:LBFGS", {}, "torch", "2"))
    assert refused.status == "unsupported"
    assert "closure" in others(Atlas([refused]))[0][1]
    Atlas([found, refused]).write(tmp_path)
    assert load(tmp_path).rows == [found, refused]


def test_a_fault_that_fits_is_named_with_what_the_framework_ran_on() -> None:
    fault = {"name": "iterate-aliased", "effect": "the average moves at once", "distance": 2.8}
    faulty = row(status="deviates", rule="schedule_free_adamw", faults=[fault], versions={"torch on tpu": "3"})
    assert others(Atlas([faulty]))[0][1] == (
        "schedule_free_adamw with the fault iterate-aliased, on tpu 3, to 2.8 ULP: the average moves at once"
    )
    assert versions(Atlas([row(), faulty])) == ["torch 1 (on tpu 3)"]


def test_what_is_stale() -> None:
    atlas = Atlas([row(), replace(row("optax:sgd"), framework="optax"), replace(row("torch.optim:Adam"), rules="old")])
    said = [one.stale for one in atlas.against({"torch": "2"}).rows]
    assert said == [
        "measured with torch 1, and 2 is installed",
        "",
        "measured with torch 1, and 2 is installed",
    ]
    assert atlas.against({}).rows[2].stale == "measured with other rules than today's"


def test_a_verdict_is_as_good_as_the_rules_that_were_asked() -> None:
    """A new rule makes stale what follows none, and what follows a rule that is asked after it."""
    assert len({digest(), digest("sgd"), digest("adam"), digest("lamb")}) == 4
    assert digest("adamw") == digest("adam"), "a view is its rule"
    assert digest([*RULES][-1]) == digest()


def test_settings_that_change_nothing_share_a_line() -> None:
    same = replace(row(), name="torch.optim:SGD(nesterov=True)")
    (table,) = tables(Atlas([row(), same]))
    (line,) = table.lines
    assert (line.row.name, line.also, table.common) == ("torch.optim:SGD", ["nesterov=True"], {"decay": "l2"})


def test_pages_say_what_was_measured(tmp_path: Path) -> None:
    deviating = row("torch.optim:New<b>", status="deviates", first={"step": 3})
    stale = replace(row("torch.optim:Old"), stale="measured with torch 1, and 2 is installed")
    atlas = Atlas([row(), deviating, stale])
    page, text = render(atlas, "atlas.html.j2"), render(atlas, "atlas.md.j2")
    for part in ("torch.optim:SGD", "lr=0.1", "0.8 ULP", "1.0e+14 ULP", "differs at step 3", "and 2 is installed"):
        assert part in page
        assert part in text
    assert "New&lt;b&gt;" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page), "the page needs nothing but itself"
    assert [path.name for path in write_pages(atlas, tmp_path)] == ["atlas.md", "atlas.html"]


@pytest.mark.parametrize(("dtype", "text"), [("float64", "0.8 ULP"), ("float32", "0.8 ULP of float32")])
def test_a_distance_says_if_it_was_not_measured_in_float64(dtype: str, text: str) -> None:
    (table,) = tables(Atlas([row(dtype=dtype)]))
    assert [line.distance for line in table.lines] == [text]


def test_claims_are_on_axes_that_exist() -> None:
    for claim in CLAIMS:
        rules = [r for r in RULES.values() if claim.axis in {a.name for a in r.axes} or not claim.axis]
        choices = {c for r in rules for a in r.axes if a.name == claim.axis for c in a.choices}
        assert claim.choice in (choices if claim.axis else {f.name for r in rules for f in r.faults}), claim
        assert claim.place


def test_a_claim_is_held_against_what_was_measured() -> None:
    claim = CLAIMS[0]
    for choices, count in ((["inside_raw"], 1), ([claim.choice], 0), ([claim.choice, "inside_raw"], 0)):
        axes = {claim.axis: {"status": "pinned", "choices": choices, "considered": [], "why": ""}}
        found = [one for one in disagreements(row(claim.target, rule="adam", axes=axes)) if one.axis]
        assert len(found) == count


def test_a_claim_on_a_setting_is_held_against_that_alone() -> None:
    claim = next(one for one in CLAIMS if "(" in one.target)
    target = claim.target.partition("(")[0]
    axes = {claim.axis: {"status": "pinned", "choices": ["relative"], "considered": [], "why": ""}}
    bare = row(target, rule="adafactor", axes=axes)
    setting = replace(bare, name=claim.target)
    assert list(disagreements(bare)) == []
    assert list(disagreements(setting)) == [claim]
    (found,) = tables(Atlas([bare, setting]))
    assert [line.claims for line in found.lines] == [[claim]], "they do the same, and stand in one line"


def test_the_committed_atlas_is_whole() -> None:
    """Its pages are those of its rows, and the rows name rules and choices that exist."""
    atlas = load(COMMITTED)
    for name, template in (("atlas.md", "atlas.md.j2"), ("atlas.html", "atlas.html.j2")):
        written = (COMMITTED / name).read_text(encoding="utf-8")
        assert written == render(atlas, template), "run refopt atlas --out docs/atlas"
    assert {one.framework for one in atlas.rows} == {"torch", "optax", "keras", "timm", "objax"}
    for one in atlas.rows:
        for axis, said in one.verdict["axes"].items() if one.rule else ():
            assert set(said["choices"]) <= set(RULES[one.rule].axis(axis).choices), one.name
    json.loads((COMMITTED / FILE).read_text(encoding="utf-8"))
