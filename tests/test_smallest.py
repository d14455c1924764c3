"""The smallest case that shows a deviation: code that runs as it stands, prints two answers, and is small."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import smallest_cases
import torch

import refopt
from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.verifying import Interpreter, Trace
from refopt.verifying import smallest as module
from refopt.verifying.distance import Comparison, Deviation
from refopt.verifying.smallest import smallest, smallest_recorded
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.resolve import resolve

ROOT = Path(__file__).parents[1]
HERE = "tests/smallest_cases.py"
ADAM = {"lr": 0.1, "beta1": 0.875, "beta2": 0.75, "eps": 0.01}
SLOW = {**ADAM, "beta2": 1 - 2.0**-11}
LARS = {"lr": 0.1, "mu": 0.5, "tc": 0.25, "wd": 0.125}
MOMENTUM = {"lr": 0.1, "mu": 0.875}

Grads = list[list[np.ndarray]]


class Twice(torch.optim.Adam):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        super().step(closure)


class TwiceSGD(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step(closure)
        super().step(closure)


def one_zero(grads: Grads) -> None:
    grads[3][1][:] = 0


def one_nan(grads: Grads) -> None:
    grads[3][1][1] = np.nan


def recorded(
    subject: Subject,
    numbers: Mapping[str, float],
    *,
    steps: int = 12,
    change: Callable[[Grads], None] | None = None,
    dtype: str = "float64",
) -> Trace:
    """A run on three tensors, in which the rate changes."""
    random = np.random.default_rng(3)
    params = [np.asarray(random.standard_normal(shape)).astype(dtype) for shape in ((), (3,), (2, 3))]
    grads = [[np.asarray(random.standard_normal(w.shape)).astype(dtype) for w in params] for _ in range(steps)]
    if change:
        change(grads)
    rates = [{"lr": 0.0625 * (1 + t % 3)} if "lr" in numbers else {} for t in range(steps)]
    hyper = [{**numbers, **rate} for rate in rates]
    driven = [{**now, **subject.names.fixed} for now in hyper]
    return Trace(params, grads, hyper, subject.drive(params, grads, driven))


class Found(NamedTuple):
    """A subject, a run of it, and where that leaves a variant: what the two functions are given."""

    subject: Subject
    rule: Rule
    axes: Mapping[str, str]
    trace: Trace
    first: Deviation

    def smallest(self) -> str | None:
        return smallest(self.subject, self.rule, self.axes, {}, self.trace, self.first)

    def smallest_recorded(self) -> str | None:
        return smallest_recorded(self.rule, self.axes, {}, self.trace, self.first)


def deviation(
    target: Any,
    name: str = "sgd",
    axes: Mapping[str, str] | None = None,
    numbers: Mapping[str, float] | None = None,
    options: Mapping[str, Any] | None = None,
    **run: Any,
) -> Found:
    rule = RULES[name]
    subject = resolve(target, options or {}, average=rule.average)
    trace = recorded(subject, numbers or {"lr": 0.1}, **run)
    hyper = [{**now, **subject.names.fixed} for now in trace.hyper]
    fit = Comparison(trace.arrays(), hyper).fit(rule.hyper(**(axes or {})).program)
    assert fit.first is not None
    return Found(subject, rule, axes or {}, trace, fit.first)


def ran(code: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The names that the code leaves. What it prints is what it says that it prints."""
    capsys.readouterr()
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    said = [line.removeprefix("# ") for line in code.splitlines() if line.startswith(("# got", "# expected"))]
    assert capsys.readouterr().out.splitlines() == said
    assert len(said) == 2
    assert said[0].removeprefix("got ") != said[1].removeprefix("expected ")
    return namespace


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


# target, rule, axes, numbers, how the run is special; steps and elements
RECORDED: list[tuple[str, str, dict[str, str], dict[str, float], dict[str, Any], int, int]] = [
    ("docs/examples/my_adam.py:my_late_adam", "adam", {"eps_at": "outside_raw"}, ADAM, {}, 6, 1),
    (f"{HERE}:adam_counting_to_ten", "adam", {}, ADAM, {"dtype": "float32"}, 11, 1),
    (f"{HERE}:adam_that_hides_nan", "adam", {}, ADAM, {"change": one_nan}, 4, 1),
    (f"{HERE}:lars_of_another_norm", "lars", {}, LARS, {}, 1, 3),
    (f"{HERE}:average_of_half", "ema", {"debias": "none"}, {"mu": 0.5}, {}, 2, 1),
]


@pytest.mark.parametrize(("target", "rule", "axes", "numbers", "run", "steps", "elements"), RECORDED)
def test_recorded_traces(
    target: str,
    rule: str,
    axes: dict[str, str],
    numbers: dict[str, float],
    run: dict[str, Any],
    steps: int,
    elements: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    found = deviation(target, rule, axes, numbers, **run)
    code = found.smallest_recorded()
    assert code is not None
    assert "drive" not in code
    assert len(code.splitlines()) <= 25
    left = ran(code, capsys)
    assert len(left["grads"]) == steps
    assert left["params"][0].size == elements
    for value, array in ((found.first.actual, left["got"]), (found.first.expected, left["expected"][0])):
        assert any(value == x or (np.isnan(value) and np.isnan(x)) for x in array)


def test_of_a_tree_and_with_numbers_that_are_not_in_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    params, grads = {"w": np.array([1.0, 2.0])}, [{"w": np.array([1.0, g])} for g in (1.0, -1.0)]
    results = [{"w": np.array([0.5, 1.5])}, {"w": np.array([-0.25, 1.5])}]
    trace = Trace(params, grads, [{}, {}], results)
    verdict = refopt.identify(trace, rule="momentum", hyper={"learning_rate": 0.5, "momentum": 0.5})
    assert verdict.first is not None
    code = smallest_recorded(RULES["momentum"], verdict.nearest, {"lr": 0.5, "mu": 0.5}, trace, verdict.first)
    assert code is not None
    assert ran(code, capsys)["got"].tolist() == [1.5]


def test_a_long_recording_has_no_short_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = deviation(f"{HERE}:adam_counting_to_300", "adam", {}, SLOW, steps=320)
    assert found.first.step == 301
    assert found.smallest_recorded() is None
