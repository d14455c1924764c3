"""What the tests of the torch port share: data, comparison bit by bit, and steps of a small optimizer."""

from typing import Any

import numpy as np
import pytest
import torch
from port_cases import hyper_of, name_of

from refopt.rules import RULES
from refopt.spec.hyper import Hyper
from refopt_torch import BACKEND


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
        one, other = BACKEND.to_numpy(actual), BACKEND.to_numpy(expected)
        assert (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())
        return
    else:
        assert actual == expected
        return
    for pair in pairs:
        assert_same(*pair)


# ----- optimizers of three parameters

SHAPES = [(), (3,), (2, 4)]


def draw(seed: int, dtype: Any = torch.float32) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in SHAPES]


def leaves(dtype: Any = torch.float32) -> list[Any]:
    return [x.requires_grad_() for x in draw(0, dtype)]


def step(optimizer: Any, seed: int) -> None:
    """One step on the gradients of that seed."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for p, g in zip(params, draw(seed, params[0].dtype), strict=True):
        p.grad = g
    optimizer.step()


def values(optimizer: Any) -> list[Any]:
    """Parameters and state, in order."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return [[p.detach() for p in params], [optimizer.state[p] for p in params]]
