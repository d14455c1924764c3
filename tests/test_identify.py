"""`identify` gives back the variant that made a trace, and never pins a wrong choice."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from verifying_cases import choices, record_all

import refopt
from refopt.rules import RULES
from refopt.spec.errors import RefoptError
from refopt.spec.hyper import variants
from refopt.verifying import Trace, identify
from refopt.verifying.distance import Comparison
from refopt.verifying.shared import Shared

# A first step that divides by zero makes every parameter NaN, which a broken program does as well.
NO_NUMBER = {"first_t": "0"}
WITH_NORMS = ("lars", "lamb", "adafactor")  # whose thousand variants must each see every tensor for itself: a few rows
ROWS = [(rule, axes) for rule in RULES if rule not in WITH_NORMS for axes in choices(rule) if axes != NO_NUMBER]
ROWS += [("lars", axes) for axes in ({}, {"zero_norm": "max"}, {"trust_of": "velocity"}, {"denominator": "joint"})]
ROWS += [("adafactor", axes) for axes in ({}, {"eps_at": "estimate"}, {"decay": "decoupled_first"})]
ROWS += [("lamb", axes) for axes in ({}, {"bias": "rate"}, {"decay": "decoupled"})]
AMPLIFIED = [
    ("prodigy", {"decay": "l2"})
]  # its d, a quotient of sums, grows float32's roundings beyond what is allowed
CASES = [
    (*row, dtype)
    for i, row in enumerate(ROWS)
    for dtype in ("float64", "float32")
    if dtype == "float64" or (i % 4 == 0 and row not in AMPLIFIED)
]
NAMES = [f"{rule}-{'-'.join(f'{k}={v}' for k, v in axes.items())}-{dtype}" for rule, axes, dtype in CASES]

# Choices that are one function under the other (canonical) choices, whatever the data: why they stay open.
SAME_FUNCTION = {
    # Without scaling of the gradient, 0*mu + g is g.
    ("momentum", "first_step"): {"gradient_scale": ("one",)},
    # The first decay is 0, so the average forgets what it started from.
    ("ema", "init"): {"decay_schedule": ("mean", "power")},
    # Without corrections nothing counts the steps, and the raw moment is the corrected one.
    ("adam", "power"): {"bias": ("none",)},
    ("adam", "first_t"): {"bias": ("none",)},
    ("adam", "eps_at"): {"bias": ("none", "m_only")},
    # A constant momentum is beta1.
    ("nadam", "m_decay"): {"schedule": ("constant",)},
    # With an epsilon, a gradient of zero is no step whatever it is divided by.
    ("adagrad", "zero_sum"): {"eps_at": ("inside",)},
    ("adamax", "power"): {"bias": ("none",)},
    ("adabelief", "eps_out"): {"bias": ("none",)},
    # A zero norm of the decayed gradient means that there is nothing to scale.
    ("lars", "zero_norm"): {"denominator": ("joint",)},
    # The mean moves no parameter, and a trace of parameters has nothing else.
    ("asgd", "mean"): {},
    ("asgd", "mean_of"): {},
}


# What these traces do not show, and `verify` does: what a NaN among the gradients would tell, of which they have none;
# and for Prodigy what a longer run would, in which its d grows.
UNSHOWN = {
    ("rprop", "nan"),
    ("lion", "direction"),
    ("lamb", "zero_norm"),
    ("sm3", "zero"),
    ("adafactor", "nan"),
    ("adafactor", "factored"),  # large matrices, of which these have none
    ("prodigy", "nan"),
    ("prodigy", "no_gradient"),
    ("prodigy", "summed_by"),
    ("prodigy", "eps_d"),
}


@pytest.mark.parametrize(("rule", "axes", "dtype"), CASES, ids=NAMES)
def test_gives_back_the_variant(rule: str, axes: dict[str, str], dtype: str) -> None:
    hyper = RULES[rule].hyper(**axes)
    verdict = identify(record_all(hyper, dtype), rule=rule)
    assert verdict.conforms, str(verdict)
    for axis, choice in hyper.axes.items():
        assert choice in verdict.axes[axis].choices, (
            f"{axis} is {choice}, the verdict says {verdict.axes[axis].choices}"
        )
    for axis in (name for name in verdict.open if not RULES[rule].axis(name).storage):
        if (rule, axis) in UNSHOWN:
            continue
        because = SAME_FUNCTION[rule, axis]
        assert all(hyper.axes[other] in choice for other, choice in because.items()), f"{axis} is open: {verdict}"
        assert verdict.axes[axis].why.startswith("one function"), verdict


def test_results_of_no_number_are_not_identified() -> None:
    traces = record_all(RULES["adam"].hyper(**NO_NUMBER), "float64")
    nothing = [
        dataclasses.replace(one, results=[[np.full_like(w, np.nan) for w in now] for now in one.results])
        for one in traces
    ]
    for given in (traces, nothing):
        verdict = identify(given, rule="adam")
        assert verdict.status == "deviates"
        assert verdict.first is not None
        assert np.isfinite(verdict.first.expected)
        assert not np.isfinite(verdict.first.actual)
        assert "none of its results is finite; that would fit first_t=0" in " ".join(verdict.notes)
    with pytest.raises(RefoptError, match="so it shows nothing"):
        identify([dataclasses.replace(one, grads=one.results) for one in nothing], rule="adam")


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
        (
            lambda: identify(small_trace(hyper=[{}, {}]), rule="sgd"),
            "4 results are too few to fit lr",
        ),
        (lambda: identify(small_trace(hyper=[{"lr": -1.0}] * 2), rule="sgd"), "lr must be in [0, inf); got -1.0"),
        (lambda: identify(small_trace(hyper=[{"rate": 1.0}] * 2), rule="sgd"), "unknown hyper-parameter 'rate'"),
        (
            lambda: identify(small_trace(grads=[{"w": np.ones(3)}] * 2), rule="sgd"),
            "step 1: grads['w'] must have the shape of params, (2,); got (3,)",
        ),
        (
            lambda: identify(small_trace(results=[{"w": np.ones(2)}, {"v": np.ones(2)}]), rule="sgd"),
            "step 2: results must have the tree of params",
        ),
        (
            lambda: identify(small_trace(results=[{"w": np.ones(2)}, {"w": np.ones(2, np.float32)}])),
            "step 2: results['w'] must have the dtype of step 1, float64; got float32",
        ),
        (
            lambda: identify(small_trace(results=[{"w": np.ones(2, int)}] * 2)),
            "step 1: results['w']: parameters must be one of float64",
        ),
        (lambda: identify(small_trace(params={}, grads=[{}] * 2, results=[{}] * 2)), "at least one array"),
        (lambda: identify([]), "there is no trace to identify"),
        (
            lambda: identify(small_trace(hyper=[{"lr": 1.0, "learning_rate": 2.0}] * 2), rule="sgd"),
            "lr was given twice",
        ),
        (lambda: identify(small_trace(), rule="adamx"), "unknown rule 'adamx'"),
        (
            lambda: identify(small_trace(params={"w": np.ones(2, complex)}), rule="sgd"),
            "params['w'] must be an array of real",
        ),
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


def test_traces_of_different_lengths_are_measured_alike() -> None:
    """The allowance of the longest holds for all: what fits one trace is not excluded by that of another."""
    long = small_trace(
        grads=[{"w": np.zeros(2)}] * 1000,
        hyper=[{"lr": 0.5}] * 1000,
        results=[{"w": np.array([1.0, 2.0]) * (1 + 2000 * 2**-52 * step / 250)} for step in range(1000)],
    )
    verdict = identify([small_trace(), long], rule="sgd")
    assert verdict.conforms
    assert verdict.allowed == 10240


def test_a_trace_in_bfloat16_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose traces these are")
    trace = small_trace(results=[{"w": torch.tensor([0.75, 2.5], dtype=torch.bfloat16, requires_grad=True)},
                                 {"w": torch.tensor([0.6875, 2.0], dtype=torch.bfloat16)}])  # fmt: skip
    verdict = identify(trace, rule="sgd")
    assert (verdict.status, verdict.dtype) == ("conforms", "bfloat16")


@pytest.mark.parametrize("rule", RULES)
def test_lines_shared_between_variants_are_the_engines(rule: str) -> None:
    """What the identifier computes once for many variants is what the NumPy engine computes for each, bit for bit."""
    every = list(variants(RULES[rule]))
    probe = record_all(RULES[rule].hyper(), "float64")[0]
    comparison = Comparison(probe.arrays(), probe.hyper)
    for axes in random.Random(0).sample(every, min(40, len(every))):
        hyper = RULES[rule].hyper(**axes)
        trace = record_all(hyper, "float64")[0]
        with np.errstate(all="ignore"):
            expected = list(comparison.expected(hyper.program, comparison.each))
        for ours, engines in zip(expected, trace.results, strict=True):
            assert [a.tobytes() for a in ours] == [a.tobytes() for a in engines]


def test_shared_answers_outlive_what_they_were_given() -> None:
    """Objects that are gone leave their ids to others: an answer must not be taken for theirs."""
    shared = Shared()
    assert [shared(np.negative, np.array(float(i))) for i in range(1000)] == [-float(i) for i in range(1000)]
