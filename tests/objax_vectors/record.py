"""Record what objax 1.8.0 computes in float64 over 50 steps: one JSON file per scenario, next to this script.

Run once, inside an environment made for it; the tests read only the JSON files:

    python3.11 -m venv objax-venv
    objax-venv/bin/pip install objax==1.8.0 jax==0.4.25 jaxlib==0.4.25 "numpy<2" "scipy<1.13" six
    objax-venv/bin/python tests/objax_vectors/record.py

An optimizer's file holds `params` before the first step and, per step, `lr`, `grads`, `overrides` and the
`params` after it. An average's file holds, per step, the `params` it was given and the `averages` it then
returns. `constructor` is exactly what objax was given, so `{}` means its defaults.
"""

import json
import math
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import objax  # noqa: E402

STEPS = 50
SHAPES = ((3,), (2, 3), (), (4,))
PARAM_SCALES = (20.0, 1.0, 0.05, 0.0)  # the last tensor starts at zero
GRAD_SCALES = (3.0, 1.0, 1e-4, 0.3)

# Steps from 1. The last tensor is zero under a zero gradient until step 3, and under its first other at 4.
ZERO_FOR_ALL = {1, 20, 21, 22}
ZERO_FOR_ONE = {0: {11, 12, 13, 37}, 1: {30}, 2: {16, 33, 34}, 3: {2, 3, 44}}


class Scenario(NamedTuple):
    optimizer: str
    constructor: dict[str, Any]
    peak_lr: float = 0.0
    overrides: dict[int, dict[str, float]] = {}  # noqa: RUF012  # a NamedTuple is never changed


MOMENTUM_OVERRIDES = {
    4: {"momentum": 0.5},
    5: {"momentum": 0.99},
    18: {"momentum": 0.0},
    35: {"momentum": 0.3},
}
ADAM_OVERRIDES = {
    2: {"beta1": 0.7},
    5: {"beta1": 0.5},
    6: {"beta1": 0.0},
    21: {"beta1": 0.95},
    9: {"beta2": 0.9},
    10: {"beta2": 0.99},
    28: {"beta2": 0.5},
    46: {"beta2": 0.0},
    15: {"beta1": 0.6, "beta2": 0.98},
    40: {"beta1": 0.3, "beta2": 0.7},
    41: {"beta1": 0.99, "beta2": 0.9999},
}
SCENARIOS = {
    "sgd": Scenario("SGD", {}, 0.1),
    "momentum": Scenario("Momentum", {}, 0.1),
    "momentum_overrides": Scenario("Momentum", {"momentum": 0.8}, 0.1, MOMENTUM_OVERRIDES),
    "nesterov": Scenario("Momentum", {"nesterov": True}, 0.1),
    "nesterov_overrides": Scenario("Momentum", {"momentum": 0.8, "nesterov": True}, 0.1, MOMENTUM_OVERRIDES),
    "adam": Scenario("Adam", {}, 0.1),
    "adam_hyper": Scenario("Adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-2}, 0.1),
    "adam_overrides": Scenario("Adam", {}, 0.1, ADAM_OVERRIDES),
    "adam_hyper_overrides": Scenario("Adam", {"beta1": 0.8, "beta2": 0.95, "eps": 1e-2}, 0.1, ADAM_OVERRIDES),
    "lars": Scenario("LARS", {}, 2.0),
    "lars_hyper": Scenario("LARS", {"momentum": 0.8, "weight_decay": 1e-2, "tc": 0.02, "eps": 1e-3}, 0.5),
    "ema": Scenario("ExponentialMovingAverage", {}),
    "ema_hyper": Scenario("ExponentialMovingAverage", {"momentum": 0.9}),
    "ema_debias": Scenario("ExponentialMovingAverage", {"debias": True}),
    "ema_debias_hyper": Scenario("ExponentialMovingAverage", {"momentum": 0.9, "debias": True, "eps": 1e-2}),
}


def draw(rng: np.random.Generator, scales: tuple[float, ...]) -> list[np.ndarray]:
    """One array per shape, rounded to 6 significant digits to keep the files small; still float64 inputs."""
    arrays = [scale * rng.standard_normal(shape) for shape, scale in zip(SHAPES, scales, strict=True)]
    return [np.vectorize(lambda x: float(f"{x:.6g}"), otypes=[np.float64])(a) for a in arrays]


def draw_grads(rng: np.random.Generator, t: int) -> list[np.ndarray]:
    grads = draw(rng, GRAD_SCALES)
    return [np.zeros_like(g) if t in ZERO_FOR_ALL | ZERO_FOR_ONE[i] else g for i, g in enumerate(grads)]


def lr_at(t: int, peak: float) -> float:
    """Rises for 15 steps, falls for 15, and again; never zero."""
    return round(peak * (0.1 + 0.9 * abs(math.sin(math.pi * t / 30))), 6)


def nested(arrays: list[Any]) -> list[Any]:
    assert all(a.dtype == np.float64 for a in arrays)
    return [np.asarray(a).tolist() for a in arrays]


def train_vars(params: list[np.ndarray]) -> objax.VarCollection:
    """A collection in the order of `params`; optimizers and averages walk it in insertion order."""
    return objax.VarCollection((f"w{i}", objax.TrainVar(jnp.array(p))) for i, p in enumerate(params))


def in_order(refs: Iterable[objax.TrainRef], variables: objax.VarCollection) -> bool:
    return all(ref.ref is variable for ref, variable in zip(refs, variables, strict=True))


def record_optimizer(scenario: Scenario, rng: np.random.Generator) -> dict[str, Any]:
    params = draw(rng, PARAM_SCALES)
    variables = train_vars(params)
    optimizer = getattr(objax.optimizer, scenario.optimizer)(variables, **scenario.constructor)
    assert in_order(optimizer.train_vars, variables)  # gradients are matched in the order of the parameters
    steps = []
    for t in range(1, STEPS + 1):
        lr, grads, overrides = lr_at(t, scenario.peak_lr), draw_grads(rng, t), scenario.overrides.get(t, {})
        optimizer(lr, [jnp.array(g) for g in grads], **overrides)
        after = nested(variables.tensors())
        steps.append({"lr": lr, "grads": nested(grads), "overrides": overrides, "params": after})
    return {"params": nested(params), "steps": steps}


def record_average(scenario: Scenario, rng: np.random.Generator) -> dict[str, Any]:
    """Parameters follow a drawn walk; the last tensor stays at zero until step 4."""
    params = draw(rng, PARAM_SCALES)
    variables = train_vars(params)
    average = objax.optimizer.ExponentialMovingAverage(variables, **scenario.constructor)
    walk, steps = params, []
    for t in range(1, STEPS + 1):
        walk = [w - 0.1 * g for w, g in zip(walk, draw_grads(rng, t), strict=True)]
        variables.assign([jnp.array(w) for w in walk])
        average()
        refs, values = average.refs_and_values()
        assert in_order(refs, variables)  # and so do averages come
        steps.append({"params": nested(walk), "averages": nested(values)})
    return {"params": nested(params), "steps": steps}


def main() -> None:
    assert (version("objax"), version("jax")) == ("1.8.0", "0.4.25")
    for name, scenario in SCENARIOS.items():
        record = record_average if scenario.optimizer == "ExponentialMovingAverage" else record_optimizer
        vectors = {
            "implementation": f"objax {version('objax')}",
            "jax": version("jax"),
            "optimizer": scenario.optimizer,
            "constructor": scenario.constructor,
            **record(scenario, np.random.default_rng(list(name.encode()))),
        }
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(vectors, separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
