"""What the tests of the JAX port share: data, the reference in float64, and distances in ULPs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from port_cases import FIRST, JAX_EPS, hyper_of, name_of

from refopt.spec.functions import Scalar
from refopt.spec.hyper import Hyper
from refopt_jax.backend import BACKEND

DIALECTS = {name_of(h): h for rule in FIRST for d in rule.dialects for h in [hyper_of(rule.name, d.name)]}


@contextmanager
def x64(on: bool) -> Iterator[None]:
    """With or without float64; also a decorator. The tests set this, never the library."""
    with jax.enable_x64(on) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64(on):
        yield


def normal(rng: np.random.Generator, *like: tuple[tuple[int, ...], str]) -> list[np.ndarray]:
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape, dtype in like]


def slots_at(hyper: Hyper, t: int, params: list[np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    """The slots before step t: the initial ones, or any (second moments are positive)."""
    slots = BACKEND.init(hyper, [BACKEND.adopt(w) for w in params])
    slots = {k: v if isinstance(v, float) else [BACKEND.to_numpy(a) for a in v] for k, v in slots.items()}
    if t == 1:
        return slots
    return {
        name: 0.5**t if isinstance(old, float) else [np.abs(x) for x in normal(rng, *((a.shape, a.dtype) for a in old))]
        for name, old in slots.items()
    }


def reference(program: Any, values: Any, t: int, arrays: dict[str, Any]) -> dict[str, Any]:
    """The specialised source in float64."""
    given = {k: Scalar(v) if isinstance(v, float) else np.asarray(v, np.float64) for k, v in arrays.items()}
    given = {name: given[name] for name in (*program.arrays, *(slot.name for slot in program.numbers))}
    with np.errstate(all="ignore"):
        out = program.function(**given, t=Scalar(t), **{name: Scalar(values[name]) for name in program.hypers})
    return dict(zip(program.outputs, out if isinstance(out, tuple) else (out,), strict=True))


def port(hyper: Hyper, t: int, params: list[Any], grads: list[Any] | None, slots: dict[str, Any]) -> Any:
    """One step of the backend on NumPy arrays: the new parameters and slots, as NumPy arrays."""
    mine = {k: v if isinstance(v, float) else [BACKEND.adopt(a) for a in v] for k, v in slots.items()}
    given = [BACKEND.adopt(g) for g in grads] if hyper.program.reads_gradient and grads is not None else None
    new, after = BACKEND.update(hyper, t, [BACKEND.adopt(w) for w in params], given, mine, in_place=False)
    after = {k: v if isinstance(v, float) else [BACKEND.to_numpy(a) for a in v] for k, v in after.items()}
    return [BACKEND.to_numpy(w) for w in new], after


def ulps(actual: Any, expected: Any, before: Any, scale: float) -> float:
    """The largest distance, in eps * size; NaN, infinities and their signs must be where they are expected."""
    expected = np.asarray(expected, np.float64)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.where(finite, 0, actual), np.where(finite, 0, expected))
    size = np.maximum(np.maximum(np.abs(expected), np.abs(np.asarray(before, np.float64))), scale)
    difference = np.abs(np.where(finite, actual, 0).astype(np.float64) - np.where(finite, expected, 0))
    distance = difference / np.where(finite, size, 1) / np.finfo(np.asarray(actual).dtype).eps
    return float(np.max(distance, initial=0))


def assert_step_agrees(hyper: Hyper, t: int, params: list[Any], grads: list[Any], slots: dict[str, Any]) -> None:
    """One step of the port from the same state: every output within the budget, its dtype kept."""
    new, after = port(hyper, t, params, grads, slots)
    assert set(after) == {slot.name for slot in hyper.program.slots}
    for i, (w, g) in enumerate(zip(params, grads, strict=True)):
        state = {k: v if isinstance(v, float) else v[i] for k, v in slots.items()}
        expected = {"w": w, **reference(hyper.program, hyper.values, t, {"w": w, "g": g, **state})}
        assert new[i].dtype == w.dtype
        lr = hyper.values.get("lr", 1.0)
        assert ulps(new[i], expected["w"], w, scale=lr) <= JAX_EPS, f"w of parameter {i} at t={t}"
        for name, old in state.items():
            if isinstance(old, float):
                assert after[name] == expected[name], f"{name} at t={t}"
                continue
            assert after[name][i].dtype == old.dtype
            assert ulps(after[name][i], expected[name], old, scale=1) <= JAX_EPS, f"{name} of parameter {i} at t={t}"
