"""The exponential moving average: what it averages, what it evaluates with, and that the parameters come back."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from optree import tree_leaves, tree_map
from running_cases import IN_PLACE, bits, native, plain, tree, ulps

import refopt
from refopt.spec.errors import RefoptError, Unsupported
from refopt_conformance.budgets import BUDGETS, ONE_STEP

MU, EPS = 0.75, 0.125


def average_of(backend: str, seeds: list[int], **options: Any) -> tuple[Any, Any]:
    """(the parameters, the averages) after being given the trees of these seeds."""
    ema = refopt.ExponentialMovingAverage(native(backend, tree(0)), MU, **options)
    for seed in seeds:
        ema(native(backend, tree(seed)))
    refs, values = ema.refs_and_values()
    return plain(backend, refs), plain(backend, values)


DEBIAS: list[tuple[dict[str, Any], float]] = [  # options, and what two steps are divided by
    ({}, 1.0),
    ({"debias": False}, 1.0),
    ({"debias": False, "dialect": "objax"}, 1.0),
    ({"debias": "none"}, 1.0),
    ({"debias": True}, 1 - MU**2),
    ({"debias": "standard"}, 1 - MU**2),
    ({"debias": True, "dialect": "objax"}, 1 - (1 - 1e-6) * MU**2),
    ({"debias": True, "eps": EPS}, 1 - (1 - EPS) * MU**2),
    ({"debias": "objax", "eps": EPS}, 1 - (1 - EPS) * MU**2),
]


@pytest.mark.parametrize(("options", "divisor"), DEBIAS, ids=str)
def test_debias(backend: str, options: dict[str, Any], divisor: float) -> None:
    refs, values = average_of(backend, [1, 2], **options)
    by_hand = tree_map(lambda a, b: (MU * (1 - MU) * a + (1 - MU) * b) / divisor, tree(1), tree(2))
    assert bits(refs) == bits(tree(2))
    assert ulps(values, by_hand) <= 4


@pytest.mark.parametrize(
    "options", [{}, {"debias": True, "dialect": "objax"}, {"debias": True}, {"init": "params"}], ids=str
)
def test_before_the_first_update_the_formula_holds(backend: str, options: dict[str, Any]) -> None:
    """An average of nothing is 0, or 0/0 where the start at zero is divided out without an eps."""
    refs, values = average_of(backend, [], **options)
    expected = {"{}": 0.0, "{'debias': True}": np.nan}.get(str(options), 0.0)
    assert bits(refs) == bits(tree(0))
    for value, w in zip(tree_leaves(values), tree_leaves(tree(0)), strict=True):
        np.testing.assert_array_equal(value, w if "init" in options else np.full_like(w, expected))


def test_it_reads_its_arrays_as_they_are_now(backend: str) -> None:
    params = native(backend, {"w": np.array([1.0, 2.0])})
    ema = refopt.ExponentialMovingAverage(params, 0.5)
    if backend not in IN_PLACE:
        with pytest.raises(
            RefoptError, match=r"jax arrays do not change in place; pass the new parameters: ema\(params\)"
        ):
            ema()
        assert ema.step == 0
        return
    ema()
    params["w"] *= 2
    ema()
    refs, values = ema.refs_and_values()
    assert refs["w"] is params["w"]
    assert plain(backend, values)["w"].tolist() == [1.25, 2.5]
    assert plain(backend, params)["w"].tolist() == [2.0, 4.0]


def test_new_parameters_must_be_like_the_old_and_change_nothing_otherwise(backend: str) -> None:
    ema = refopt.ExponentialMovingAverage(native(backend, [np.ones(2)]))
    ema(native(backend, [np.ones(2)]))
    before = bits([ema.state_dict(), plain(backend, ema.params)])
    for params, message in [
        ([np.ones(3)], r"params\[0\] must have the shape of its parameter, \(2,\); got \(3,\)"),
        ([np.ones(2, np.float32)], r"params\[0\] must have the dtype of its parameter, float64; got float32"),
        ([np.ones(2), np.ones(2)], "params must have the tree of params"),
        ([[1.0, 2.0]], "params must have the tree of params"),
        ([1.0], r"params\[0\] is a float, not an array"),
    ]:
        with pytest.raises(RefoptError, match=message):
            ema(params)
        assert bits([ema.state_dict(), plain(backend, ema.params)]) == before


@pytest.mark.parametrize("backend", IN_PLACE, indirect=True)
@pytest.mark.parametrize("given", [False, True], ids=["the first arrays", "arrays that were given since"])
def test_replace_vars_shows_the_averages_and_restores_the_parameters(backend: str, given: bool) -> None:
    params = native(backend, tree(0))
    ema = refopt.ExponentialMovingAverage(params, MU, debias=True)
    if given:
        params = native(backend, tree(1))
    ema(params)
    ema(params) if given else ema()
    expected, before = bits(plain(backend, ema.refs_and_values()[1])), bits(plain(backend, params))

    def look(*args: Any, fail: bool = False) -> Any:
        """Look."""
        if fail:
            raise ZeroDivisionError
        return bits(plain(backend, params)), args

    looking = ema.replace_vars(look)
    assert looking.__doc__ == "Look."
    assert looking(1, 2) == (expected, (1, 2))
    assert bits(plain(backend, params)) == before
    with pytest.raises(ZeroDivisionError):
        looking(fail=True)
    assert bits(plain(backend, params)) == before


def test_replace_vars_refuses_what_cannot_be_replaced() -> None:
    jnp = pytest.importorskip("jax.numpy", reason="jax is not installed, whose arrays these are")
    with pytest.raises(Unsupported, match=r"call f with ema\.refs_and_values\(\)\[1\] instead"):
        refopt.ExponentialMovingAverage([jnp.ones(2)]).replace_vars(print)
    locked = np.ones(2)
    locked.flags.writeable = False
    ema = refopt.ExponentialMovingAverage([locked])
    ema()  # an average writes to no parameter
    with pytest.raises(RefoptError, match=r"params\[0\] is read-only"):
        ema.replace_vars(print)()


def test_a_whole_torch_model_is_evaluated_with_its_averages() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose model this is")
    model = torch.nn.Linear(2, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    ema = refopt.ExponentialMovingAverage(model.parameters(), 0.5)
    ema()
    evaluate = ema.replace_vars(model)
    assert evaluate(torch.ones(1, 2)).item() == 1.0
    assert model(torch.ones(1, 2)).item() == 2.0
    assert not hasattr(evaluate, "_parameters")
    assert model.weight.requires_grad


def test_torch_tensors_that_a_graph_computed_are_restored_as_well() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose tensors these are")
    w = torch.ones(2, requires_grad=True) * 2
    ema = refopt.ExponentialMovingAverage([w], 0.5)
    ema()
    assert ema.replace_vars(w.tolist)() == [1.0, 1.0]
    assert w.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=lambda d: np.dtype(d).name)
def test_half_precision_is_averaged_in_float32(backend: str, dtype: Any) -> None:
    ema = refopt.ExponentialMovingAverage(native(backend, [np.array([1.0, 2.0], dtype)]), 0.999)
    for _ in range(3):
        ema(native(backend, [np.array([1.0, 2.0], dtype)]))
    assert plain(backend, ema.slots["m"])[0].dtype == np.float32
    expected = ((1 - 0.999**3) * np.array([1.0, 2.0])).astype(np.float32)
    budget = BUDGETS["slot", np.dtype(dtype).name, ONE_STEP].ulps  # a few roundings in float32, as here
    assert ulps(plain(backend, ema.slots["m"]), [expected], scale=0) <= budget
    assert plain(backend, ema.refs_and_values()[1])[0].dtype == dtype
