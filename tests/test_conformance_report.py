"""What a run of the suite leaves behind: a report that stands by itself, smallest cases that run, known deviations."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from refopt_conformance import _memory
from refopt_conformance.pages import badge
from refopt_conformance.records import SCHEMA

BROKEN = """
from refopt.engines.numpy_engine import NumpyEngine

class Engine(NumpyEngine):
    def update(self, hyper, t, *arrays, in_place):
        late = hyper.replace(lr=hyper.values["lr"] * (2 if t == {at} else 1)) if "lr" in hyper.read else hyper
        return super().update(late, t, *arrays, in_place=in_place)

BACKEND = Engine()
"""


def conform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "refopt_conformance", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reports")
    (made / "broken.py").write_text(BROKEN.format(at=3), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def broken(folder: Path) -> subprocess.CompletedProcess[str]:
    return conform(folder, "broken:BACKEND", "-k", "/sgd/paper or /adam/torch", "--report", "out")


def test_the_report_has_what_it_should(broken: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert broken.returncode == 1, broken.stdout + broken.stderr
    results = json.loads((folder / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["schema"] == SCHEMA
    assert results["subject"] == "broken:BACKEND"
    assert results["status"].startswith("deviates")
    assert results["environment"]["numpy"]
    failed = [case for case in results["cases"] if case["outcome"] == "failed"]
    assert failed
    assert all("ULPs apart" in case["message"] or case["message"] for case in failed)
    suites = ET.parse(folder / "out" / "junit.xml").getroot()
    assert len(list(suites.iter("failure"))) == len(failed)
    assert "deviates" in (folder / "out" / "badge.svg").read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(broken: subprocess.CompletedProcess[str], folder: Path) -> None:
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!https://)[^"#]', page)
    assert not re.search(r"<(script|img|link)[^>]*(src|href)=", page)
    for part in ('id="rules"', 'id="budgets"', 'id="checks"', 'id="faults"', 'id="environment"', "bias-missing-m"):
        assert part in page
    assert "undefined" not in page.replace("undefined)", "")


def test_the_smallest_case_runs_and_shows_the_deviation(broken: subprocess.CompletedProcess[str], folder: Path) -> None:
    results = json.loads((folder / "out" / "results.json").read_text(encoding="utf-8"))
    scripts = [case["reproduce"] for case in results["cases"] if case.get("reproduce", "").startswith("import")]
    assert scripts
    for script in (min(scripts, key=len), max(scripts, key=len)):
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True, timeout=100
        )
        got = [line.removeprefix("# got").strip() for line in script.splitlines() if line.startswith("# got")]
        assert done.stdout.splitlines() == got
        expected = [line.removeprefix("# expected").strip() for line in script.splitlines() if "# expected" in line]
        assert got != expected
    assert "smallest cases, to be run as they are" in broken.stdout


STOPPED = """
from pathlib import Path
from refopt.engines.numpy_engine import NumpyEngine

class Engine(NumpyEngine):
    calls = 0
    def update(self, *arguments, **options):
        Engine.calls += 1
        if Engine.calls == 50 and Path("somebody-stops-it").exists():
            raise KeyboardInterrupt
        return super().update(*arguments, **options)

