"""The JAX port agrees with the reference's specialised source, run in float64."""

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from port_cases import FIRST, JAX_EPS, hyper_of, name_of, varied
from port_jax_cases import DIALECTS, assert_step_agrees, normal, port, reference, slots_at, ulps, x64

import refopt
import refopt_jax
from refopt.rules import RULES
from refopt.spec.hyper import Hyper
from refopt_jax._shared import norm, one_minus_power
from refopt_jax.backend import BACKEND
from refopt_jax.optax_transform import RefoptState


@pytest.mark.parametrize("hyper", list(varied(1)), ids=name_of)
@x64(True)
def test_every_choice_of_every_axis_agrees_with_the_reference(hyper: Hyper) -> None:
    rng = np.random.default_rng(0)
    # lars sees whole tensors: a zero parameter (the second), a zero gradient (the third), a vector.
    like = [((3, 4), "float64")] * (3 if hyper.rule.name == "lars" else 1)
    like += [((5,), "float32")] if hyper.rule.name == "lars" else []
    # At first no decay, so that the velocity can be zero; at last a trust ratio above the clip.
    for t, changes in (1, {"wd": 0.0}), (2, {}), (7, {"tc": 0.5}):
        now = hyper.replace(**{name: value for name, value in changes.items() if name in hyper.read})
        params, grads = normal(rng, *like), normal(rng, *like)
        params[0][0, :2] = grads[0][0, 1:3] = 0
        if hyper.rule.name == "lars":
            params[1][:] = grads[2][:] = 0
        assert_step_agrees(now, t, params, grads, slots_at(now, t, params, rng))


@pytest.mark.parametrize("hyper", DIALECTS.values(), ids=DIALECTS)
@x64(False)
def test_without_x64_float32_agrees_and_half_precision_is_float32_rounded_once(hyper: Hyper) -> None:
    rng = np.random.default_rng(1)
    halves = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
    like = [((3, 4), "float32"), ((), "float32"), ((0, 3), "float32")]
    for t in (1, 2, 1000):
        params, grads = normal(rng, *like), normal(rng, *like)
        # Values that all of float32, float16 and bfloat16 have, as the first parameter and again as the last two.
        for arrays in (params, grads):
            arrays[0] = np.round(arrays[0] * 32) / np.float32(32)
            arrays += [arrays[0].astype(dtype) for dtype in halves]
        slots = slots_at(hyper, t, params, rng)
        for old in slots.values():
            if not isinstance(old, float):
                old[3:] = [old[0], old[0]]
        count = len(like)
        first = {k: v if isinstance(v, float) else v[:count] for k, v in slots.items()}
        assert_step_agrees(hyper, t, params[:count], grads[:count], first)
        new, after = port(hyper, t, params, grads, slots)
        for i, dtype in enumerate(halves, start=count):
            np.testing.assert_array_equal(new[i], new[0].astype(dtype))
            for name, old in slots.items():
                if not isinstance(old, float):
                    assert after[name][i].dtype == np.float32
                    # Where a decay is not dyadic, one kernel may round a product that another contracts (FMA).
                    assert ulps(after[name][i], after[name][0], old[0], scale=1) <= 1


@pytest.mark.parametrize("debias", RULES["ema"].axis("debias").choices)
@x64(True)
def test_average_agrees_in_the_parameters_dtypes(debias: str) -> None:
    hyper, rng = hyper_of("ema", debias=debias), np.random.default_rng(2)
    params = normal(rng, ((3,), "float64"), ((2, 2), "float32"), ((2, 2), ml_dtypes.bfloat16))
    slots = {"m": [np.asarray(w, np.float64 if w.dtype == np.float64 else np.float32) for w in params]}
    for t in (0, 1, 7):
        mine = {"m": [BACKEND.adopt(m) for m in slots["m"]]}
        averages = BACKEND.average(hyper, t, [BACKEND.adopt(w) for w in params], mine)
        for w, m, a in zip(params, slots["m"], averages, strict=True):
            expected = reference(hyper.program.evaluate, hyper.values, t, {"m": m})["a"]
            actual = BACKEND.to_numpy(a)
            assert actual.dtype == w.dtype
            if w.dtype == ml_dtypes.bfloat16:
                np.testing.assert_array_equal(actual, np.asarray(expected, np.float32).astype(w.dtype))
            else:
                assert ulps(actual, expected, m, scale=0) <= JAX_EPS


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 - 2.0**-10])
@x64(False)
def test_one_minus_power_is_accurate_in_a_float32_trace(beta: float) -> None:
    correction = jax.jit(lambda t: one_minus_power(beta, t))
    for t in (1, 2, 10, 100, 1000, 2049):
        exact = -np.expm1(t * np.log(beta)) if beta else 1.0
        assert abs(float(correction(np.float32(t))) - exact) <= 3 * np.spacing(np.float32(exact)), t
    before_the_first = np.asarray(correction(np.float32(0)))
    assert before_the_first == 0
    assert not np.signbit(before_the_first)  # a division by it must give +infinity


@pytest.mark.parametrize("shape", [(), (0, 3), (31,), (10, 10, 10), (50, 50), (4097,)])
@pytest.mark.parametrize("size", [1.0, 1e30, 1e-30, 0.0, np.inf, np.nan])
@x64(False)
def test_norm_is_accurate_in_float32_and_does_not_overflow(shape: tuple[int, ...], size: float) -> None:
    x = np.full(shape, 0.1 * size, np.float32)
    expected = np.sqrt(np.sum(x.astype(np.float64) ** 2))
    assert ulps(np.asarray(norm(jnp.asarray(x))), expected, 0, scale=1e-38) <= JAX_EPS


