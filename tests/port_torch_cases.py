"""What the tests of the torch port share: hypers, data, and comparison bit by bit."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from refopt.rules import RULES
from refopt.spec.hyper import Hyper, conflict

# Numbers away from every default and from each other, so that no two choices look alike.
NUMBERS = {
    "lr": 0.3, "mu": 0.8, "dampening": 0.3, "wd": 0.1,
    "beta1": 0.8, "beta2": 0.9, "eps": 0.01, "eps_root": 0.05,
    "tc": 0.02, "power": 0.7, "inv_gamma": 2.0,
}  # fmt: skip


def hyper_of(rule: str, **axes: str) -> Hyper:
    plain = RULES[rule].hyper(**axes)
    return plain.replace(**{name: NUMBERS[name] for name in plain.read})


def varied() -> Iterator[Hyper]:
    """One axis at a time from every dialect, and every two axes from the first dialect."""
    for rule in RULES.values():
        seen = set()
        for i, dialect in enumerate(rule.dialects):
            start = dict(rule.hyper(dialect=dialect.name).axes)
            changes = [(axis.name, choice) for axis in rule.axes for choice in axis.choices]
            for change in combinations(changes, 2 if i == 0 else 1):
                axes = start | dict(change)
                if conflict(rule, axes) is None and tuple(axes.values()) not in seen:
                    seen.add(tuple(axes.values()))
                    yield hyper_of(rule.name, **axes)


def name_of(hyper: Hyper) -> str:
    """The rule, and what is not canonical about it."""
    odd = [f"{axis}={c}" for axis, c in hyper.axes.items() if c != hyper.rule.axis(axis).choices[0]]
    return "-".join([hyper.rule.name, *odd])


def each_rule(*more: Hyper) -> Any:
    hypers = [*(hyper_of(rule) for rule in RULES), *more]
    return pytest.mark.parametrize("hyper", hypers, ids=name_of)


ADAM_NUMBERS = hyper_of("adam", power="product", amsgrad="raw", decay="l2")
LARS_BRANCHES = hyper_of("lars", when="matrices", zero_norm="raw_no_decay", clip="min", nesterov="yes")


def numbers_like(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.uniform(0.5, 2, shape) * rng.choice([-1.0, 1.0], shape))


def arrays(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parameters and gradients: 0-d to 2-d, transposed, empty, signed zeros, and norms of zero on either side."""
    shapes = [(), (5,), (3, 4), (0, 2)]
    zero, signs = np.zeros((2, 3)), np.array([0.0, -0.0, 1.0])
    params = [
        *(numbers_like(rng, s) for s in shapes),
        numbers_like(rng, (4, 3)).T,
        signs,
        zero,
        numbers_like(rng, (2, 3)),
    ]
    grads = [
        *(numbers_like(rng, s) for s in shapes),
        numbers_like(rng, (4, 3)).T,
        -signs,
        numbers_like(rng, (2, 3)),
        zero,
    ]
    return [*params, np.zeros(2)], [*grads, np.zeros(2)]


def tensors(values: Any, dtype: Any = torch.float64) -> Any:
    """Fresh tensors for a list of arrays or a dict of slots."""
    if isinstance(values, dict):
        return {name: tensors(value, dtype) for name, value in values.items()}
    return values if isinstance(values, float) else [torch.tensor(x, dtype=dtype) for x in values]


def assert_same(actual: Any, expected: Any) -> None:
    """The same structure, dtypes and bits."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        pairs = [(actual[key], expected[key]) for key in expected]
    elif isinstance(expected, list):
        pairs = list(zip(actual, expected, strict=True))
    elif isinstance(expected, torch.Tensor):
        assert actual.dtype == expected.dtype
        return torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    else:
        assert actual == expected
        return None
    for pair in pairs:
        assert_same(*pair)
    return None
