"""`verify` on the real frameworks: the rule, the dialect and every axis."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

import refopt
from refopt.spec.errors import RefoptError
from refopt.verifying.drivers import kinds
from refopt.verifying.drivers.base import arguments
from refopt.verifying.verify import IN_FLOAT32

# target, options, rule, dialect, departures from the dialect, some pinned axes
ROWS = [
    ("torch.optim:Adam", {}, "adam", "torch", {}, {"eps_at": "outside_hat", "decay": "l2", "power": "power"}),
    ("torch.optim:Adam", {"fused": True}, "adam", "torch", {}, {"eps_at": "outside_hat"}),
    ("torch.optim:Adam", {"foreach": True, "amsgrad": True}, "adam", "torch", {"amsgrad": "raw"}, {"amsgrad": "raw"}),
    ("torch.optim:AdamW", {}, "adam", "adamw", {}, {"decay": "decoupled"}),
    ("torch.optim:SGD", {}, "sgd", "torch", {}, {"decay": "l2"}),
    ("torch.optim:SGD", {"momentum": 0.9}, "momentum", "torch", {},
     {"gradient_scale": "dampening", "first_step": "copy_gradient", "lr_at": "outside", "nesterov": "no"}),
    ("torch.optim:SGD", {"momentum": 0.9, "nesterov": True}, "momentum", "torch", {"nesterov": "yes"}, {}),
    ("optax:adam", {}, "adam", "optax", {}, {"eps_at": "outside_hat", "bias": "both"}),
    ("optax:adam", {"eps_root": 0.0625}, "adam", "optax", {"eps_at": "both"}, {"eps_at": "both"}),
    ("optax:adamw", {}, "adam", "adamw", {}, {"decay": "decoupled"}),
    ("optax:amsgrad", {}, "adam", "optax", {"amsgrad": "corrected"}, {"amsgrad": "corrected"}),
    ("optax:sgd", {}, "sgd", "optax", {}, {}),
    ("optax:sgd", {"momentum": 0.875, "nesterov": True}, "momentum", "optax", {"nesterov": "yes"},
     {"lr_at": "outside"}),
    ("optax:lars", {}, "lars", "optax", {}, {"denominator": "joint", "lr_at": "inside", "eps_at": "denominator"}),
    ("keras.optimizers:Adam", {}, "adam", "keras", {}, {"eps_at": "outside_raw", "decay": "decoupled"}),
    ("keras.optimizers:SGD", {}, "sgd", "keras", {}, {}),
    ("keras.optimizers:SGD", {"momentum": 0.875}, "momentum", "keras", {}, {"lr_at": "inside", "decay": "decoupled"}),
]  # fmt: skip


@pytest.mark.parametrize(("target", "options", "rule", "dialect", "departures", "pinned"), ROWS)
def test_frameworks(
    target: str, options: dict, rule: str, dialect: str, departures: dict, pinned: dict[str, str]
) -> None:
    verdict = refopt.verify(target, **options)
    assert (verdict.status, verdict.rule, verdict.dialect) == ("conforms", rule, dialect), str(verdict)
    assert dict(verdict.departures) == departures
    assert pinned.items() <= verdict.pinned.items()
    assert verdict.distance is not None
    assert verdict.distance < 64, "float64 implementations agree to a few ULP"
    if target != "optax:sgd" or options:  # it has nothing to vary: the learning rate is its only number
        assert verdict.next_distance is not None
        assert verdict.next_distance > 1e6 * verdict.distance
    assert verdict.versions


def adam_until(last: int):
    """Adam whose bias correction stops at a step: a real bug of counters that saturate."""

    def step(params, grads, state, *, lr, beta1, beta2, eps):
        t, m, v = state or (0, [0.0] * len(params), [0.0] * len(params))
        t += 1
        m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, grads, strict=True)]
        v = [beta2 * a + (1 - beta2) * g * g for a, g in zip(v, grads, strict=True)]
        k = min(t, last)
        new = [
            w - lr * (a / (1 - beta1**k)) / (np.sqrt(b / (1 - beta2**k)) + eps)
            for w, a, b in zip(params, m, v, strict=True)
        ]
        return new, (t, m, v)

    return step


def test_a_function_and_its_broken_twin() -> None:
    good, bad = refopt.verify(adam_until(10**6), rule="adam"), refopt.verify(adam_until(4), rule="adam")
    assert good.conforms
    assert good.exit_status == 0
    assert good.pinned["power"] == "power"
    assert bad.status == "deviates"
    assert bad.exit_status == 1
    assert bad.first is not None
    assert bad.first.step == 5
    assert "first differs" in str(bad)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def descend(params, grads, state, learning_rate):\n"
        "    return [w - learning_rate * g for w, g in zip(params, grads)], state\n"
    )
    assert refopt.verify(f"{tmp_path}/mine.py:descend").rule == "sgd"


NEW = "[w - lr * g for w, g in zip(params, grads)]"


def answering(answer: str, folder: Path, file: str = "mine.py", before: str = "") -> str:
    """A target: a step that returns this, in a file."""
    (folder / file).write_text(f"{before}\ndef step(params, grads, state, lr):\n    return {answer}\n")
    return f"{folder}/{file}:step"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NEW, "must return the new parameters and the new state; got a list of 6"),
        (f"dict(enumerate({NEW})), state", "must return the new parameters as a list of 6 arrays"),
        (f"{NEW}[1:], state", "one for each that it was given; got a list of 5"),
        ("[w.reshape(-1) for w in params], state", "results[0] must have the shape of params, (); got (1,)"),
        ("[w.astype(int) for w in params], state", "results[0]: parameters must be one of float64"),
        ("[w + 0j for w in params], state", "results[0] must be an array of real numbers; got dtype complex128"),
        ("['w' for w in params], state", "must be an array of real numbers; got dtype <U1"),
        ("[w.astype('f4' if state else 'f8') for w in params], 1",
         "step 2: results[0] must have the dtype of step 1, float64; got float32"),
        ("exit(1)", "raised SystemExit: 1"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_unsupported(answer: str, reason: str, tmp_path: Path) -> None:
    verdict = refopt.verify(answering(answer, tmp_path), rule="sgd")
    assert verdict.status == "unsupported"
    assert reason in verdict.reason


def test_nan_deviates(tmp_path: Path) -> None:
    verdict = refopt.verify(answering("[w * float('nan') for w in params], 1", tmp_path))
    assert (verdict.status, verdict.distance) == ("deviates", float("inf"))


def test_float32_results_are_said_to_be(tmp_path: Path) -> None:
    verdict = refopt.verify(answering(f"[w.astype('f4') for w in {NEW}], state", tmp_path))
    assert (verdict.status, verdict.dtype) == ("conforms", "float32")
    assert verdict.notes == ("its results are float32, though its parameters were float64",)


def test_a_file_may_have_the_name_of_a_library_and_import_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("rate = 1")
    assert refopt.verify(answering(f"{NEW}, 1", tmp_path, "random.py", "import neighbour\n")).conforms
    assert sys.modules["random"] is random


class Base:
    def __call__(self, params, grads, state, lr):
        return [w - lr * g for w, g in zip(params, grads, strict=True)], state


class Derived(Base):
    pass


def test_a_class_may_inherit_its_call() -> None:
    assert refopt.verify(Derived).conforms


def sign_of_momentum(params, grads, state, *, lr, momentum):
    state = [momentum * u + g for u, g in zip(state or [0.0] * len(grads), grads, strict=True)]
    return [w - lr * np.sign(u) for w, u in zip(params, state, strict=True)], state


@pytest.mark.parametrize(
    ("least", "said"), [(1, "it was shown tensors of one dimension or more alone"), (2, "it was shown matrices alone")]
)
def test_what_takes_no_tensor_of_some_shapes_is_shown_others(least: int, said: str) -> None:
    def descends(params, grads, state, lr):  # type: ignore[no-untyped-def]
        if any(not least <= w.ndim <= max(2, least) for w in params):
            raise ValueError("not a shape of mine")
        return [w - lr * g for w, g in zip(params, grads, strict=True)], state

    verdict = refopt.verify(descends)
    assert verdict.conforms
    assert verdict.rule == "sgd"
    assert any(note.startswith(said) and "not a shape of mine" in note for note in verdict.notes)


def test_a_namesake_s_own_number_is_read_off_what_it_does() -> None:
    """optax.sm3 lets nobody set its epsilon, and fails on a parameter without dimensions."""
    verdict = refopt.verify("optax:sm3")
    assert (verdict.rule, verdict.dialect, verdict.departures) == ("sm3", "optax", {})
    assert verdict.fitted["eps"].value == 1e-8
    assert any("IndexError" in note for note in verdict.notes)


@pytest.mark.parametrize("target", ["optax:adafactor", "keras.optimizers:Adafactor"])
def test_who_rounds_to_float32_inside_is_verified_in_float32(target: str) -> None:
    """optax counts in float32, Keras keeps an epsilon in it."""
    verdict = refopt.verify(target)
    assert (verdict.status, verdict.rule, verdict.dtype) == ("conforms", "adafactor", "float32")
    assert verdict.dialect == target.partition(".")[0].partition(":")[0]
    assert IN_FLOAT32 in verdict.notes


def test_rules_that_were_tried_are_named() -> None:
    verdict = refopt.verify(sign_of_momentum, fit=False)
    assert verdict.status == "deviates"
    assert len({verdict.rule, *verdict.tried}) > 1
    assert {verdict.rule, *verdict.tried} <= refopt.RULES.keys()
    assert f", and of {verdict.tried[0]}" in " ".join(str(verdict).split())


def test_a_reason_is_said_once() -> None:
    assert refopt.verify("torch.optim:LBFGS").reason.count("its step needs a closure") == 1
    assert refopt.verify(len).reason == "len raised TypeError: len() takes exactly one argument (3 given)"


@pytest.mark.parametrize(
    ("target", "options", "reason"),
    [
        ("builtins:max", {}, "wrap it in a Python function"),
        ("no_such_module:Adam", {}, "no_such_module cannot be imported: ModuleNotFoundError"),
        ("missing.py:Adam", {}, "there is no file missing.py"),
        (lambda params, grads, state, **h: 1 / 0, {}, "raised ZeroDivisionError"),
    ],
)
def test_what_cannot_be_run(target: object, options: dict, reason: str) -> None:
    verdict = refopt.verify(target, **options)
    assert verdict.status == "unsupported"
    assert verdict.exit_status == 2
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("target", "options", "fragments"),
    [
        ("torch.optim:Adom", {}, ["torch.optim has no 'Adom'", "Adam"]),
        ("torch.optim:Rprop", {"lr": "fast"}, ["lr must be a number", "'fast'"]),
        ("torch.optim:Adam", {"beta": 0.9}, ["unknown argument 'beta'", "betas"]),
        ("torch.optim", {}, ["names no target", "torch.optim:Adam"]),
        ("math:pi", {}, ["is a float", "an optimizer class"]),
    ],
)
def test_refusals(target: str, options: dict, fragments: list[str]) -> None:
    with pytest.raises(RefoptError) as refusal:
        refopt.verify(target, **options)
    assert all(fragment in str(refusal.value) for fragment in fragments), refusal.value


class Pair:
    """An optimizer of a kind that refopt does not know: `init` and `update` side by side."""

    def init(self, params):
        return params

    def update(self, params, grads, learning_rate):
        return [w - learning_rate * g for w, g in zip(params, grads, strict=True)]


class PairDriver:
    framework, average, any_argument, per_step = "pairs", False, False, None

    def __init__(self, target):
        self.target = target
        self.arguments = arguments(target.update, "self", "params", "grads")
        self.versions = {"pairs": "1.0"}

    @staticmethod
    def takes(target):
        return hasattr(target, "init") and hasattr(target, "update")

    def start(self, params, numbers, options):
        self.optimizer = self.target()
        self.params = self.optimizer.init(params)

    def step(self, grads, numbers):
        self.params = self.optimizer.update(self.params, grads, **numbers)
        return self.params


def test_a_new_kind_of_subject_is_one_class_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As CONTRIBUTING.md says."""
    monkeypatch.setattr(kinds, "KINDS", (PairDriver, *kinds.KINDS))
    verdict = refopt.verify(Pair)
    assert (verdict.status, verdict.rule, verdict.versions) == ("conforms", "sgd", {"pairs": "1.0"})
