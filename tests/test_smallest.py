"""The smallest case that shows a deviation: code that runs as it stands, prints two answers, and is small."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smallest_cases
import torch
from smallest_runs import ADAM, HERE, LARS, MOMENTUM, SLOW, all_zero_at_six, deviation, one_nan, one_zero, ran

from refopt.verifying import Interpreter
from refopt.verifying import smallest as module

ROOT = Path(__file__).parents[1]


class Twice(torch.optim.Adam):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        super().step(closure)


class TwiceSGD(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        super().step(closure)


# target, rule, axes, numbers, options, how the run is special; the most steps and elements that the case may have
ROWS: list[tuple[Any, str, dict[str, str], dict[str, float], dict[str, Any], dict[str, Any], int, int]] = [
    (f"{HERE}:sgd_uphill_when_large", "sgd", {}, {"lr": 0.1}, {}, {}, 1, 1),
    (f"{HERE}:sgd_uphill_when_large", "sgd", {}, {"lr": 0.1}, {}, {"dtype": "float32"}, 1, 1),
    (f"{HERE}:sgd_of_two_tensors", "sgd", {}, {"lr": 0.1}, {}, {}, 1, 2),
    (f"{HERE}:sgd_of_matrices", "sgd", {}, {"lr": 0.1}, {}, {}, 1, 1),
    (f"{HERE}:momentum_that_skips_zeros", "momentum", {}, MOMENTUM, {}, {"change": one_zero}, 2, 1),
    (f"{HERE}:momentum_that_skips_zeros", "momentum", {}, {"lr": 0.1}, {"mu": 0.75}, {"change": one_zero}, 2, 1),
    (f"{HERE}:adam_counting_to_ten", "adam", {}, ADAM, {}, {}, 11, 1),
    (f"{HERE}:adam_counting_to_300", "adam", {}, SLOW, {}, {"steps": 320}, 301, 1),
    (f"{HERE}:adam_that_hides_nan", "adam", {}, ADAM, {}, {"change": one_nan}, 1, 1),
    (f"{HERE}:lars_of_another_norm", "lars", {}, LARS, {}, {}, 1, 2),
    (f"{HERE}:average_of_half", "ema", {"debias": "none"}, {"mu": 0.5}, {}, {}, 2, 1),
    ("docs/examples/my_adam.py:my_late_adam", "adam", {"eps_at": "outside_raw"}, ADAM, {}, {}, 6, 1),
    (
        "docs/examples/my_adam.py:my_late_adam",
        "adam",
        {"eps_at": "outside_raw"},
        ADAM,
        {},
        {"change": all_zero_at_six},
        6,
        1,
    ),
    (Twice, "adam", {}, ADAM, {}, {}, 1, 1),
    (TwiceSGD, "momentum", {"nesterov": "yes"}, {"lr": 0.1}, {"momentum": 0.9, "nesterov": True}, {}, 1, 1),
    (smallest_cases.adam_counting_to_ten, "adam", {}, ADAM, {}, {}, 11, 1),
    (Interpreter(sys.executable, f"{HERE}:adam_counting_to_ten"), "adam", {}, ADAM, {}, {}, 11, 1),
]


@pytest.mark.parametrize(("target", "rule", "axes", "numbers", "options", "run", "steps", "elements"), ROWS)
def test_wrong_optimizers(
    target: Any,
    rule: str,
    axes: dict[str, str],
    numbers: dict[str, float],
    options: dict[str, Any],
    run: dict[str, Any],
    steps: int,
    elements: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(module, "SECONDS", 60.0)  # however slow the machine
    found = deviation(target, rule, axes, numbers, options, **run)
    code = found.smallest()
    found.subject.close()
    assert code is not None
    assert 12 <= len(code.splitlines()) <= 25
    left = ran(code, capsys)
    assert len(left["grads"]) <= steps
    assert sum(w.size for w in left["params"]) <= elements
    assert {w.dtype.name for w in left["params"]} == {run.get("dtype", "float64")}
    assert len(code) < 900, "its numbers are short"


def test_the_code_is_a_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    found = deviation(f"{HERE}:sgd_uphill_when_large")
    code = found.smallest()
    assert code is not None
    (tmp_path / "case.py").write_text(code)
    command = [sys.executable, "-W", "error", str(tmp_path / "case.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "got [2.0]\nexpected [-2.0]\n"


class Instance:
    def __init__(self, sign: float) -> None:
        self.sign = sign

    def __call__(self, params: Any, grads: Any, state: Any, lr: float) -> Any:
        return [w - lr * np.where(g > 0, g, self.sign * g) for w, g in zip(params, grads, strict=True)], state


@pytest.mark.parametrize(
    "target", [Instance(-1.0), lambda params, grads, state, lr: Instance(-1.0)(params, grads, 0, lr)]
)
def test_what_has_no_name_is_left_to_the_reader(target: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = deviation(target)
    code = found.smallest()
    assert code is not None
    note, line = "# target: the optimizer that was given to refopt.verify\n", "target = ...  # put yours here\n"
    assert note + line in code
    ran(code.replace(line, "import test_smallest; target = test_smallest.Instance(-1.0)\n"), capsys)


def test_an_argument_that_is_no_number_is_in_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    found = deviation(smallest_cases.sgd_with_a_mode, options={"mode": [1, 2], "shape": np.abs})
    code = found.smallest()
    assert code is not None
    line = "shape = ...  # put yours here\n"
    assert "# shape: the argument that was given to refopt.verify\n" + line in code
    assert "mode=[1, 2], shape=shape" in code
    ran(code.replace(line, "shape = np.abs\n"), capsys)


def test_what_does_not_come_again_has_no_case() -> None:
    calls: list[int] = []

    def once(params: Any, grads: Any, state: Any, lr: float) -> Any:
        calls.append(1)
        return [w - lr * g * (2 if len(calls) == 3 else 1) for w, g in zip(params, grads, strict=True)], state

    found = deviation(once)
    assert found.first.step == 3
    assert found.smallest() is None


@pytest.mark.parametrize(("drives", "seconds", "most"), [(60, 0.0, 0), (60, 0.3, 8), (3, 60.0, 3)])
def test_there_is_an_end_to_it(
    drives: int, seconds: float, most: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    found = deviation(f"{HERE}:sgd_uphill_when_large")
    driven: list[int] = []
    drive = found.subject.drive

    def slowly(*given: Any) -> Any:
        driven.append(1)
        time.sleep(0.05)
        return drive(*given)

    monkeypatch.setattr(found.subject, "drive", slowly)
    monkeypatch.setattr(module, "DRIVES", drives)
    monkeypatch.setattr(module, "SECONDS", seconds)
    code = found.smallest()
    assert len(driven) <= most
    assert code is not None
    ran(code, capsys)