BACKEND = Engine()
"""


def test_a_run_that_was_stopped_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(STOPPED, encoding="utf-8")
    (tmp_path / "somebody-stops-it").touch()
    command = ("slow:BACKEND", "-k", "/sgd/paper", "--report", "out", "--resume")

    stopped = conform(tmp_path, *command)
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    found = re.search(r"was stopped after (\d+) of (\d+) tests, of which none deviated", stopped.stdout)
    assert found, stopped.stdout
    assert 0 < int(found[1]) < int(found[2])
    assert "not tested" in (tmp_path / "out" / "badge.svg").read_text(encoding="utf-8")

    (tmp_path / "somebody-stops-it").unlink()
    resumed = conform(tmp_path, *command)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert results["status"].startswith("conforms")
    assert len(results["cases"]) == len({case["id"] for case in results["cases"]}) == int(found[2])
    ran = sum(int(count) for count in re.findall(r"(\d+) (?:passed|skipped)", resumed.stdout.splitlines()[-1]))
    assert ran == int(found[2]) - int(found[1])

    again = conform(tmp_path, *command)
    assert again.returncode == 0
    assert not re.search(r"\d passed", again.stdout.splitlines()[-1]), again.stdout

    (tmp_path / "slow.py").write_text(STOPPED + "# changed", encoding="utf-8")
    changed = conform(tmp_path, *command)
    assert changed.returncode == 2
    assert "is of another code than this run; leave --resume out, or give another folder" in changed.stderr


def test_to_go_on_there_must_be_a_report(tmp_path: Path) -> None:
    done = conform(tmp_path, "numpy", "--resume")
    assert done.returncode == 2
    assert "--resume goes on with the --report of a backend's run; give both, or leave it out" in done.stderr


EXPECTATIONS = [
    # expectations, exit status, what is printed
    ({"*/sgd/paper/*": "the rate is doubled at step 3"}, 1, "XPASS"),
    ({"one_step/sgd/paper/float32/*": "the rate is doubled at step 3"}, 0, "as expected"),
    ({"one_step/sgd/paper/float32/*": "known", "chain/*": "a reason"}, 2, "needs its reason, a sentence; got 'known'"),
    ({"one_step/sgd/nowhere/*": "the rate is doubled"}, 2, "'one_step/sgd/nowhere/*' matches no check of this run"),
]


@pytest.mark.parametrize(("known", "status", "says"), EXPECTATIONS)
def test_expectations(known: dict[str, str], status: int, says: str, folder: Path) -> None:
    """What is known to deviate does not fail the run; what is known and does not deviate fails it."""
    (folder / "known.json").write_text(json.dumps(known), encoding="utf-8")
    selected = ["-k", "/sgd/paper/float32/"] if status else ["-k", "one_step/sgd/paper/float32/"]
    done = conform(folder, "broken:BACKEND", "--expect", "known.json", *selected)
    assert done.returncode == status, done.stdout + done.stderr
    assert says in done.stdout + done.stderr


def test_a_missing_file_of_expectations(folder: Path) -> None:
    done = conform(folder, "numpy", "--expect", "nowhere.json")
    assert done.returncode == 2
    assert "there is no file nowhere.json" in done.stderr


def test_last_failed_runs_what_failed(broken: subprocess.CompletedProcess[str], folder: Path) -> None:
    first = conform(folder, "broken:BACKEND", "-k", "/sgd/paper")
    again = conform(folder, "broken:BACKEND", "--last-failed", "-k", "/sgd/paper")
    assert "deviates" in first.stdout
    assert re.search(r"deviates: (\d+) of \1 tests failed", again.stdout), again.stdout


def test_what_failed_last_is_remembered_by_folder(
    broken: subprocess.CompletedProcess[str], folder: Path, tmp_path: Path
) -> None:
    """Two runs of subjects of one name, as when two people share a machine, do not overwrite what the other failed."""
    conform(folder, "broken:BACKEND", "-k", "one_step/sgd/paper/float32/")
    (tmp_path / "broken.py").write_text(BROKEN.format(at=10**6), encoding="utf-8")
    assert "conforms" in conform(tmp_path, "broken:BACKEND", "-k", "one_step/sgd/paper/float32/").stdout
    again = conform(folder, "broken:BACKEND", "--last-failed", "-k", "one_step/sgd/paper/float32/")
    assert re.search(r"deviates: (\d+) of \1 tests failed", again.stdout), again.stdout


def test_options_are_part_of_the_subject() -> None:
    """An Adam and an AMSGrad of one name are two subjects."""
    subjects = [("torch.optim:Adam", None, None, options) for options in ({}, {"amsgrad": True})]
    assert len({_memory(*subject) for subject in subjects * 2}) == 2


@pytest.mark.parametrize("word", ["conforms", "deviates", "not tested"])
def test_the_badge_is_svg_that_says_it(word: str) -> None:
    svg = ET.fromstring(badge("refopt", word))
    assert svg.attrib["aria-label"] == f"refopt: {word}"
