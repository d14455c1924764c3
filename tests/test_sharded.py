"""Sharded tensors: every case passes, a local norm is caught, and no process is left behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from refopt.spec.errors import RefoptError
from refopt_conformance import sharded
from refopt_conformance.sharded import BACKENDS, main, run
from refopt_conformance.sharded.launch import attend
from refopt_conformance.sharded.results import RUNNING, Report, Result, merged

LAYOUTS = {
    "torch": {"dtensor", "fsdp2"},
    "jax": {f"{where}-{mesh}" for where in ("devices", "processes") for mesh in ("auto", "explicit")}
    | {"devices-auto-x32", "devices-explicit-x32"},
}


OF_TENSORS = ("lars", "lamb", "novograd", "prodigy", "sm3", "adafactor", "muon")  # which are held against the reference


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_case_passes_on_every_layout(backend: str) -> None:
    results = run(backend, profile="brief")
    assert [result for result in results if result.outcome == "failed"] == []
    passed = {result.layout for result in results if result.outcome == "passed"}
    old = [result for result in results if "install 0.7 or newer" in result.message]
    assert passed == LAYOUTS[backend] or old
    for result in results:
        assert result.outcome == "passed" or result.message, "a skip says why"
        if not any(f"/{rule}/" in result.name for rule in OF_TENSORS):
            assert result.ulps == 0, f"{result.name}: an element's bits do not depend on how a tensor is cut"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_norm_of_a_shard_is_caught(backend: str) -> None:
    """The fault updates every shard as if it were the tensor; rules of elements cannot tell."""
    one = {"torch": "", "jax": "devices-explicit"}[backend]  # of the many meshes of jax
    results = run(backend, only=f"{one}/(sgd|lars)/paper/float32", fault="local-norm")
    assert {r.outcome for r in results if "/sgd/" in r.name} == {"passed"}
    caught = [r for r in results if "/lars/" in r.name and r.outcome != "skipped"]
    assert caught
    for result in caught:
        assert result.outcome == "failed"
        assert result.ulps > 1e4, "far beyond any budget"
        assert "the float64 reference" in result.message


def test_who_waits_for_a_process_that_hangs_is_ended() -> None:
    # On a busy machine it takes long until they hang; 30 s after that who waits would give up by itself.
    for deadline in (8.0, 30.0, 55.0, 80.0):
        started = time.monotonic()
        results = run("torch", only="/sgd/paper/float32", fault="hang", deadline=deadline)
        assert time.monotonic() - started < deadline + 20
        (lost,) = (result for result in results if result.outcome == "failed")
        assert f"did not finish within {deadline:g} s, and was ended" in lost.message
        if lost.name != "start":
            break
    assert lost.name == "dtensor/sgd/paper/float32"


SLEEP, CRASH = "import time; time.sleep(600)", "import sys; print('out of luck', file=sys.stderr); sys.exit(3)"


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ((CRASH, SLEEP), ["ended with status 3: out of luck", None]),  # the other waited for what will not come
        (("pass", SLEEP), [None, "did not finish within 1 s, and was ended"]),
        (("pass", "pass"), [None, None]),
    ],
)
def test_no_process_is_left_behind(programs: tuple[str, str], said: list[str | None], tmp_path: Path) -> None:
    note = "import os, pathlib; pathlib.Path({!r}).write_text(str(os.getpid()))\n"
    files = [tmp_path / f"{rank}.pid" for rank in range(len(programs))]
    commands = [[sys.executable, "-c", note.format(str(f)) + p] for f, p in zip(files, programs, strict=True)]
    assert attend(commands, deadline=1.0, environment=os.environ, folder=tmp_path) == said
    for file in files:
        if file.exists():  # it had time to start
            with pytest.raises(ProcessLookupError):
                os.kill(int(file.read_text()), 0)


def test_a_case_has_passed_if_it_has_in_every_process() -> None:
    fine, bad = Result("a/x", "passed", "", 1.0), Result("a/x", "failed", "17 ULPs", 17.0)
    assert merged([Report((fine,)), Report((bad,))]) == [Result("a/x", "failed", "process 1: 17 ULPs", 17.0)]
    assert merged([Report((fine,)), Report((fine,))]) == [fine]
    lost = merged([Report((Result("a/x", RUNNING),), "died"), Report((), "died")])
    assert {(r.name, r.message) for r in lost} == {
        ("a/x", "of 2 processes, 0 died"),
        ("start", "of 2 processes, 1 died"),
    }


def test_the_command_prints_a_row_for_each_layout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main("torch", only="/sgd/paper/float32", report=tmp_path) == 0
    printed = capsys.readouterr().out
    assert "torch, sharded, conforms: 2 checks passed" in printed
    assert "every bit is that of the unsharded run" in printed
    assert {file.name for file in tmp_path.iterdir()} == {f"sharded.{kind}" for kind in ("json", "xml", "html", "svg")}
    assert main("torch", only="lars/paper/float32", fault="local-norm") == 1
    assert "failed: dtensor/lars/paper/float32: process " in capsys.readouterr().out


def test_the_full_profile_reaches_the_processes() -> None:
    results = run("torch", profile="full", only="/sgd/paper/float16")
    assert [(r.name, r.outcome) for r in results] == [
        (f"{layout}/sgd/paper/float16", "passed") for layout in ("dtensor", "fsdp2")
    ]
    assert all(result.seconds > 0 for result in results)


STATUS = {"passed": 0, "failed": 1, "skipped": 2, "": 2}  # by the only outcome, or none


@pytest.mark.parametrize("outcome", STATUS)
def test_the_exit_status(outcome: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    results = [Result("dtensor/sgd/paper/float32", outcome, "said")] if outcome else []
    monkeypatch.setattr(sharded, "run", lambda *a, **k: results)
    assert main("torch", only="sgd") == STATUS[outcome]
    assert ("was not tested" in capsys.readouterr().out) == (STATUS[outcome] == 2)


@pytest.mark.parametrize(
    ("backend", "profile", "fault"),
    [("numpy", "fast", None), ("torch", "slow", None), ("torch", "fast", "no-such")],
)
def test_what_is_not_there_is_refused(backend: str, profile: str, fault: str | None) -> None:
    with pytest.raises(RefoptError, match="choose from"):
        run(backend, profile=profile, fault=fault)
