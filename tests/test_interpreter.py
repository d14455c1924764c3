"""Targets in another interpreter, which has no refopt: what is found, and what is said when it goes wrong."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from driving import quick
from typer.testing import CliRunner

import refopt
from refopt.cli import app
from refopt.spec.errors import RefoptError
from refopt.verifying import Interpreter
from refopt.verifying.subjects.process import START
from refopt.verifying.subjects.resolve import resolve

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "protocol.schema.json").read_text(encoding="utf-8"))

STEP = """
def step(params, grads, state, lr, momentum=0.9):
    print("a word on stdout, which is nobody's answer")
    state = [momentum * u + g for u, g in zip(state or [0.0] * len(params), grads)]
    return [w - lr * u for w, u in zip(params, state)], state

def average(params, state, decay=0.99):
    state = params if state is None else [decay * m + (1 - decay) * w for m, w in zip(state, params)]
    return state, state
"""


@pytest.fixture(autouse=True)
def no_path_to_refopt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with NumPy, and nothing else."""
    return environment(tmp_path_factory.mktemp("other"), "numpy")


def environment(folder: Path, *libraries: str) -> Path:
    """The interpreter of a new environment, which shares these libraries with ours."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = Path(np.__file__).parents[1]
    for name in libraries:
        for part in (name, f"{name}.libs"):
            if (ours / part).exists():
                (site / part).symlink_to(ours / part)
    return folder / "bin" / "python"


def target(folder: Path, source: str = STEP, name: str = "step") -> str:
    (folder / "theirs.py").write_text(textwrap.dedent(source), encoding="utf-8")
    return f"{folder}/theirs.py:{name}"


def test_it_has_no_refopt(python: Path, tmp_path: Path) -> None:
    done = subprocess.run([python, "-c", "import refopt"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No module named 'refopt'" in done.stderr


@pytest.mark.parametrize(("name", "rule"), [("step", "momentum"), ("average", "ema")])
def test_what_is_there_is_identified(name: str, rule: str, python: Path, tmp_path: Path) -> None:
    for dtype in ("float64", "float32"):
        there = quick(Interpreter(python, target(tmp_path, name=name)), rule, dtype=dtype)
        here = quick(target(tmp_path, name=name), rule, dtype=dtype)
        assert there.conforms
        assert (there.dtype, there.axes, there.distance) == (dtype, here.axes, here.distance)


def test_on_the_command_line(python: Path, tmp_path: Path) -> None:
    words = ["verify", "--python", str(python), target(tmp_path), "--rule", "momentum", "-H", "momentum=0.5"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    text = "".join(result.output.split())  # lines are folded anywhere
    assert "theirs.py:stepconformstomomentum" in text
    assert f"versionsnumpy{np.__version__}" in text


def test_one_process_makes_all_that_is_asked_for_and_ends(python: Path, tmp_path: Path) -> None:
    note = f"import os\nopen({str(tmp_path / 'pids')!r}, 'a').write(f'{{os.getpid()}} ')\n"
    verdict = refopt.verify(Interpreter(python, target(tmp_path, note + STEP)), rule="momentum", momentum=0.5)
    assert verdict.conforms
    (pid,) = (tmp_path / "pids").read_text().split()
    assert ended(int(pid))


def ended(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


NOTE = "import os, sys, time\nopen('pid', 'w').write(str(os.getpid()))\n"
# what is in the file, the deadline, what is said
WRONG = {
    "hangs while it is imported": (
        "time.sleep(600)", 2.0, "gave no answer to start within 2 s; if it only needs longer, give"),
    "dies while it is imported": ("os._exit(3)", 60.0, "ended with status 3 before it answered start"),
    "exits while it is imported": ("sys.exit('not today')", 60.0, "theirs.py cannot be imported: SystemExit: not t"),
    "raises while it is imported": (
        "import no_such_thing", 60.0, "cannot be imported: ModuleNotFoundError: No module named 'no_such_thing'"),
    "has no such name": ("other = 1", 60.0, "theirs.py has no 'step'; it has nothing public"),
    "is no optimizer": ("step = 1", 60.0, "is a int; give an optimizer class, an optimizer, an optax factory, or a fu"),
    "reads stdin": ("step = input()", 60.0, "cannot be imported: EOFError: EOF when reading a line"),
    "hangs in a step": (
        "def step(params, grads, state, lr): time.sleep(600)", 2.0, "gave no answer to step 1 within 2 s"),
    "dies in a step": (
        "def step(params, grads, state, lr): os._exit(4)", 60.0, "ended with status 4 before it answered step 1"),
    "raises in a step": (
        "def step(params, grads, state, lr): 1 / 0", 60.0, "refuses step 1: ZeroDivisionError: division by zero"),
    "exits in a step": ("def step(params, grads, state, lr): sys.exit(5)", 60.0, "refuses step 1: SystemExit: 5"),
    "answers nonsense": (
        "def step(params, grads, state, lr): return 1", 60.0, "must return the new parameters and the new state"),
}  # fmt: skip


@pytest.mark.parametrize("how", WRONG)
def test_what_goes_wrong_there_is_one_sentence(
    how: str, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, deadline, said = WRONG[how]
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    verdict = refopt.verify(Interpreter(python, target(tmp_path, NOTE + source), deadline=deadline), rule="sgd")
    assert time.monotonic() - started < 15
    assert (verdict.status, verdict.exit_status) == ("unsupported", 2)
    assert said in verdict.reason
    assert "Traceback" not in verdict.reason
    assert "\n" not in verdict.reason
    assert ended(int((tmp_path / "pid").read_text()))


def test_a_framework_that_is_missing_there_is_named(python: Path) -> None:
    reason = refopt.verify(Interpreter(python, "torch.optim:Adam")).reason
    assert "torch.optim cannot be imported: ModuleNotFoundError: No module named 'torch'" in reason


# the interpreter, which may be a script, and what is said of it
PYTHONS = {
    "there is none": (None, "there is no program no/such/python to run it in; give the path of a Python interpreter"),
    "says nothing": ("#!/bin/sh\nexit 0\n", "ended with status 0 before it answered start; its stderr is empty"),
    "says something else": ("#!/bin/sh\necho hello\n", "an answer is a JSON object on one line"),
    "has no NumPy": (f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -S \"$@\"\n", "NumPy cannot be imported there"),
    "is old": (
        f"#!/bin/sh\nshift 2\nexec {shlex.quote(sys.executable)} -c 'import sys; sys.exit(\"it is Python 3.8\")'\n",
        "it is Python 3.8"),
}  # fmt: skip


@pytest.mark.parametrize("which", PYTHONS)
def test_an_interpreter_that_is_none(which: str, tmp_path: Path) -> None:
    script, said = PYTHONS[which]
    path = "no/such/python"
    if script is not None:
        path = str(tmp_path / "python")
        Path(path).write_text(script, encoding="utf-8")
        Path(path).chmod(0o755)
    result = CliRunner().invoke(app, ["verify", "--python", path, "torch.optim:Adam"])
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


REQUESTS = [
    (["--python", "python", "--exec", "./adam"], "--python goes with a target"),
    (["--python", "python", "nothing"], "module:name or file.py:name; got 'nothing'"),
    (["torch.optim:Adam", "--deadline", "3"], "--deadline with --python or --exec"),
    (["--python", "python", "a:b", "--deadline", "0"], "a deadline is a number of seconds above 0; got 0.0"),
]


@pytest.mark.parametrize(("words", "said"), REQUESTS, ids=str)
def test_requests_that_make_no_sense(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["verify", *words])
    assert result.exit_code != 0
    assert said in " ".join(f"{result.output} {result.exception}".split())


def test_an_argument_that_it_has_not_is_refused_and_the_process_ends(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefoptError, match="unknown argument 'nesterov'; choose from lr, momentum"):
        refopt.verify(Interpreter(python, target(tmp_path, NOTE + STEP)), nesterov=True)
    assert ended(int((tmp_path / "pid").read_text()))


def test_defaults_that_json_has_not_are_left_out(python: Path, tmp_path: Path) -> None:
    source = "def step(params, grads, state, lr, clip=float('inf'), momentum=0.9): return params, state"
    subject = resolve(Interpreter(python, target(tmp_path, source)), {})
    subject.close()
    assert subject.names.defaults == {"mu": 0.9}


def test_what_it_says_of_itself_follows_the_schema(python: Path, tmp_path: Path) -> None:
    for name, average in (("step", False), ("average", True)):
        with Interpreter(python, target(tmp_path, name=name))() as child:
            said = child.ask(START, lambda answer: answer)
            child.stop()
        jsonschema.validate(said, SCHEMA)
        assert (said["average"], said["stated"], said["dtypes"]) == (average, False, ["float64", "float32"])


FLAX = """
import flax.nnx as nnx, optax, jax.numpy as jnp

