"""Where a recorded trace leaves a variant, as code that holds the part of it up to there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smallest_runs import ADAM, HERE, LARS, SLOW, deviation, one_nan, ran

import refopt
from refopt.rules import RULES
from refopt.verifying import Trace
from refopt.verifying.smallest import smallest_recorded

ROOT = Path(__file__).parents[1]

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
