"""What the tests of running, saving and errors share: every rule at work, arrays of every backend, and bits."""

from typing import Any

import numpy as np
import optree

import refopt
from refopt.running.optimizers import Optimizer
from refopt.selection import get_backend
from refopt.spec.hyper import Hyper
from refopt_conformance.distance import distance

BACKENDS = ("numpy", "numba", "jax", "torch")
IN_PLACE = ("numpy", "numba", "torch")
OPTIMIZERS = {
    "sgd": refopt.SGD,
    "momentum": refopt.Momentum,
    "adam": refopt.Adam,
    "lars": refopt.LARS,
    "ema": refopt.ExponentialMovingAverage,
}

# Every rule, with every kind of slot: none, one, two, a largest so far, numbers, a copy of the parameters.
CASES: dict[str, dict[str, Any]] = {
    "sgd": {"decay": "l2", "wd": 0.01},
    "momentum": {"momentum": 0.8, "nesterov": True, "dialect": "torch"},
    "adam": {"eps": 1e-3, "beta1": 0.8, "beta2": 0.9},
    "adam-product-amsgrad": {"eps": 1e-3, "power": "product", "amsgrad": "raw", "beta1": 0.8, "beta2": 0.9},
    "lars": {"weight_decay": 0.01, "tc": 0.1, "momentum": 0.8, "dialect": "objax", "eps": 1e-3},
    "lars-velocity": {"weight_decay": 0.01, "tc": 0.1, "momentum": 0.8, "trust_of": "velocity"},
    "ema": {"momentum": 0.8, "debias": True},
    "ema-params": {"momentum": 0.8, "init": "params", "decay_schedule": "warmup_1"},
}


def rule_of(case: str) -> str:
    return case.partition("-")[0]


def make(case: str, params: Any, **options: Any) -> Optimizer:
    """The optimizer of a case."""
    return OPTIMIZERS[rule_of(case)](params, **{**CASES[case], **options})


def take(opt: Optimizer, grads: Any, lr: float = 0.1) -> None:
    """One step. An average is given new parameters, copied, as it does not change them."""
    if isinstance(opt, refopt.ExponentialMovingAverage):
        opt(native(opt.backend.name, plain(opt.backend.name, grads)))
    else:
        opt(lr, grads)


def pure_step(hyper: Hyper, params: Any, grads: Any, state: refopt.State, **options: Any) -> tuple[Any, refopt.State]:
    """One step of the pure layer; an average takes the gradients' place as new parameters, as in `take`."""
    if hyper.rule.name == "ema":
        return refopt.update(hyper.rule, grads, None, state, hyper, **options)
    return refopt.update(hyper.rule, params, grads, state, hyper, lr=0.1, **options)


def tree(seed: int, dtype: Any = np.float64) -> dict[str, Any]:
    """A nested tree: a matrix, a transposed one, every other element of a vector, a scalar, an empty array."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return np.asarray(rng.standard_normal(shape)).astype(dtype)

    return {"layer": {"w": normal(3, 4), "t": normal(4, 3).T}, "list": [normal(6)[::2], normal()], "no": normal(0, 2)}


def native(backend: str, nested: Any) -> Any:
    """A tree of NumPy arrays as the backend's own, writable and unshared, their strides kept."""
    return optree.tree_map(lambda array: get_backend(backend).adopt(np.array(array, order="K")), nested)


def plain(backend: str, nested: Any) -> Any:
    """A tree of the backend's arrays as NumPy arrays, copied; numbers stay."""
    own = get_backend(backend)
    return optree.tree_map(lambda x: x if isinstance(x, int | float) else np.array(own.to_numpy(x)), nested)


def bits(nested: Any) -> str:
    """A tree of NumPy arrays and numbers bit by bit: dtypes, shapes, NaN and the signs of zeros count."""
    arrays, spec = optree.tree_flatten(nested)
    return repr([spec, *((str(np.asarray(x).dtype), np.shape(x), np.asarray(x).tobytes()) for x in arrays)])


def state_of(opt: Optimizer) -> str:
    """All that an optimizer keeps, bit by bit: parameters, slots, step."""
    return bits([plain(opt.backend.name, opt.params), opt.state_dict()])


def ulps(actual: Any, expected: Any, scale: float = 1.0) -> float:
    """The largest distance of two trees of NumPy arrays, in ULPs of max(|expected|, scale)."""
    worst = 0.0
    for a, e in zip(optree.tree_leaves(actual), optree.tree_leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (e.shape, e.dtype)
        worst = max(worst, float(np.max(distance(a, e, scale), initial=0.0)))
    return worst
