"""`verify` on the real frameworks: the rule, the dialect and every axis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import refopt
from refopt.spec.errors import RefoptError

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


@pytest.mark.parametrize(
    ("target", "options", "reason"),
    [
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
