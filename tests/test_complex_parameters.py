"""Complex parameters, run on every backend, by their parts or by the modulus; refused where nobody has said."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import refopt
import refopt_jax
import refopt_torch
from refopt.clocks import of_model
from refopt.rules import RULES
from refopt.selection import get_backend
from refopt.spec.complex_numbers import by_modulus, readable
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper, variants
from refopt_conformance.distance import distance

BACKENDS = ("numpy", "numba", "torch", "jax")
STEPS = 4
ROUNDINGS = 8 * STEPS  # ULPs of what moves, the rate or more: some operations round otherwise at each step
MAKE: Mapping[str, Callable[[np.ndarray], Any]] = {"torch": torch.tensor, "jax": jnp.asarray}


@pytest.fixture(autouse=True)
def x64() -> Any:
    with jax.enable_x64(True):
        yield


def drawn(seed: int, *shape: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal(shape) + 1j * random.standard_normal(shape)


def tree(seed: int) -> dict[str, np.ndarray]:
    """A matrix and a number of complex numbers, and real ones beside them."""
    return {"z": drawn(seed, 3, 4), "one": drawn(seed + 50, 1)[0].reshape(()), "w": drawn(seed + 90, 5).real.copy()}


def pairs(array: np.ndarray) -> np.ndarray:
    return np.stack([array.real, array.imag], -1) if np.iscomplexobj(array) else array


def run(rule: str, backend: str, of: Callable[[np.ndarray], np.ndarray] = np.array, **options: Any) -> dict[str, Any]:
    """The parameters after some steps, as NumPy arrays; `of` is what is made of parameters and gradients before."""
    make = MAKE.get(backend, np.array)
    optimizer = refopt.Optimizer(rule, {k: make(of(w)) for k, w in tree(0).items()}, backend=backend, **options)
    for t in range(1, STEPS + 1):
        optimizer(0.1, {k: make(of(g)) for k, g in tree(t).items()})
    return {k: np.asarray(w) for k, w in optimizer.params.items()}


def by_parts(rule: str) -> dict[str, str]:
    return {"complex": "parts"} if any(axis.name == "complex" for axis in RULES[rule].axes) else {}


TAKING = [name for name, rule in RULES.items() if readable(rule.hyper().program) and not rule.average]


# The rule's own code sees pairs alone: of the port that compiles, one rule of each kind.
KINDS = {"jax": ("adam", "lars", "novograd", "prodigy", "schedule_free")}


@pytest.mark.parametrize(
    ("rule", "backend"), [(rule, one) for one in BACKENDS for rule in TAKING if rule in KINDS.get(one, TAKING)]
)
def test_by_parts_they_are_pairs_of_real_numbers(rule: str, backend: str) -> None:
    found = run(rule, backend, **by_parts(rule))
    wanted = run(rule, backend, pairs)
    for name, w in found.items():
        assert np.iscomplexobj(w) == (name != "w")
        np.testing.assert_array_equal(pairs(w), wanted[name], strict=True)


def test_an_axis_says_what_they_are_just_where_there_is_a_question() -> None:
    """Where parts and modulus are one program under all axes, there is none."""
    for rule in RULES.values():
        programs = [rule.hyper(**axes).program for axes in variants(rule)]
        some = [program for program in programs if readable(program)]
        differ = any((other := by_modulus(one)) is None or other.code != one.code for one in some)
        asks = any(axis.name == "complex" for axis in rule.axes)
        assert asks == (differ and len(some) == len(programs)), rule.name


# What optax has by the modulus, and refopt's dialect of it. In float64, where both round differently in the last bits.
OPTAX: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "nadam": optax.nadam,
    "adamax": optax.adamax,
    "adabelief": optax.adabelief,
    "lamb": optax.lamb,
    "lion": lambda lr: optax.lion(lr, weight_decay=0.0),
    "rmsprop": optax.rmsprop,
    "adagrad": optax.adagrad,
    "yogi": optax.yogi,
}


@pytest.mark.parametrize("rule", OPTAX)
def test_by_the_modulus_they_are_what_optax_takes_them_for(rule: str) -> None:
    transform = OPTAX[rule](0.1)
    params: Any = {k: jnp.asarray(w) for k, w in tree(0).items()}
    state = transform.init(params)
    for t in range(1, STEPS + 1):
        updates, state = transform.update({k: jnp.asarray(g) for k, g in tree(t).items()}, state, params)
        params = optax.apply_updates(params, updates)
    found = run(rule, "numpy", dialect="optax", **({"wd": 0.0} if rule == "lion" else {}))
    parts = run(rule, "numpy", dialect="optax", complex="parts", **({"wd": 0.0} if rule == "lion" else {}))
    for name, w in found.items():
        assert distance(pairs(w), pairs(np.asarray(params[name])), scale=0.1).max() <= ROUNDINGS, name
    assert not np.array_equal(found["z"], parts["z"])  # and not what the parts are
    np.testing.assert_array_equal(found["w"], parts["w"])  # real numbers do not ask


# The plain rules, and choices that square, measure or begin in ways of their own.
BY_MODULUS: list[tuple[str, dict[str, Any]]] = [
    *[(rule, {}) for rule in TAKING if by_parts(rule) and rule not in ("rprop", "prodigy")],
    ("adam", {"amsgrad": "corrected", "decay": "l2", "eps_at": "inside_raw"}),
    ("rmsprop", {"init": "ones", "centered": "yes", "velocity": "nesterov"}),
    ("adamax", {"eps_at": "gradient"}),
    ("adabelief", {"eps_in": "kept", "amsgrad": "raw"}),
    ("adan", {"start": "corrected", "first_difference": "gradient"}),
    ("yogi", {"starts_at": "both"}),
    ("yogi", {"starts_at": "gradient"}),
    ("lamb", {"grad_clip": "max", "eps_at": "both"}),
    ("prodigy", {"d0": 0.1}),
]


def complex_alone(array: np.ndarray) -> np.ndarray:
    """Where a rule adds over the model, real and complex parameters cannot be stepped apart."""
    return array.astype(complex)


@pytest.mark.parametrize("backend", ["numba", "torch", "jax"])
@pytest.mark.parametrize(("rule", "axes"), BY_MODULUS)
def test_every_backend_has_the_modulus(rule: str, axes: dict[str, Any], backend: str) -> None:
    of = complex_alone if of_model(RULES[rule].hyper(**axes, complex="modulus").program) else np.array
    found = run(rule, backend, of, **axes, complex="modulus")
    for name, w in run(rule, "numpy", of, **axes, complex="modulus").items():
        if backend == "numba":
            assert found[name].tobytes() == w.tobytes()
        else:
            assert distance(pairs(found[name]), pairs(w), scale=0.1).max() <= ROUNDINGS, name


REFUSED: list[tuple[str, str, dict[str, str], str]] = [
    *[(one, "adam", {}, "which differ; choose complex='parts' or complex='modulus'") for one in BACKENDS],
    *[("numpy", rule, {}, "optimise real and imaginary parts as two arrays") for rule in ("muon", "sm3", "adafactor")],
    ("numpy", "adafactor", {"factored": "no", "scale": "no"}, "has no update of complex parameters under these axes"),
    ("numpy", "lars", {"when": "matrices"}, "has no update of complex parameters under these axes"),
    *[(one, "rprop", {"complex": "modulus"}, "cannot be read by the modulus under these axes") for one in BACKENDS],
    *[(one, "prodigy", {"complex": "modulus"}, "adds over all of them; choose complex='parts'") for one in BACKENDS],
]


@pytest.mark.parametrize(("backend", "rule", "axes", "why"), REFUSED)
def test_refusals(backend: str, rule: str, axes: dict[str, str], why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        run(rule, backend, **axes)


def test_a_backend_that_knows_of_no_pairs_is_refused() -> None:
    class Old(type(get_backend("numpy"))):  # type: ignore[misc]  # a class that is asked for by its object
        as_pairs = property()  # an AttributeError, as of a backend that lacks it

    from refopt.running.complex_leaves import check_complex

    with pytest.raises(Unsupported, match="it has no as_pairs and as_complex, and takes no complex parameters"):
        check_complex(Old(), RULES["sgd"].hyper(), [drawn(0, 2)])


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_arrays_of_any_layout_change_in_place(backend: str) -> None:
    whole = drawn(0, 6, 8)
    view = (torch.from_numpy(whole) if backend == "torch" else whole)[::2].T
    given = [view, view.conj()] if backend == "numpy" else [view]
    straight = refopt.SGD([np.asarray(w).copy() for w in given])
    straight(0.5, [np.ones(w.shape, complex) * 1j for w in given])
    optimizer = refopt.SGD(given, backend=backend)
    grads = [np.ones(w.shape, complex) * 1j for w in given]
    optimizer(0.5, [torch.from_numpy(g) for g in grads] if backend == "torch" else grads)
    np.testing.assert_array_equal(whole[::2].T, straight.params[0])
    for w, wanted in zip(given, straight.params, strict=True):
        np.testing.assert_array_equal(np.asarray(w), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_state_is_that_of_the_pairs_and_can_be_saved(backend: str) -> None:
    make = MAKE.get(backend, np.array)
    options: dict[str, Any] = {"dialect": "torch", "backend": backend}
    first = refopt.Adam({"z": make(drawn(0, 3))}, **options)
    first(0.1, {"z": make(drawn(1, 3))})
    assert tuple(first.slots["m"]["z"].shape) == (3, 2)
    second = refopt.Adam({"z": make(np.asarray(first.params["z"]))}, **options)
    second.load_state_dict(first.state_dict())
    third = copy.deepcopy(first)
    for one in (first, second, third):
        one(0.1, {"z": make(drawn(2, 3))})
    for one in (second, third):
        np.testing.assert_array_equal(np.asarray(one.params["z"]), np.asarray(first.params["z"]), strict=True)


def test_pure_steps_and_averages() -> None:
    params, options = {"z": drawn(0, 3), "w": drawn(1, 2).real}, {"dialect": "torch", "lr": 0.1}
    state = refopt.init("adam", params, **options)
    new, state = refopt.update("adam", params, {"z": drawn(2, 3), "w": drawn(3, 2).real}, state, **options)
    assert (new["z"].dtype, new["z"].shape, state.slots["v"][1].shape) == (np.complex128, (3,), (3, 2))
    refopt.update("adam", new, new, state, **options)
    with pytest.raises(RefoptError, match=r"must be float64 of shape \(3, 2\); got float64 of shape \(3,\)"):
        refopt.update("adam", {**new, "z": new["z"].reshape(3, 1)[:, 0]}, new,
                      refopt.init("adam", {"z": new["z"].real, "w": new["w"]}, **options), **options)  # fmt: skip

    w = {"z": np.array([4 + 8j])}
    ema = refopt.ExponentialMovingAverage(w, momentum=0.5)
    ema()
    assert ema.refs_and_values()[1]["z"].tolist() == [2 + 4j]
    assert ema.replace_vars(lambda: w["z"].tolist())() == [2 + 4j]
    assert w["z"].tolist() == [4 + 8j]


def by_torch(
    make: Callable[[list[torch.Tensor]], torch.optim.Optimizer], *, reloaded: bool = False
) -> list[np.ndarray]:
    """The parameters after some steps of a torch optimizer; at each its state is saved and loaded, if `reloaded`."""
    params = [torch.tensor(w, requires_grad=True) for w in tree(0).values()]
    optimizer = make(params)
    for t in range(1, STEPS + 1):
        for p, g in zip(params, tree(t).values(), strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        if reloaded:
            saved, optimizer = optimizer.state_dict(), make(params)
            optimizer.load_state_dict(saved)
    return [p.detach().numpy() for p in params]


def by_optax(hyper: Hyper) -> list[np.ndarray]:
    transform = refopt_jax.as_optax(hyper)
    params: Any = [jnp.asarray(w) for w in tree(0).values()]
    state = transform.init(params)
    for t in range(1, STEPS + 1):
        updates, state = transform.update([jnp.asarray(g) for g in tree(t).values()], state, params)
        params = optax.apply_updates(params, updates)
    return [np.asarray(w) for w in params]


def assert_near(found: Iterable[np.ndarray], wanted: Iterable[np.ndarray]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert distance(pairs(a), pairs(b), scale=0.1).max() <= ROUNDINGS


def test_torch_and_optax_take_them_natively() -> None:
    """As torch.optim.Adam does, with the state saved and loaded on the way."""
    hyper = RULES["adam"].hyper("torch", lr=0.1)
    wanted = by_torch(lambda params: torch.optim.Adam(params, lr=0.1))
    assert_near(by_torch(lambda params: refopt_torch.Optimizer(params, hyper), reloaded=True), wanted)
    assert_near(by_optax(hyper), wanted)


@pytest.mark.parametrize("rule", ["adam", "adamax", "prodigy", "lamb"])
def test_natively_each_parameter_is_what_it_is(rule: str) -> None:
    """By the modulus, with real ones beside: torch's and optax's steps are each other's, and not those of parts."""
    axes = {"grad_clip": "max"} if rule == "lamb" else {}
    hyper = RULES[rule].hyper(**axes, complex="modulus", lr=0.1)
    ours = by_torch(lambda params: refopt_torch.Optimizer(params, hyper))
    parts = by_torch(lambda params: refopt_torch.Optimizer(params, hyper.replace(complex="parts")))
    assert_near(by_optax(hyper), ours)
    assert not np.array_equal(ours[0], parts[0])
    if not of_model(hyper.program):  # else the reference has one way for all parameters
        np.testing.assert_array_equal(ours[2], parts[2])
        assert_near(ours, run(rule, "numpy", complex="modulus").values())


def test_natively_too_somebody_has_to_say() -> None:
    unsaid = refopt_jax.as_optax(RULES["adam"].hyper())
    with pytest.raises(Unsupported, match="choose complex='parts'"):
        unsaid.init([jnp.ones(2, complex)])
