"""refopt's `objax` dialect replays what objax 1.8.0 computed, step by step: see objax_vectors/record.py."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refopt

VECTORS = sorted((Path(__file__).parent / "objax_vectors").glob("*.json"))

# The acceptance list's "agree to 1e-12 in float64 over 50 steps": relative to max(|expected|, 1).
TOLERANCE = 1e-12


def arrays(nested: list[Any]) -> list[np.ndarray]:
    return [np.array(x, dtype=np.float64) for x in nested]


def assert_agree(step: int, actual: list[np.ndarray], expected: list[Any]) -> None:
    """Every tensor within the tolerance of objax; NaN never is."""
    for i, (a, e) in enumerate(zip(actual, arrays(expected), strict=True)):
        assert np.shape(a) == e.shape, f"step {step}, tensor {i}: shape {np.shape(a)}, objax has {e.shape}"
        distance = np.abs(a - e) / np.maximum(np.abs(e), 1.0)
        assert np.all(distance <= TOLERANCE), (
            f"step {step} is the first that differs, in tensor {i}, by {np.max(distance):.3g}:"
            f" refopt {np.asarray(a).tolist()}, objax {e.tolist()}"
        )


def replay_optimizer(vectors: dict[str, Any]) -> None:
    params = arrays(vectors["params"])
    optimizer = getattr(refopt, vectors["optimizer"])(params, **vectors["constructor"], dialect="objax")
    for t, step in enumerate(vectors["steps"], start=1):
        optimizer(step["lr"], arrays(step["grads"]), **step["overrides"])
        assert_agree(t, optimizer.params, step["params"])
    assert_agree(t, params, step["params"])  # the caller's own arrays were updated in place


def replay_average(vectors: dict[str, Any]) -> None:
    params = arrays(vectors["params"])
    average = refopt.ExponentialMovingAverage(params, **vectors["constructor"], dialect="objax")
    for t, step in enumerate(vectors["steps"], start=1):
        params = arrays(step["params"])
        average(params)
        refs, values = average.refs_and_values()
        assert_agree(t, values, step["averages"])
        assert_agree(t, refs, step["params"])


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_agrees_with_objax(path: Path) -> None:
    vectors = json.loads(path.read_text(encoding="utf-8"))
    assert len(vectors["steps"]) == 50
    (replay_average if vectors["optimizer"] == "ExponentialMovingAverage" else replay_optimizer)(vectors)


def test_every_objax_optimizer_was_recorded() -> None:
    recorded = {json.loads(path.read_text(encoding="utf-8"))["optimizer"] for path in VECTORS}
    assert recorded == {"SGD", "Momentum", "Adam", "LARS", "ExponentialMovingAverage"}
