"""The vectors are those of today's rules; independent readers come to the same; together they catch every fault."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from languages import command

from refopt.rules import RULES
from refopt_conformance.vectors.archive import archive
from refopt_conformance.vectors.document import WITH_VECTORS, as_dict, files, names, number

VECTORS = Path(__file__).parents[1] / "conformance" / "vectors"
SCHEMA = json.loads((VECTORS / "schema" / "vectors.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session", params=["read.py", "read.c", "read.mjs"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a reader."""
    return command(VECTORS / "readers" / request.param, tmp_path_factory.mktemp("built"))


def read(reader: list[str], file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*reader, str(file)], capture_output=True, text=True, check=False, timeout=300)


def load(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def numbers_of(document: dict[str, Any]) -> int:
    """How many numbers the checkpoints of a file have. One that is kept for all tensors is checked with each."""
    count = 0
    for case in document["cases"]:
        for point in case["checkpoints"]:
            for quantity in (point.get("params", []), point.get("average", []), *point["slots"].values()):
                count += len(case["tensors"]) if isinstance(quantity, str) else sum(map(len, quantity))
    return count


@pytest.mark.parametrize("rule", WITH_VECTORS)
def test_the_files_are_those_that_are_written_now(rule: str) -> None:
    """All cases are there, and every tenth is what is written now, to the last digit: all would take minutes."""
    write = "run python -m refopt_conformance.vectors --write conformance/vectors"
    for name, courses in files(rule).items():
        text = (VECTORS / name).read_text(encoding="utf-8")
        assert len(load(name)["cases"]) == len(courses), f"{name}: {write}"
        for course in courses[::10]:
            assert json.dumps(as_dict(course), ensure_ascii=False, separators=(",", ":")) in text, f"{name}: {write}"


def test_there_are_no_other_files_and_they_are_small() -> None:
    found = sorted(VECTORS.glob("*.json"))
    assert [path.name for path in found] == sorted(names())
    assert sum(path.stat().st_size for path in found) < 20e6


@pytest.mark.parametrize("name", names())
def test_independent_readers_come_to_the_same(name: str, reader: list[str]) -> None:
    done = read(reader, VECTORS / name)
    assert done.returncode == 0, done.stdout + done.stderr
    document = load(name)
    said = f": {len(document['cases'])} cases, {numbers_of(document)} numbers in float64"
    assert said in done.stdout
    assert " 0 in fractions" not in done.stdout


@pytest.mark.parametrize("name", names())
def test_the_files_follow_the_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = load(name)
    jsonschema.validate({**document, "cases": document["cases"][::10]}, SCHEMA)  # all of them take long
    for case in document["cases"]:
        assert set(case) == set(SCHEMA["$defs"]["case"]["required"])


MISTAKES = {
    "a decimal": lambda case: case["hyper"]["lr"].append("0.1"),
    "a number": lambda case: case["params"][0].append(1.0),
    "no tolerance": lambda case: case.pop("tolerance"),
    "another member": lambda case: case.update(comment="none"),
    "another dtype": lambda case: case.update(dtype="float8"),
    "no checkpoint": lambda case: case["checkpoints"].clear(),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_schema_sees_mistakes(mistake: str) -> None:
    document = load("sgd.json")
    document["cases"] = document["cases"][:1]
    MISTAKES[mistake](document["cases"][0])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize("rule", WITH_VECTORS)
def test_every_fault_is_caught_by_a_vector(rule: str) -> None:
    caught = set()
    for kind in ("", "_choices"):
        document = load(f"{rule}{kind}.json")
        used = {flag for case in document["cases"] for flag in case["flags"]}
        assert used == set(document["notes"]), "each flag is explained, and no other"
        caught |= used
    # What state is kept in is not in them: the numbers of state that is rounded at every step hang on each rounding.
    faults = [f for f in RULES[rule].faults if not any(RULES[rule].axis(axis).storage for axis in f.only_with)]
    assert [fault.name for fault in faults if f"catches {fault.name}" not in caught] == []


@pytest.mark.parametrize("member", ["params", "slots"])
def test_readers_see_a_wrong_number(member: str, reader: list[str], tmp_path: Path) -> None:
    document = load("momentum.json")
    checkpoint = document["cases"][0]["checkpoints"][-1]
    tensors = checkpoint["params"] if member == "params" else checkpoint["slots"]["u"]
    i = next(i for i, tensor in enumerate(tensors) if len(tensor) == 7)
    tensors[i][3] = number(float.fromhex(tensors[i][3]) * 1.001)
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    done = read(reader, path)
    assert done.returncode == 1
    assert "ULPs" in done.stdout


def test_the_archive_is_the_same_twice(tmp_path: Path) -> None:
    first, second = archive(VECTORS, tmp_path / "a"), archive(VECTORS, tmp_path / "b")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
