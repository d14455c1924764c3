"""What the JAX port promises beside its numbers: independence, what it compiles, untouched inputs, refusals."""

import ast
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from port_cases import hyper_of
from port_jax_cases import x64

import refopt_jax
from refopt.rules import RULES
from refopt.spec.errors import RefoptError, Unsupported
from refopt_jax.backend import BACKEND, compiled_step
from refopt_jax.optax_transform import RefoptState
from refopt_jax.ports import PORTS


@x64(False)
def test_says_what_it_compiles_and_what_not() -> None:
    """The suite's laws on compiled steps rest on these: a count that grows, and a mode in which no step is compiled."""
    hyper, params = hyper_of("adam"), [jnp.ones((2, 3, 5))]  # of a shape of its own
    slots, rate = BACKEND.init(hyper, params), hyper.replace(lr=0.5)

    def compiled_by(t: int, hyper: Any) -> tuple[int, int]:
        before = BACKEND.compilations(), compiled_step._cache_size()
        BACKEND.update(hyper, t, params, params, slots, in_place=False)
        return BACKEND.compilations() - before[0], compiled_step._cache_size() - before[1]

    with BACKEND.eager():
        operations, steps = compiled_by(1, hyper)
        assert operations > 1, "each operation is a program"
        assert steps == 0
    assert [compiled_by(t, hyper) for t, hyper in ((1, hyper), (1, hyper), (2, rate))] == [(1, 1), (0, 0), (0, 0)]


def test_parameters_of_one_shape_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []

    def update(axes: Any, c: Any, w: Any, g: Any, slots: Any) -> Any:
        traced.append(w.shape)
        return PORTS["sgd"].update(axes, c, w, g, slots)

    monkeypatch.setattr("refopt_jax.ports.PORTS", PORTS | {"sgd": PORTS["sgd"]._replace(update=update)})
    params = [jnp.ones(shape) for shape in ((5, 3, 7), (2, 11), (5, 3, 7), (5, 3, 7))]  # shapes of its own
    BACKEND.update(hyper_of("sgd"), 1, params, params, {}, in_place=False)
    assert sorted(traced) == [(2, 11), (5, 3, 7)]


@pytest.mark.parametrize("donate", [False, True])
@x64(False)
def test_donated_arrays_are_gone(donate: bool) -> None:
    params, grads = {"w": jnp.ones(3)}, {"w": jnp.ones(3)}
    transform = refopt_jax.as_optax(hyper_of("momentum"))

    def body(params: Any, state: Any, grads: Any) -> Any:
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state, expected = transform.init(params), body(params, transform.init(params), grads)
    found = BACKEND.compiled(body, donate=donate)(params, state, grads)
    assert jax.tree.map(jnp.array_equal, found, expected) == jax.tree.map(lambda x: True, expected)
    assert {x.is_deleted() for x in jax.tree.leaves((params, state))} == {donate}
    assert not grads["w"].is_deleted()


@pytest.mark.parametrize("in_place", [False, True])
@x64(False)
def test_inputs_are_left_alone(in_place: bool) -> None:
    hyper, caller = hyper_of("adam", decay="l2", amsgrad="raw"), np.ones(64, np.float32)
    params, grads = [BACKEND.adopt(caller)], [jnp.full(64, 2.0)]
    slots = BACKEND.init(hyper, params)
    new, _ = BACKEND.update(hyper, 1, params, grads, slots, in_place=in_place)
    caller[:] = 9  # what was adopted is a copy
    assert (params[0] == 1).all()
    assert (grads[0] == 2).all()
    assert all((slots[name][0] == 0).all() for name in slots)
    BACKEND.to_numpy(new[0])[:] = 0  # as is what is given out


def test_as_optax_composes_and_keeps_half_precision_updates_wide() -> None:
    transform = optax.inject_hyperparams(refopt_jax.as_optax, static_args=("hyper",))(
        hyper_of("lars"), learning_rate=0.1
    )
    chain = optax.chain(optax.clip_by_global_norm(1.0), transform)
    params = {"layers": [jnp.ones((2, 3)), jnp.ones(3, jnp.bfloat16)], "scale": jnp.float32(2)}
    updates, _ = jax.jit(chain.update)(params, chain.init(params), params)
    assert {u.dtype for u in jax.tree.leaves(updates)} == {np.dtype(np.float32)}
    new = optax.apply_updates(params, updates)
    assert jax.tree.map(lambda x: x.dtype, new) == jax.tree.map(lambda x: x.dtype, params)


OPTAX = {
    "chain": lambda adam: optax.chain(optax.clip_by_global_norm(1e9), adam),
    "masked": lambda adam: optax.masked(adam, {"w": True, "b": False}),
    "multi_transform": lambda adam: optax.multi_transform({"x": adam, "y": adam}, {"w": "x", "b": "y"}),
    "inject_hyperparams": lambda adam: optax.inject_hyperparams(refopt_jax.as_optax, static_args=("hyper",))(
        hyper_of("adam"), learning_rate=optax.constant_schedule(0.1)
    ),
    "MultiSteps": lambda adam: optax.MultiSteps(adam, 1).gradient_transformation(),
    "apply_if_finite": lambda adam: optax.apply_if_finite(adam, 3),
}