# The first rules' dialects; of the others the paper's, and those that keep numbers of the model.
AS_OPTAX = [
    *[h for h in DIALECTS.values() if h.program.reads_gradient],
    *[rule.hyper() for rule in RULES.values() if rule not in FIRST and rule.algorithm == rule.name],
    *[
        RULES[name].hyper(dialect)
        for name in ("schedule_free", "schedule_free_adamw")
        for dialect in ("optax", "facebook")
    ],
    RULES["prodigy"].hyper("optax"),
    RULES["asgd"].hyper("torch"),
]


@pytest.mark.parametrize("hyper", AS_OPTAX, ids=name_of)
@x64(False)
def test_as_optax_agrees_with_the_backend_under_a_schedule(hyper: Hyper) -> None:
    other = (2, 1) if hyper.rule.name == "muon" else ()  # which takes matrices alone
    rng, like = np.random.default_rng(3), [((3, 4), "float32"), (other, "float32")]
    tree = jax.tree.map(jnp.asarray, dict(zip("wb", normal(rng, *like), strict=True)))
    rates = [0.1, 0.2, 0.05, 0.0, 0.1]
    transform = refopt_jax.as_optax(hyper, lambda count: jnp.asarray(rates)[count])
    step = jax.jit(transform.update)
    state, params = transform.init(tree), [tree["b"], tree["w"]]
    slots = BACKEND.init(hyper, params)
    for t, lr in enumerate(rates, start=1):
        grads = dict(zip("wb", normal(rng, *like), strict=True))
        updates, state = step(grads, state, tree)
        tree = optax.apply_updates(tree, updates)
        given = [jnp.asarray(grads["b"]), jnp.asarray(grads["w"])]
        params, slots = BACKEND.update(hyper.replace(lr=lr), t, params, given, slots, in_place=False)
    assert int(state.count) == len(rates)
    assert step._cache_size() == 1
    for name, mine in [("b", params[0]), ("w", params[1])]:
        assert ulps(np.asarray(tree[name]), mine, 0, scale=1) <= JAX_EPS
        for slot, arrays in state.slots.items():
            assert ulps(np.asarray(arrays[name]), slots[slot][name == "w"], 0, scale=1) <= JAX_EPS


@pytest.mark.parametrize(
    ("rule", "theirs"),
    [("schedule_free", optax.contrib.schedule_free_sgd), ("schedule_free_adamw", optax.contrib.schedule_free_adamw)],
)
@x64(True)
def test_given_a_schedule_optax_weighs_an_iterate_by_the_next_rate(rule: str, theirs: Any) -> None:
    """As the reference does with weight=lr_next, and as_optax; and not as it does given the same rates one by one."""
    rates = [0.1, 0.3, 0.2, 0.5, 0.4, 0.4]
    hyper = RULES[rule].hyper("optax", weight="lr_next")
    transforms = [
        make(lambda count: jnp.asarray(rates)[count]) for make in (theirs, partial(refopt_jax.as_optax, hyper))
    ]
    trees = [jnp.asarray([1.0, -2.0])] * 2
    states = [transform.init(tree) for transform, tree in zip(transforms, trees, strict=True)]
    ours = now = [np.array([1.0, -2.0])]
    kept, kept_now = refopt.init(rule, ours, hyper), refopt.init(rule, now, hyper.replace(weight="lr_max"))
    for t, (lr, lr_next) in enumerate(pairwise(rates), start=1):
        g = np.array([0.3 * t, 0.1 * t - 0.7])
        for i, transform in enumerate(transforms):
            updates, states[i] = transform.update(jnp.asarray(g), states[i], trees[i])
            trees[i] = optax.apply_updates(trees[i], updates)
        ours, kept = refopt.update(rule, ours, [g], kept, hyper.replace(lr=lr, lr_next=lr_next))
        now, kept_now = refopt.update(rule, now, [g], kept_now, hyper.replace(weight="lr_max", lr=lr))
    for tree in trees:
        np.testing.assert_allclose(tree, ours[0], rtol=1e-13)
    assert not np.allclose(now[0], ours[0], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", [{}, {"eps_at": "outside_raw"}, {"power": "product"}, {"first_t": "0"}], ids=str)
def test_as_optax_corrects_the_bias_at_every_step(axes: dict[str, str], dtype: str) -> None:
    """From w = 0, where the parameter is the update."""
    hyper = RULES["adam"].hyper(beta1=0.875, beta2=1 - 2.0**-10, **axes)  # dyadic: their powers round alike everywhere
    values, rng = hyper.values, np.random.default_rng(4)
    g, m = normal(rng, *[((8,), dtype)] * 2)
    state = {"w": np.zeros_like(g), "g": g, "m": m, "v": g[::-1] ** 2}
    with x64(dtype == "float64"):
        step = jax.jit(refopt_jax.as_optax(hyper).update)
        for t in (1, 2, 10, 100, 1000, 2049):
            mine = {name: jnp.asarray(array) for name, array in state.items()}
            before = RefoptState(jnp.asarray(t - 1, jnp.int32), {"m": mine["m"], "v": mine["v"]}, {})
            update, _ = step(mine["g"], before, mine["w"])
            products = {"p1": values["beta1"] ** (t - 1), "p2": values["beta2"] ** (t - 1)}
            expected = reference(hyper.program, values, t, {**state, **products})["w"]
            assert update.dtype == dtype
            assert ulps(np.asarray(update), expected, 0, scale=0) <= JAX_EPS, f"t={t}"
