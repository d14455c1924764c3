"""Every kind of subject, by what it is: the rule, the dialect and the departures that it is known to have."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest
from driving import quick

from refopt.verifying import Interpreter
from refopt.verifying.drivers.optax_transform import quickly

BOTH = ("float64", "float32")
NESTEROV, HEAVY = {"momentum": 0.875, "nesterov": True}, {"momentum": 0.875}

# target, options, rule, dialect, departures
TORCH = [
    ("torch.optim:SGD", {}, "sgd", "torch", {}),
    ("torch.optim:SGD", {"foreach": True}, "sgd", "torch", {}),
    ("torch.optim:SGD", {"fused": True}, "sgd", "torch", {}),
    ("torch.optim:SGD", {"foreach": False, **HEAVY}, "momentum", "torch", {}),
    ("torch.optim:SGD", {"foreach": True, **HEAVY}, "momentum", "torch", {}),
    ("torch.optim:SGD", {"fused": True, **HEAVY}, "momentum", "torch", {}),
    ("torch.optim:SGD", {"foreach": True, "dampening": 0, **NESTEROV}, "momentum", "torch", {"nesterov": "yes"}),
    ("torch.optim:SGD", {"fused": True, "dampening": 0, **NESTEROV}, "momentum", "torch", {"nesterov": "yes"}),
    ("torch.optim:Adam", {"foreach": False}, "adam", "torch", {}),
    ("torch.optim:Adam", {"foreach": True}, "adam", "torch", {}),
    ("torch.optim:Adam", {"fused": True}, "adam", "torch", {}),
    ("torch.optim:Adam", {"differentiable": True}, "adam", "torch", {}),
    ("torch.optim:Adam", {"amsgrad": True, "foreach": True}, "adam", "torch", {"amsgrad": "raw"}),
    ("torch.optim:Adam", {"decoupled_weight_decay": True}, "adam", "adamw", {}),
    ("torch.optim:AdamW", {"foreach": True}, "adam", "adamw", {}),
    ("torch.optim:AdamW", {"fused": True, "amsgrad": True}, "adam", "adamw", {"amsgrad": "raw"}),
]
MEAN = {"decay_schedule": "mean"}
AVERAGES = [
    ("torch.optim.swa_utils:AveragedModel", {}, "ema", MEAN),
    ("torch.optim.swa_utils:get_swa_avg_fn", {}, "ema", MEAN),
    ("torch.optim.swa_utils:get_swa_multi_avg_fn", {}, "ema", MEAN),
    ("torch.optim.swa_utils:get_ema_avg_fn", {}, "ema", {"init": "first_update"}),
    ("torch.optim.swa_utils:get_ema_multi_avg_fn", {}, "ema", {"init": "first_update"}),
    ("optax:ema", {}, "ema", {"debias": "standard"}),
    ("optax:ema", {"debias": False}, "ema", {"debias": "none"}),
]
OPTAX = [
    ("optax:sgd", {}, "sgd", "optax", {}),
    ("optax:sgd", HEAVY, "momentum", "optax", {}),
    ("optax:sgd", NESTEROV, "momentum", "optax", {"nesterov": "yes"}),
    ("optax:adam", {}, "adam", "optax", {}),
    ("optax:adamw", {}, "adam", "adamw", {}),
    ("optax:amsgrad", {}, "adam", "optax", {"amsgrad": "corrected"}),
    ("optax:lars", {}, "lars", "optax", {}),
]
KERAS = [
    ("keras.optimizers:SGD", {}, "sgd", {}),
    ("keras.optimizers:SGD", HEAVY, "momentum", {}),
    ("keras.optimizers:SGD", NESTEROV, "momentum", {"nesterov": "yes"}),
    ("keras.optimizers:Adam", {}, "adam", {}),
    ("keras.optimizers:Adam", {"amsgrad": True}, "adam", {"amsgrad": "raw"}),
    ("keras.optimizers:AdamW", {}, "adam", {}),
    ("keras.optimizers:Adam", {}, "ema", {}),
    ("keras.optimizers:SGD", {"use_ema": True}, "ema", {}),
]


def needs(library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed; pip install {library}")


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize(("target", "options", "rule", "dialect", "departures"), [*TORCH, *OPTAX])
def test_optimizers(
    target: str, options: Mapping[str, Any], rule: str, dialect: str, departures: Mapping[str, str], dtype: str
) -> None:
    needs(target.partition(".")[0].partition(":")[0])
    verdict = quick(target, rule, options, dtype)
    assert (verdict.status, verdict.dialect, verdict.dtype) == ("conforms", dialect, dtype), str(verdict)
    assert dict(verdict.departures) == dict(departures)
    assert verdict.distance is not None
    assert verdict.distance < 64


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize(("target", "options", "rule", "choices"), AVERAGES)
def test_averages(target: str, options: Mapping[str, Any], rule: str, choices: Mapping[str, str], dtype: str) -> None:
    needs(target.partition(".")[0].partition(":")[0])
    verdict = quick(target, rule, options, dtype)
    assert (verdict.status, verdict.dtype) == ("conforms", dtype), str(verdict)
    for axis, choice in choices.items():
        assert choice in verdict.axes[axis].choices, str(verdict)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize(("target", "options", "rule", "departures"), KERAS)
def test_keras(target: str, options: Mapping[str, Any], rule: str, departures: Mapping[str, str], dtype: str) -> None:
    needs("keras")
    verdict = quick(target, rule, options, dtype)
    assert (verdict.status, verdict.dialect, verdict.dtype) == ("conforms", "keras", dtype), str(verdict)
    assert dict(verdict.departures) == dict(departures)


@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
@pytest.mark.parametrize(
    ("target", "options", "rule", "dtype"),
    [
        ("keras.optimizers:SGD", NESTEROV, "momentum", "float64"),
        ("keras.optimizers:Adam", {}, "adam", "float32"),
        ("keras.optimizers:SGD", {}, "ema", "float64"),
    ],
)
def test_keras_on_each_backend(
    target: str, options: Mapping[str, Any], rule: str, dtype: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has one: it is chosen before Keras is imported."""
    needs("keras")
    needs(backend)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    verdict = quick(Interpreter(sys.executable, target), rule, options, dtype)
    assert (verdict.status, verdict.dialect, verdict.dtype) == ("conforms", "keras", dtype), str(verdict)


def test_a_jax_that_cannot_compile_in_a_hurry_is_not_told_to() -> None:
    assert quickly(lambda fun, compiler_options=None: fun) == {
        "compiler_options": {"xla_backend_optimization_level": 0}
    }
    assert quickly(lambda fun, static_argnames=None: fun) == {}