class Model(nnx.Module):
    def __init__(self):
        self.w = nnx.Param(jnp.ones(2))

made = nnx.Optimizer(Model(), optax.adam(0.0625, b1=0.875, b2=0.9375, eps=0.015625), wrt=nnx.Param)
injected = nnx.Optimizer(Model(), optax.inject_hyperparams(optax.adam)(learning_rate=0.1), wrt=nnx.Param)
"""
STATED = {"learning_rate": 0.0625, "b1": 0.875, "b2": 0.9375, "eps": 0.015625}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "numbers"), [("made", STATED), ("injected", {})])
def test_flax(name: str, numbers: dict[str, float], dtype: str, tmp_path: Path) -> None:
    python = os.environ.get("REFOPT_FLAX_PYTHON") or (sys.executable if find_spec("flax") else None)
    if python is None:
        pytest.skip("flax is not installed; pip install flax, or name an interpreter that has it in REFOPT_FLAX_PYTHON")
    verdict = quick(Interpreter(python, target(tmp_path, FLAX, name)), "adam", numbers, dtype)
    assert (verdict.status, verdict.dialect, verdict.dtype) == ("conforms", "optax", dtype), str(verdict)


OBJAX = [
    ("objax.optimizer:SGD", {}, "sgd", {}),
    ("objax.optimizer:Momentum", {}, "momentum", {}),
    ("objax.optimizer:Momentum", {"nesterov": True}, "momentum", {"nesterov": "yes"}),
    ("objax.optimizer:Adam", {}, "adam", {}),
    ("objax.optimizer:LARS", {}, "lars", {}),
    ("objax.optimizer:ExponentialMovingAverage", {}, "ema", {"debias": "none"}),
    ("objax.optimizer:ExponentialMovingAverage", {"debias": True}, "ema", {}),
    ("objax.optimizer:ExponentialMovingAverageModule", {"debias": True}, "ema", {}),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options", "rule", "departures"), OBJAX)
def test_objax(name: str, options: dict, rule: str, departures: dict, dtype: str) -> None:
    if not (python := os.environ.get("REFOPT_OBJAX_PYTHON")):
        pytest.skip("objax needs jax 0.4.25 in an environment of its own; REFOPT_OBJAX_PYTHON names its interpreter")
    verdict = quick(Interpreter(python, name), rule, options, dtype)
    assert (verdict.status, verdict.dialect, verdict.dtype) == ("conforms", "objax", dtype), str(verdict)
    assert dict(verdict.departures) == departures
