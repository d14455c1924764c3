"""Verdicts on what keeps its numbers to itself: traces without them, and implementations that let nobody set them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optax
import pytest
import torch
from verifying_cases import FITTED

import refopt
from refopt.rules import RULES
from refopt.spec.errors import RefoptError
from refopt.verifying import Trace, identify, verify

PARAMETER = torch.zeros(2, requires_grad=True)


def recorded(rule: str, axes: Mapping[str, str], numbers: Mapping[str, float], told: tuple[str, ...] = ()) -> Trace:
    """Thirty steps of the reference with these numbers, of which only some are told."""
    hyper = RULES[rule].hyper(**axes, **numbers)
    random = np.random.default_rng([20150508, len(numbers)])
    params: Any = [random.standard_normal(5), random.standard_normal((2, 3))]
    grads = [[random.standard_normal(w.shape) for w in params] for _ in range(30)]
    state, results, now = refopt.init(rule, params, hyper), [], params
    for step in grads:
        now, state = refopt.update(rule, now, step, state, hyper)
        results.append(now)
    return Trace(params, grads, [{name: numbers[name] for name in told}] * 30, results)


@pytest.mark.parametrize(
    ("rule", "axes", "numbers", "told", "as_well"),
    [
        ("sgd", {}, {"lr": 0.05}, (), {}),
        ("sgd", {"decay": "l2"}, {"lr": 0.05, "wd": 0.02}, (), {"decay": {"decoupled_no_lr"}}),
        ("momentum", {}, {"lr": 0.05, "mu": 0.8}, ("mu",), {"lr_at": {"inside"}, "gradient_scale": {"ema"}}),
        ("momentum", {"nesterov": "yes"}, {"lr": 0.05, "mu": 0.8}, ("lr",), {"lr_at": {"inside"}}),
        ("adam", {}, {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-3}, ("lr",), {"power": {"product"}}),
        ("adam", {"eps_at": "outside_raw"}, {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-3}, ("beta1",), {}),
    ],
)
def test_numbers_come_back_and_what_they_make_up_for_is_open(
    rule: str, axes: dict[str, str], numbers: dict[str, float], told: tuple[str, ...], as_well: dict[str, set[str]]
) -> None:
    verdict = identify(recorded(rule, axes, numbers, told), rule=rule)
    assert verdict.conforms, verdict
    for name, value in numbers.items():
        assert name in told or verdict.fitted[name].value == pytest.approx(value, rel=FITTED), verdict
    for axis, choice in RULES[rule].hyper(**axes, **numbers).axes.items():
        assert choice in verdict.axes[axis].choices, verdict
    for axis, choices in as_well.items():
        assert choices <= set(verdict.axes[axis].choices), verdict
        assert verdict.axes[axis].why


def test_the_rule_is_found_too() -> None:
    verdict = identify(recorded("momentum", {}, {"lr": 0.05, "mu": 0.8}))
    assert (verdict.rule, verdict.status) == ("momentum", "conforms")
    assert "fitted" in str(verdict)


def test_what_the_trace_does_not_show_is_a_range() -> None:
    verdict = identify(recorded("adam", {}, {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-20}, ("lr", "beta1")))
    eps = verdict.fitted["eps"]
    assert verdict.conforms
    assert eps.low < eps.high
    assert "fit as well" in str(eps)


def test_what_fits_nothing_deviates() -> None:
    trace = recorded("momentum", {}, {"lr": 0.05, "mu": 0.8})
    wrong = [[w + 1e-3 * step**2 for w in now] for step, now in enumerate(trace.results)]
    verdict = identify(dataclasses.replace(trace, results=wrong), rule="momentum")
    assert verdict.status == "deviates"


def test_too_few_results_are_refused() -> None:
    trace = recorded("momentum", {}, {"lr": 0.05, "mu": 0.8})
    one = Trace(trace.params[0], [trace.grads[0][0]], [{}], [trace.results[0][0]])
    with pytest.raises(RefoptError, match=r"5 results are too few to fit lr, mu to; give these, or a longer trace"):
        identify(one, rule="momentum")


def adam_with_betas_inside(params: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, lr=lr, weight_decay=weight_decay)


def chain(learning_rate: float, weight_decay: float) -> optax.GradientTransformation:
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.trace(0.9), optax.scale_by_learning_rate(learning_rate)
    )


@pytest.mark.parametrize(
    ("target", "rule", "pinned", "fitted"),
    [
        (lambda: chain, "momentum", {"decay": "l2", "lr_at": "outside"}, {"mu": 0.9}),
        (lambda: adam_with_betas_inside, "adam", {"decay": "decoupled", "eps_at": "outside_hat"},
         {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
        (lambda: optax.sgd(0.1, momentum=0.9), "momentum", {}, {"lr": 0.1, "mu": 0.9}),
    ],
    ids=["chain", "betas", "made"],
)  # fmt: skip
def test_numbers_inside_an_implementation_are_read_off_what_it_does(
    target: Callable[[], Any], rule: str, pinned: dict[str, str], fitted: dict[str, float]
) -> None:
    verdict = verify(target(), rule=rule)
    assert verdict.conforms, verdict
    assert pinned.items() <= verdict.pinned.items(), verdict
    assert {name: number.value for name, number in verdict.fitted.items()} == pytest.approx(fitted, rel=FITTED)
