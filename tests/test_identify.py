"""`identify` gives back the variant that made a trace, and never pins a wrong choice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from verifying_cases import choices, record_all

import refopt
from refopt.rules import RULES
from refopt.spec.errors import RefoptError
from refopt.verifying import Trace, identify

ROWS = [(rule, axes) for rule in RULES if rule != "lars" for axes in choices(rule)]
LARS = [("lars", axes) for axes in ({}, {"zero_norm": "max"}, {"trust_of": "velocity"}, {"denominator": "joint"})]
NAMES = [f"{rule}-{'-'.join(f'{k}={v}' for k, v in axes.items())}" for rule, axes in ROWS + LARS]

# Choices that are one function under the other (canonical) choices, whatever the data: why they stay open.
SAME_FUNCTION = {
    # Without scaling of the gradient, 0*mu + g is g.
    ("momentum", "first_step"): {"gradient_scale": ("one",)},
    ("lars", "first_step"): {},
    # The first decay is 0, so the average forgets what it started from.
    ("ema", "init"): {"decay_schedule": ("mean", "power")},
    # Without corrections nothing counts the steps, and the raw moment is the corrected one.
    ("adam", "power"): {"bias": ("none",)},
    ("adam", "first_t"): {"bias": ("none",)},
    ("adam", "eps_at"): {"bias": ("none", "m_only")},
    # A zero norm of the decayed gradient means that there is nothing to scale.
    ("lars", "zero_norm"): {"denominator": ("joint",)},
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("rule", "axes"), ROWS + LARS, ids=NAMES)
def test_gives_back_the_variant(rule: str, axes: dict[str, str], dtype: str) -> None:
    hyper = RULES[rule].hyper(**axes)
    verdict = identify(record_all(hyper, dtype), rule=rule)
    assert verdict.conforms, str(verdict)
    for axis, choice in hyper.axes.items():
        assert choice in verdict.axes[axis].choices, (
            f"{axis} is {choice}, the verdict says {verdict.axes[axis].choices}"
        )
    for axis in verdict.open:
        if axes.get("first_t") == "0":
            continue  # dividing by zero at the first step makes every parameter NaN: nothing can be seen
        because = SAME_FUNCTION[rule, axis]
        assert all(hyper.axes[other] in choice for other, choice in because.items()), f"{axis} is open: {verdict}"


def test_rule_is_found_without_being_named() -> None:
    for rule in ("sgd", "momentum", "adam"):
        verdict = identify(record_all(RULES[rule].hyper(), "float64"))
        assert (verdict.rule, verdict.status) == (rule, "conforms")


def small_trace(**changes: object) -> Trace:
    grads = [{"w": np.array([0.5, -1.0])}, {"w": np.array([0.25, 2.0])}]
    trace = Trace({"w": np.array([1.0, 2.0])}, grads, [{"lr": 0.5}, {"lr": 0.25}],
                  [{"w": np.array([0.75, 2.5])}, {"w": np.array([0.6875, 2.0])}])  # fmt: skip
    return dataclasses.replace(trace, **changes)


def test_a_trace_of_two_steps_by_hand() -> None:
    verdict = identify(small_trace(), rule="sgd")
    assert verdict.conforms
    assert verdict.distance == 0
    assert verdict.axes["decay"].status == "assumed"


def test_deviation_names_step_and_element() -> None:
    wrong = [{"w": np.array([0.75, 2.5])}, {"w": np.array([0.6875, 2.125])}]
    verdict = identify(small_trace(results=wrong), rule="sgd")
    assert verdict.status == "deviates"
    assert verdict.first is not None
    assert (verdict.first.step, verdict.first.quantity) == (2, "params['w'].flat[1]")
    assert (verdict.first.expected, verdict.first.actual) == (2.0, 2.125)


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: small_trace(hyper=[{"lr": 0.5}]), "one entry of grads, hyper and results per step"),
        (lambda: identify(small_trace(hyper=[{}, {}]), rule="sgd"), "the trace needs lr at every step"),
        (lambda: identify(small_trace(hyper=[{"lr": -1.0}] * 2), rule="sgd"), "lr must be in [0, inf); got -1.0"),
        (lambda: identify(small_trace(hyper=[{"rate": 1.0}] * 2), rule="sgd"), "unknown hyper-parameter 'rate'"),
        (
            lambda: identify(small_trace(grads=[{"w": np.ones(3)}] * 2), rule="sgd"),
            "grads of step 1 must have the tree",
        ),
        (lambda: identify(small_trace(), rule="adamx"), "unknown rule 'adamx'"),
        (lambda: identify(small_trace(params={"w": np.ones(2, complex)}), rule="sgd"), "a trace holds real arrays"),
    ],
)
def test_refusals(call: object, fragment: str) -> None:
    with pytest.raises(RefoptError) as refusal:
        call()  # type: ignore[operator]
    assert fragment in str(refusal.value)


def test_hyper_may_be_given_once_and_by_any_name() -> None:
    trace = record_all(RULES["momentum"].hyper(), "float64")[0]
    plain = [{"lr": now["lr"]} for now in trace.hyper[:7]]
    short = Trace(trace.params, trace.grads[:7], plain, trace.results[:7])
    verdict = refopt.identify(short, rule="momentum", hyper={"momentum": 0.875})
    assert verdict.conforms
    assert verdict.pinned["lr_at"] == "outside"