@pytest.mark.parametrize("wrapped", OPTAX)
@x64(False)
def test_what_optax_wraps_around_a_transformation_changes_nothing(wrapped: str) -> None:
    """Bit by bit: where there is a mask, on what it lets through."""
    adam, params = refopt_jax.as_optax(hyper_of("adam")), {"w": jnp.asarray([1.0, -2.0]), "b": jnp.asarray(0.5)}

    def run(transform: Any) -> Any:
        def body(carry: Any, rate: Any) -> Any:
            params, state = carry
            updates, state = transform.update(jax.tree.map(lambda w: rate * w, params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(body, (params, transform.init(params)), jnp.asarray([0.5, -1.0, 2.0]))[0][0]

    found, expected = run(OPTAX[wrapped](adam)), run(adam)
    for name in ("w",) if wrapped == "masked" else ("w", "b"):
        np.testing.assert_array_equal(found[name], expected[name], strict=True)


def optax_of(rule: str, params: Any, grads: Any) -> Any:
    transform = refopt_jax.as_optax(hyper_of(rule))
    return transform.update(grads, transform.init(params), params)


def step_of(rule: str = "sgd", params: Any = None, grads: Any = None, **axes: str) -> Any:
    hyper, params = hyper_of(rule, **axes), [jnp.ones(3)] if params is None else params
    return BACKEND.update(hyper, 1, params, grads, BACKEND.init(hyper, params), in_place=False)


REFUSALS = {
    "a float64 array would be rounded": (lambda: BACKEND.adopt(np.ones(3)), Unsupported, "jax_enable_x64"),
    "integers": (lambda: BACKEND.adopt(np.ones(3, int)), Unsupported, "int64"),
    "a list is no array": (lambda: BACKEND.adopt([1.0]), Unsupported, "cannot adopt a list"),
    "no such device": (lambda: BACKEND.adopt(np.ones(3, np.float32), "tpu:9"), Unsupported, "choose from .*cpu"),
    "assignment": (lambda: BACKEND.assign([], []), Unsupported, "cannot be written to"),
    "NumPy arrays are adopted first": (lambda: step_of(grads=[np.ones(3)]), Unsupported, "adopt"),
    "missing gradients": (lambda: step_of(), RefoptError, "needs gradients"),
    "needless gradients": (lambda: step_of("ema", grads=[jnp.ones(3)]), RefoptError, "reads no gradient"),
    "too few gradients": (lambda: step_of(grads=[]), RefoptError, "0 gradients for 1 parameters"),
    "another shape": (lambda: step_of(grads=[jnp.ones(1)]), RefoptError, r"shape \(1,\)"),
    "an integer gradient": (lambda: step_of(grads=[jnp.ones(3, int)]), Unsupported, "int32"),
    "an average of sgd": (lambda: BACKEND.average(hyper_of("sgd"), 1, [], {}), Unsupported, "no average"),
    "ema in optax": (lambda: refopt_jax.as_optax(hyper_of("ema")), Unsupported, "transforms no gradients"),
    "a negative lr": (lambda: refopt_jax.as_optax(hyper_of("sgd"), -1.0), RefoptError, "lr must be in"),
    "a negative lr from NumPy": (
        lambda: refopt_jax.as_optax(hyper_of("sgd"), np.float32(-1)),
        RefoptError,
        "lr must be in",
    ),
    "an lr in quotes": (lambda: refopt_jax.as_optax(hyper_of("sgd"), "0.1"), RefoptError, "not a number"),
    "a name for a hyper": (lambda: refopt_jax.as_optax("sgd"), RefoptError, "made by a rule"),
    "complex parameters": (lambda: optax_of("adam", *[[jnp.ones(1, complex)]] * 2), Unsupported, "complex='parts'"),
    "slots of integers": (lambda: optax_of("adam", *[[jnp.ones(1, int)]] * 2), Unsupported, "int32 parameters are not"),
    "no gradient": (lambda: optax_of("sgd", {"a": jnp.ones(1)}, {"a": None}), RefoptError, "the tree of params"),
    "optax without params": (
        lambda: refopt_jax.as_optax(hyper_of("sgd")).update(1.0, RefoptState(jnp.zeros((), int), {}, {})),
        RefoptError,
        "needs the parameters",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS.values(), ids=REFUSALS)
@x64(False)
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("dtype", "device", "reason"),
    [
        ("float32", None, None),
        ("float16", "cpu", None),
        ("bfloat16", "cpu:0", None),
        ("float64", None, "jax_enable_x64"),
        ("complex64", None, None),
        ("complex128", None, "jax_enable_x64"),
        ("int32", None, "int32 parameters are not supported"),
        ("float32", "nowhere", "no device 'nowhere'"),
    ],
)
@x64(False)
def test_supports(dtype: str, device: str | None, reason: str | None) -> None:
    answer = BACKEND.supports(hyper_of("sgd"), dtype, device)
    assert answer is None if reason is None else reason in str(answer)


@x64(True)
def test_float64_is_supported_under_x64() -> None:
    assert BACKEND.supports(hyper_of("sgd"), "float64") is None
    assert BACKEND.adopt(np.ones(2)).dtype == np.float64


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_port_knows_just_the_choices_that_the_rule_declares(rule: Any) -> None:
    assert dict(PORTS[rule.name].choices) == {axis.name: axis.choices for axis in rule.axes}


ALLOWED = {"refopt.spec.backend", "refopt.spec.declare", "refopt.spec.errors", "refopt.spec.hyper"}


@pytest.mark.parametrize("path", sorted(Path(refopt_jax.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_the_port_is_a_witness(path: Path) -> None:
    """It imports nothing that runs the reference, and reads no source of a specialised rule."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert {name for name in names if name.split(".")[0] == "refopt"} <= ALLOWED
        assert not (isinstance(node, ast.Attribute) and node.attr in {"function", "lines", "text", "evaluate"})
