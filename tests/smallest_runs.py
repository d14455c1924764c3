"""Runs of optimizers with a mistake, where they leave a rule, and what the code of a case prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.verifying import Trace
from refopt.verifying.distance import Comparison, Deviation
from refopt.verifying.smallest import smallest, smallest_recorded
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.resolve import resolve

HERE = "tests/smallest_cases.py"
ADAM = {"lr": 0.1, "beta1": 0.875, "beta2": 0.75, "eps": 0.01}
SLOW = {**ADAM, "beta2": 1 - 2.0**-11}
LARS = {"lr": 0.1, "mu": 0.5, "tc": 0.25, "wd": 0.125}
MOMENTUM = {"lr": 0.1, "mu": 0.875}

Grads = list[list[np.ndarray]]


def one_zero(grads: Grads) -> None:
    grads[3][1][:] = 0


def one_nan(grads: Grads) -> None:
    grads[3][1][1] = np.nan


def all_zero_at_six(grads: Grads) -> None:
    grads[5] = [np.zeros_like(g) for g in grads[5]]


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
