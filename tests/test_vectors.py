"""The vectors are those of today's rules; an independent reader comes to the same; together they catch every fault."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from refopt.rules import RULES
from refopt_conformance.vectors.archive import archive
from refopt_conformance.vectors.document import names, number, texts

VECTORS = Path(__file__).parents[1] / "conformance" / "vectors"
READER = VECTORS / "readers" / "read.py"


def read(*files: Path) -> subprocess.CompletedProcess[str]:
    """Without the environment's packages: the reader needs none."""
    command = [sys.executable, "-I", "-S", str(READER), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("rule", RULES)
def test_the_files_are_those_that_are_written_now(rule: str) -> None:
    for name, text in texts(rule):
        assert (VECTORS / name).read_text(encoding="utf-8") == text, (
            f"{name}: run python -m refopt_conformance.vectors --write conformance/vectors"
        )


def test_there_are_no_other_files_and_they_are_small() -> None:
    found = sorted(VECTORS.glob("*.json"))
    assert [path.name for path in found] == sorted(names())
    assert sum(path.stat().st_size for path in found) < 20e6


@pytest.mark.parametrize("name", names())
def test_an_independent_reader_comes_to_the_same(name: str) -> None:
    done = read(VECTORS / name)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = len(json.loads((VECTORS / name).read_text(encoding="utf-8"))["cases"])
    assert f": {cases} cases, " in done.stdout
    assert " 0 in fractions" not in done.stdout


@pytest.mark.parametrize("rule", RULES)
def test_every_fault_is_caught_by_a_vector(rule: str) -> None:
    caught = set()
    for kind in ("", "_choices"):
        document = json.loads((VECTORS / f"{rule}{kind}.json").read_text(encoding="utf-8"))
        used = {flag for case in document["cases"] for flag in case["flags"]}
        assert used == set(document["notes"]), "each flag is explained, and no other"
        caught |= used
    assert [fault.name for fault in RULES[rule].faults if f"catches {fault.name}" not in caught] == []


@pytest.mark.parametrize("member", ["params", "slots"])
def test_the_reader_sees_a_wrong_number(member: str, tmp_path: Path) -> None:
    document = json.loads((VECTORS / "momentum.json").read_text(encoding="utf-8"))
    checkpoint = document["cases"][0]["checkpoints"][-1]
    tensors = checkpoint["params"] if member == "params" else checkpoint["slots"]["u"]
    i = next(i for i, tensor in enumerate(tensors) if len(tensor) == 7)
    tensors[i][3] = number(float.fromhex(tensors[i][3]) * 1.001)
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    done = read(path)
    assert done.returncode == 1
    assert "ULPs" in done.stdout


def test_the_archive_is_the_same_twice(tmp_path: Path) -> None:
    first, second = archive(VECTORS, tmp_path / "a"), archive(VECTORS, tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
