"""`refopt.drive`: what anybody's optimizer makes of a few steps, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import refopt
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying import Interpreter

HERE = Path(__file__).parent
PROGRAM = HERE.parent / "docs/examples/protocol/adam.py"
W, G = [np.array([1.0, 2.0])], [np.array([0.5, -1.0])]
ADAM = {"lr": 0.5, "beta1": 0.5, "beta2": 0.5, "eps": 0.0}


def descend(params, grads, state, learning_rate=0.5, scale=None):
    return [w - learning_rate * (scale or 1) * g for w, g in zip(params, grads, strict=True)], state


def average(params, state, decay=0.5):
    new = [decay * a + (1 - decay) * w for a, w in zip(state or [0.0] * len(params), params, strict=True)]
    return new, new


# target, numbers, options, the first parameter after one step and after two
ROWS: list[tuple[Any, Any, dict[str, Any], list[float], list[float]]] = [
    (descend, {}, {}, [0.75, 2.5], [0.5, 3.0]),
    (descend, {"lr": 1.0}, {}, [0.5, 3.0], [0.0, 4.0]),
    (descend, [{"lr": 1.0}, {"lr": 0.5}], {}, [0.5, 3.0], [0.25, 3.5]),
    (descend, {}, {"learning_rate": 1.0, "scale": 2}, [0.0, 4.0], [-1.0, 6.0]),
    (average, {"mu": 0.5}, {}, [0.25, -0.5], [0.375, -0.75]),
    ("torch.optim:SGD", {"lr": 0.5, "mu": 0.5}, {"nesterov": True}, [0.625, 2.75], [0.1875, 3.625]),
    (torch.optim.Adam, ADAM, {}, [0.5, 2.5], [0.0, 3.0]),
    (f"exec:{sys.executable} {PROGRAM}", ADAM, {}, [0.5, 2.5], [0.0, 3.0]),
    (Interpreter(sys.executable, f"{HERE}/smallest_cases.py:adam_counting_to_ten"), ADAM, {}, [0.5, 2.5], [0.0, 3.0]),
]


@pytest.mark.parametrize(("target", "hyper", "options", "first", "second"), ROWS)
def test_steps(target: Any, hyper: Any, options: dict[str, Any], first: list[float], second: list[float]) -> None:
    results = refopt.drive(target, W, [G, G], hyper, **options)
    assert [[w.tolist() for w in now] for now in results] == [[first], [second]]
    assert W[0].tolist() == [1.0, 2.0]


def test_arrays_keep_their_dtype() -> None:
    params = [np.zeros((), np.float32), np.zeros((2, 3), np.float32)]
    (results,) = refopt.drive(descend, params, [[np.ones_like(w) for w in params]], {"lr": 0.5})
    assert [(w.dtype.name, w.shape) for w in results] == [("float32", ()), ("float32", (2, 3))]


@pytest.mark.parametrize(
    ("target", "params", "grads", "hyper", "options", "said"),
    [
        (descend, [], [G], {}, {}, "params must hold at least one array; got none"),
        (descend, {"w": 1}, [G], {}, {}, "params must be a list; got {'w': 1}"),
        (descend, [np.array([1, 2])], [G], {}, {}, "params[0]: parameters must be one of float64"),
        (descend, ["w"], [G], {}, {}, "params[0] must be an array of real numbers; got dtype <U1"),
        (descend, W, [], {}, {}, "grads must hold at least one step; got none"),
        (descend, W, [G, [np.zeros(3)]], {}, {}, "grads of step 2 must have the shapes of params, [(2,)]; got [(3,)]"),
        (descend, W, [[*G, *G]], {}, {}, "grads of step 1 must have the shapes of params, [(2,)]; got [(2,), (2,)]"),
        (descend, W, [G], [{}, {}], {}, "hyper must be one mapping, or one for each of the 1 steps; got 2"),
        (descend, W, [G], [0.5], {}, "hyper must map names to numbers; at step 1 it is 0.5"),
        (descend, W, [G], {"rate": 1.0}, {}, "descend: unknown number 'rate'; choose from lr."),
        (descend, W, [G], {"lr": "0.5"}, {}, "descend: lr must be a number; at step 1 it is '0.5'"),
        (descend, W, [G], {"lr": 1.0}, {"lr": 1.0}, "descend: lr was given twice"),
        (descend, W, [G, G], [{"lr": 1.0}, {}], {}, "the same names at every step; step 1 has lr, step 2 has none"),
        (descend, W, [G], {}, {"decay": 1}, "descend: unknown argument 'decay'"),
        ("optax:adam", W, [G, G], [{**ADAM, "beta1": b} for b in (0.5, 0.25)], {},
         "optax:adam: beta1 cannot change between steps; give one value for all of them"),
        (7, W, [G], {}, {}, "is a int; give an optimizer class"),
        ("torch.optim:Adom", W, [G], {}, {}, "torch.optim has no 'Adom'"),
    ],
)  # fmt: skip
def test_refusals(target: Any, params: Any, grads: Any, hyper: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RefoptError) as refusal:
        refopt.drive(target, params, grads, hyper, **options)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (lambda params, grads, state: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda params, grads, state: ([w[:1] for w in params], 0), "results[0] must have the shape of params"),
        ("no_such_module:Adam", "no_such_module cannot be imported"),
    ],
)
def test_what_cannot_be_driven(target: Any, said: str) -> None:
    with pytest.raises(Unsupported) as refusal:
        refopt.drive(target, W, [G], {})
    assert said in str(refusal.value)
