"""The axis `state_dtype`: state of float16 and bfloat16 parameters in float32, or rounded to the parameters' dtype."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
import torch
from optree import tree_leaves
from running_cases import BACKENDS, CASES, bits, make, native, plain, pure_step, rule_of, take, tree

import refopt
import refopt_jax
import refopt_torch
from refopt.engines.numba_engine import BACKEND as NUMBA
from refopt.engines.numpy_engine import BACKEND as NUMPY
from refopt.rules import RULES
from refopt.spec.errors import RefoptError

HALF = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]
WITH_STATE = [case for case in CASES if any(axis.storage for axis in RULES[rule_of(case)].axes)]
PURE = {"state_dtype": "parameter"}


def dtypes(slots: Any) -> set[str]:
    return {x.dtype.name for x in tree_leaves(slots) if hasattr(x, "dtype")}


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("case", WITH_STATE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_state_has_the_dtype_of_the_parameters(backend: str, case: str, dtype: np.dtype) -> None:
    opt = make(case, native(backend, tree(0, dtype)), backend=backend, **PURE)
    assert dtypes(plain(backend, opt.slots)) == {dtype.name}
    for seed in (1, 2):
        take(opt, native(backend, tree(seed, dtype)))
        assert dtypes(plain(backend, opt.slots)) == {dtype.name}


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("case", WITH_STATE)
def test_a_step_is_computed_in_float32_and_its_state_rounded_at_the_end(case: str, dtype: np.dtype) -> None:
    """The definition: a float32 step from the state as it is, parameters and state rounded once."""
    params, grads = tree(0, dtype), tree(1, dtype)
    hyper = make(case, params, **PURE).hyper
    params, state = pure_step(hyper, params, tree(2, dtype), refopt.init(hyper.rule, params, hyper))

    def wide(nested: Any) -> Any:
        return jax.tree.map(lambda x: np.asarray(x, np.float32) if hasattr(x, "dtype") else x, nested)

    kept = refopt.State(state.step, wide(dict(state.slots)))
    expected, after = pure_step(hyper, wide(params), wide(grads), kept)
    new, new_state = pure_step(hyper, params, grads, state)
    assert bits(new) == bits(jax.tree.map(lambda x: x.astype(dtype), expected))
    rounded = jax.tree.map(lambda x: x.astype(dtype) if hasattr(x, "dtype") else x, dict(after.slots))
    assert bits(dict(new_state.slots)) == bits(rounded)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize(
    "rule", [RULES[name] for name in dict.fromkeys(map(rule_of, WITH_STATE))], ids=lambda r: r.name
)
def test_numba_equals_numpy(rule: Any, dtype: np.dtype) -> None:
    """Bit for bit, in place, over twenty steps of a tree that has other dtypes too."""
    hyper, rng = rule.hyper(**PURE), np.random.default_rng(0)
    shapes = [((), dtype), ((3, 5), np.float32), ((40000,), dtype), ((0,), dtype)]

    def normal() -> list[np.ndarray]:
        return [np.asarray(rng.standard_normal(shape)).astype(kind) for shape, kind in shapes]

    ours = normal()
    theirs = [w.copy() for w in ours]
    slots, compiled = NUMPY.init(hyper, ours), NUMBA.init(hyper, theirs)
    for t in range(1, 21):
        grads = normal()
        if not hyper.program.reads_gradient:
            ours, theirs, grads = grads, [g.copy() for g in grads], None  # type: ignore[assignment]
        ours, slots = NUMPY.update(hyper, t, ours, grads, slots, in_place=True)
        theirs, compiled = NUMBA.update(hyper, t, theirs, grads, compiled, in_place=True)
        assert bits([ours, slots]) == bits([theirs, dict(compiled)]), t


@pytest.mark.parametrize("case", WITH_STATE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_other_parameters_do_not_notice(backend: str, case: str) -> None:
    results = []
    for options in ({}, PURE):
        opt = make(case, native(backend, tree(0, np.float32)), backend=backend, **options)
        take(opt, native(backend, tree(1, np.float32)))
        results.append(bits(plain(backend, [opt.params, dict(opt.slots)])))
    assert results[0] == results[1]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_saved_state_keeps_its_dtype_and_is_refused_elsewhere(tmp_path: Path, backend: str, suffix: str) -> None:
    def fresh(**options: str) -> Any:
        return make("adam", native(backend, tree(0, HALF[1])), backend=backend, **options)

    opt, file = fresh(**PURE), tmp_path / f"state{suffix}"
    take(opt, native(backend, tree(1, HALF[1])))
    opt.save(file)
    other = fresh(**PURE)
    other.load(file)
    assert bits(plain(backend, dict(other.slots))) == bits(plain(backend, dict(opt.slots)))
    with pytest.raises(RefoptError, match="made with state_dtype='parameter', this optimizer with state_dtype='float"):
        fresh().load(file)


def test_a_state_of_the_other_dtype_is_refused() -> None:
    params = tree(0, HALF[1])
    state = refopt.init("adam", params)
    with pytest.raises(RefoptError, match=r"slot 'm' of .* must be bfloat16 of shape .* got float32"):
        refopt.update("adam", params, tree(1, HALF[1]), state, **PURE)


def test_without_state_there_is_no_such_axis() -> None:
    with pytest.raises(RefoptError, match="state_dtype"):
        refopt.SGD(tree(0), **PURE)


def test_a_torch_optimizer_keeps_it_through_its_state_dict() -> None:
    hyper = RULES["adam"].hyper(lr=0.1, **PURE)
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    opt = refopt_torch.Optimizer([p], hyper)
    p.grad = torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16)
    opt.step()
    other = refopt_torch.Optimizer([p], hyper)
    other.load_state_dict(opt.state_dict())
    assert {name: x.dtype for name, x in other.state[p].items() if name != "step"} == {
        "m": torch.bfloat16,
        "v": torch.bfloat16,
    }
    with pytest.raises(RefoptError, match="axes"):
        refopt_torch.Optimizer([p], RULES["adam"].hyper(lr=0.1)).load_state_dict(opt.state_dict())


def test_an_optax_transformation_keeps_it() -> None:
    transform = refopt_jax.as_optax(RULES["adam"].hyper(lr=0.1, **PURE))
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    state = transform.init(params)
    updates, state = jax.jit(transform.update)(params, state, params)
    assert {x.dtype.name for x in jax.tree.leaves(state.slots)} == {"bfloat16"}
    assert optax.apply_updates(params, updates)["w"].dtype == jnp.bfloat16
