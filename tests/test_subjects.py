"""What is read from a subject and said of it: instances, factories, functions, options, dtypes and devices."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from driving import quick
from typer.testing import CliRunner

import refopt
from refopt.cli import app
from refopt.spec.errors import RefoptError
from refopt.verifying.drivers.loading import load
from refopt.verifying.subjects.resolve import resolve

torch, optax = (
    pytest.importorskip(name, reason=f"{name} is missing; pip install {name}") for name in ("torch", "optax")
)


def made_by_torch(kind: Any, **hyper: Any) -> Any:
    return kind([torch.zeros(1, requires_grad=True)], **hyper)


class Third(torch.optim.Optimizer):
    """As third parties write them: heavy ball, with a name of its own for the momentum."""

    def __init__(self, params: Any, lr: float = 0.1, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for w in group["params"]:
                state = self.state[w]
                state["u"] = group["momentum"] * state.get("u", 0.0) + w.grad
                w -= group["lr"] * state["u"]


class Adan(torch.optim.Optimizer):
    """As sail-sg writes it, whose betas are three."""

    def __init__(self, params: Any, lr: float = 1e-3, betas: Any = (0.98, 0.92, 0.99), eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            lr, eps, (b1, b2, b3) = group["lr"], group["eps"], group["betas"]
            for w in group["params"]:
                g = w.grad
                t, before, m, v, n = self.state[w].get("all", (0, g, 0.0, 0.0, 0.0))
                t += 1
                m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * (g - before)
                n = b3 * n + (1 - b3) * (g + b2 * (g - before)) ** 2
                self.state[w]["all"] = (t, g.clone(), m, v, n)
                below = torch.sqrt(n) / (1 - b3**t) ** 0.5 + eps
                w -= lr * (m / (1 - b1**t) + b2 * v / (1 - b2**t)) / below


def make_torch(params: Any, lr: float = 0.1, beta1: float = 0.9) -> Any:
    return torch.optim.Adam(params, lr=lr, betas=(beta1, 0.875), eps=0.0625)


def make_heavy(params: Any) -> Any:
    return torch.optim.SGD(params, lr=0.5, momentum=0.25)


def make_optax(learning_rate: float, momentum: float = 0.875) -> optax.GradientTransformation:
    return optax.chain(optax.clip(1e9), optax.sgd(learning_rate, momentum=momentum))


def make_plain(learning_rate: float) -> optax.GradientTransformation:
    return optax.scale(-learning_rate)


def velocity(params, grads, state, *, lr, momentum=0.9):
    state = [momentum * u + g for u, g in zip(state or [0.0] * len(params), grads, strict=True)]
    return [w - lr * u for w, u in zip(params, state, strict=True)], state


def anything(params, grads, state, **hyper):
    return [w - hyper["lr"] * g for w, g in zip(params, grads, strict=True)], state


def average(params, state, decay=0.99):
    state = params if state is None else [decay * m + (1 - decay) * w for m, w in zip(state, params, strict=True)]
    return state, state


def mean(params, state):
    n, total = state or (0, [0.0] * len(params))
    n, total = n + 1, [a + w for a, w in zip(total, params, strict=True)]
    return [a / n for a in total], (n, total)


def keras_made() -> Any:
    if find_spec("keras") is None:
        pytest.skip("keras is not installed; pip install keras")
    load("keras.optimizers:SGD")  # which chooses its backend
    keras = importlib.import_module("keras")
    return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5), momentum=0.5, nesterov=True)


ADAM = {"learning_rate": 0.0625, "b1": 0.875, "b2": 0.9375, "eps": 0.015625}
INJECTED = optax.inject_hyperparams(optax.adam)(learning_rate=0.25, b1=0.75)
# what makes the target, the rule, its options, its defaults (None: not looked at), departures from the dialect it has
ROWS: dict[str, tuple[Callable[[], Any], str, dict, dict | None, dict]] = {
    "a torch optimizer": (
        lambda: made_by_torch(torch.optim.SGD, lr=0.25, momentum=0.5, nesterov=True), "momentum", {"dampening": 0.0},
        {"lr": 0.25, "mu": 0.5, "wd": 0.0, "dampening": 0.0}, {"nesterov": "yes"}),
    "a torch optimizer of two betas": (
        lambda: made_by_torch(torch.optim.AdamW, betas=(0.5, 0.75), amsgrad=True), "adam", {},
        {"lr": 0.001, "beta1": 0.5, "beta2": 0.75, "eps": 1e-8, "wd": 0.01}, {"amsgrad": "raw"}),
    "betas that are three": (
        lambda: Adan, "adan", {}, {"lr": 0.001, "beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8},
        {"start": "corrected"}),
    "a third party's class": (lambda: Third, "momentum", {}, {"lr": 0.1, "mu": 0.9}, {}),
    "a function that makes a torch optimizer": (
        lambda: make_torch, "adam", {}, {"lr": 0.1, "beta1": 0.9, "beta2": 0.875, "eps": 0.0625, "wd": 0.0}, {}),
    "a function without an argument": (
        lambda: make_heavy, "momentum", {}, {"lr": 0.5, "mu": 0.25, "dampening": 0.0, "wd": 0.0}, {}),
    "a chain of optax": (lambda: make_optax, "momentum", {}, {"mu": 0.875}, {}),
    "a rate that must be a number": (lambda: make_plain, "sgd", {}, {}, {}),
    "a partial of optax": (
        lambda: functools.partial(optax.sgd, nesterov=True, momentum=0.5), "momentum", {}, None, {"nesterov": "yes"}),
    "injected numbers": (
        lambda: INJECTED, "adam", {}, {"lr": 0.25, "beta1": 0.75, "beta2": 0.999, "eps": 1e-8, "eps_root": 0.0}, {}),
    "a made chain, with its numbers": (lambda: optax.adam(*ADAM.values()), "adam", ADAM, {}, {}),
    "a Keras optimizer": (keras_made, "momentum", {}, {"lr": 0.01, "mu": 0.5}, {"nesterov": "yes"}),
    "a function": (lambda: velocity, "momentum", {}, {"mu": 0.9}, {}),
    "a function of any number": (lambda: anything, "sgd", {}, {}, {}),
    "an average": (lambda: average, "ema", {}, {"mu": 0.99}, {}),
    "a mean": (lambda: mean, "ema", {}, {}, {}),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_what_a_subject_is(row: str) -> None:
    make, rule, options, defaults, departures = ROWS[row]
    target = make()
    verdict = quick(target, rule, options)
    assert verdict.status == "conforms", str(verdict)
    assert departures.items() <= {**verdict.pinned, **verdict.departures}.items()
    if defaults is not None:
        found = resolve(target, options, average=rule == "ema").names.defaults
        assert {n: np.float32(x) for n, x in found.items()} == {n: np.float32(x) for n, x in defaults.items()}


def needs_more(params: Any, extra: int) -> Any:
    return torch.optim.SGD(params)


def makes_none(params: Any, lr: float = 0.1) -> Any:
    return params


SCHEDULE = optax.linear_schedule(0.1, 0.2, 3)
REFUSED: dict[str, tuple[Callable[[], Any], dict, str]] = {
    "maximize": (lambda: "torch.optim:Adam", {"maximize": True}, "every rule here descends; leave that out"),
    "a closure": (lambda: "torch.optim:LBFGS", {}, "its step needs a closure"),
    "sparse alone": (lambda: "torch.optim:SparseAdam", {}, "SparseAdam does not support dense gradients"),
    "capturable on a CPU": (lambda: "torch.optim:Adam", {"capturable": True}, "If capturable=True, params and state"),
    "no optimizer": (lambda: makes_none, {}, "it must return a torch.optim.Optimizer; got a list"),
    "an argument that lacks": (lambda: needs_more, {}, "missing 1 required positional argument: 'extra'"),
    "a schedule": (lambda: "optax:adam", {"learning_rate": SCHEDULE}, "a schedule of their own; leave out learning_r"),
    "an argument of what is made": (lambda: optax.sgd(0.1), {"lr": 0.1, "nesterov": True}, "unknown argument"),
    "a class that is no function": (lambda: "torch.optim.swa_utils:SWALR", {}, "has no __call__"),
    "no such device": (lambda: "torch.optim:Adam", {"device": "cuda:99"}, "has no device 'cuda:99' here: "),
    "no device at all": (lambda: "torch.optim:Adam", {"device": "banana"}, "give one of cpu"),
    "a device without memory": (lambda: "torch.optim:Adam", {"device": "meta"}, "has no device 'meta' here: "),
    "a device for optax": (lambda: "optax:adam", {"device": "cuda"}, "is for optimizers of torch, and this is none"),
    "a device for a program": (lambda: "exec:true", {"device": "cuda"}, "a program runs where it likes; leave out"),
    "half precision": (lambda: "torch.optim:Adam", {"dtype": "float16"}, "in float64 or float32, not in float16; give"),
    "integers": (lambda: "torch.optim:Adam", {"dtype": "int8"}, "one of float64, float32, float16, bfloat16; got 'int"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_refused(row: str) -> None:
    make, options, said = REFUSED[row]
    try:
        reason = refopt.verify(make(), **options).reason
    except RefoptError as refusal:
        reason = str(refusal)
    assert said in reason
    assert "\n" not in reason


def test_a_device_is_named_in_the_verdict_unless_it_is_the_cpu() -> None:
    verdict = refopt.verify("torch.optim:SGD", device="cpu", dtype="float32")
    assert (verdict.rule, verdict.dtype, set(verdict.versions)) == ("sgd", "float32", {"torch"})
    if torch.cuda.is_available():
        assert "torch on cuda" in refopt.verify("torch.optim:SGD", device="cuda").versions


@pytest.mark.parametrize("target", ["torch.optim:SGD", "optax:sgd", "torch.optim.swa_utils:AveragedModel"])
def test_the_frameworks_are_left_as_they_were(target: str) -> None:
    before = torch.get_default_dtype(), jax_x64()
    quick(target, "ema" if "swa" in target else "sgd")
    assert (torch.get_default_dtype(), jax_x64()) == before


def jax_x64() -> bool:
    import jax

    return bool(jax.config.jax_enable_x64)


def test_a_framework_s_dtype_is_the_parameters_unless_it_is_driven_as_used() -> None:
    """The mean of torch takes its weight from a counter, which is float32 by default."""
    swa = "torch.optim.swa_utils:get_swa_multi_avg_fn"
    hyper: list[dict[str, float]] = [{}] * 3
    wide, used = (
        resolve(swa, {}, as_used=as_used).drive([np.zeros(1)], [[np.float64([i])] for i in (1, 0, 1)], hyper)
        for as_used in (False, True)
    )
    assert wide[2][0] == pytest.approx(2 / 3, rel=4 * np.finfo(np.float64).eps)
    assert abs(used[2][0] - 2 / 3) > 2**-40


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["torch.optim:SGD", "--dtype", "float32", "--device", "cpu", "--rule", "sgd"], "steps in float32"),
        (["torch.optim:SGD", "--dtype", "int8"], "dtype must be one of float64, float32, float16, bfloat16"),
        (["torch.optim:SGD", "--device", "banana"], "give one of cpu"),
        (["torch.optim:SGD", "-H", "dtype=float32"], "give dtype by itself"),
    ],
)
def test_on_the_command_line(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["verify", *words])
    assert said in " ".join(f"{result.output} {result.exception}".split())
    assert (result.exit_code == 0) == ("steps" in said)
