"""Who is measured: optimizers of the frameworks, with the rule, conventions and numbers that they are asked to follow.

Whether one follows them its float64 row shows: a wrong convention would be off by more than a million ULPs there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from refopt.rules import get_rule
from refopt.spec.hyper import Hyper
from refopt_conformance.accuracy import drive

ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
ADAMW = ADAM | {"wd": 0.01}
MOMENTUM = {"lr": 0.1, "mu": 0.9}
NESTEROV = {"nesterov": "yes"}
# A trust coefficient of 1, where 0.001 is usual: else the rounding of the parameters would hide that of the steps.
LARS = {"lr": 0.1, "mu": 0.9, "wd": 1e-3, "tc": 1.0, "eps": 1e-5}
EMA = {"mu": 0.999}

TORCH_MODES: dict[str, dict[str, bool]] = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


@dataclass(frozen=True)
class Peer:
    """An optimizer of a framework. `make()` gives what its driver needs."""

    name: str
    framework: str
    run: drive.Run
    make: Callable[[], Any]
    rule: str
    dialect: str
    numbers: dict[str, float]
    axes: dict[str, str] = field(default_factory=dict)

    @property
    def hyper(self) -> Hyper:
        """The rule as it follows it."""
        return get_rule(self.rule).hyper(self.dialect, **self.axes, **self.numbers)


def peers() -> list[Peer]:
    """All of them. None imports its framework before it is made."""
    return [*_torch(), *_optax(), *_keras()]


def _torch() -> list[Peer]:
    rows: list[tuple[str, str, str, dict[str, float], dict[str, str], dict[str, Any]]] = [
        ("SGD", "sgd", "torch", {"lr": 0.1}, {}, {"lr": 0.1}),
        ("SGD, momentum", "momentum", "torch", MOMENTUM, {}, {"lr": 0.1, "momentum": 0.9}),
        ("SGD, Nesterov", "momentum", "torch", MOMENTUM, NESTEROV, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("Adam", "adam", "torch", ADAM, {}, {"lr": 1e-3}),
        ("AdamW", "adam", "adamw", ADAMW, {}, {"lr": 1e-3, "weight_decay": 0.01}),
    ]
    found = [
        Peer(f"torch {name}, {mode}", "torch", drive.torch_optimizer,
             _torch_optimizer(name.split(",")[0], options | how), rule, dialect, numbers, axes)
        for name, rule, dialect, numbers, axes, options in rows
        for mode, how in TORCH_MODES.items()
    ]  # fmt: skip
    averaging = Peer("torch swa_utils EMA", "torch", drive.torch_average, _torch_average, "ema", "torch", EMA)
    return [*found, averaging]


def _torch_optimizer(name: str, options: dict[str, Any]) -> Callable[[], Any]:
    return lambda: lambda tensors: getattr(import_module("torch.optim"), name)(tensors, **options)


def _torch_average() -> Any:
    return import_module("torch.optim.swa_utils").get_ema_multi_avg_fn(EMA["mu"])


def _optax() -> list[Peer]:
    rows: list[tuple[str, str, dict[str, float], dict[str, str], Callable[[Any], Any]]] = [
        ("sgd", "sgd", {"lr": 0.1}, {}, lambda o: o.sgd(0.1)),
        ("sgd, momentum", "momentum", MOMENTUM, {}, lambda o: o.sgd(0.1, momentum=0.9)),
        ("sgd, Nesterov", "momentum", MOMENTUM, NESTEROV, lambda o: o.sgd(0.1, momentum=0.9, nesterov=True)),
        ("adam", "adam", ADAM, {}, lambda o: o.adam(1e-3)),
        ("lars", "lars", LARS, {}, lambda o: o.lars(0.1, 1e-3, trust_coefficient=1.0, eps=1e-5, momentum=0.9)),
    ]
    found = [
        Peer(f"optax {name}", "optax", drive.optax_transform, _optax_transform(make), rule, "optax", numbers, axes)
        for name, rule, numbers, axes, make in rows
    ]
    adamw = Peer("optax adamw", "optax", drive.optax_transform,
                 _optax_transform(lambda o: o.adamw(1e-3, weight_decay=0.01)), "adam", "adamw", ADAMW)  # fmt: skip
    averaging = Peer("optax ema", "optax", drive.optax_average, _optax_transform(lambda o: o.ema(0.999)),
                     "ema", "optax", EMA)  # fmt: skip
    return [*found, adamw, averaging]


def _optax_transform(make: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: make(import_module("optax"))


def _keras() -> list[Peer]:
    rows: list[tuple[str, str, str, dict[str, float], dict[str, str], dict[str, Any]]] = [
        ("SGD", "sgd", "keras", {"lr": 0.1}, {}, {"learning_rate": 0.1}),
        ("SGD, momentum", "momentum", "keras", MOMENTUM, {}, {"learning_rate": 0.1, "momentum": 0.9}),
        ("Adam", "adam", "keras", ADAM, {}, {"learning_rate": 1e-3, "epsilon": 1e-8}),
    ]
    return [
        Peer(f"keras {name}", "keras", drive.keras_optimizer, _keras_optimizer(name.split(",")[0], options),
             rule, dialect, numbers, axes)
        for name, rule, dialect, numbers, axes, options in rows
    ]  # fmt: skip


def _keras_optimizer(name: str, options: dict[str, Any]) -> Callable[[], Any]:
    return lambda: getattr(import_module("keras.optimizers"), name)(**options)
