"""Arrays as they come: memory layouts, negative strides, half precision, dtypes mixed in one tree."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from optree import tree_leaves, tree_map
from running_cases import CASES, IN_PLACE, bits, make, native, plain, pure_step, take, tree, ulps

import refopt
from refopt.spec.errors import Unsupported


@pytest.mark.parametrize("case", CASES)
def test_memory_layout_does_not_matter(backend: str, case: str) -> None:
    """Transposed, strided, 0-d and empty arrays against contiguous copies; what lies between is left alone."""
    strided = [tree(0), tree(1), tree(2)]
    contiguous = [tree_map(lambda x: np.array(x, order="C"), nested) for nested in strided]
    gapped = np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    results = []
    for params, *grads in (contiguous, strided):
        values = native(backend, params)
        if params is strided[0] and backend in IN_PLACE:
            values["list"][0] = native(backend, gapped)[:, 0]
        else:
            values["list"][0] = native(backend, gapped[:, 0].copy())
        opt = make(case, values)
        for g in grads:
            take(opt, native(backend, g))
        state = opt.state_dict()
        del state["refopt"]
        results.append([plain(backend, opt.params), state])
    assert ulps(*results) <= (0 if backend in ("numpy", "numba") else 4)  # torch reduces in the order of memory
    assert (gapped[:, 1] == 7.0).all()


def test_negative_strides(backend: str) -> None:
    def step(params: np.ndarray) -> Any:
        return refopt.update(
            "sgd", [params], [params], refopt.init("sgd", [params], backend=backend), lr=0.5, backend=backend
        )

    backwards = np.arange(3.0)[::-1]
    if backend == "torch":
        with pytest.raises(Unsupported, match=r"negative.*pass numpy\.array\(it\)"):
            step(backwards)
    else:
        assert plain(backend, step(backwards)[0])[0].tolist() == [1.0, 0.5, 0.0]


HALF = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


@pytest.mark.parametrize("case", ["momentum", "adam-product-amsgrad", "lars", "ema-params"])
def test_half_precision_is_computed_in_float32_and_rounded_once(backend: str, case: str) -> None:
    def halves(seed: int) -> dict[str, Any]:
        return {dtype.name: tree(seed, dtype) for dtype in HALF}

    def widened(nested: Any) -> Any:
        return native(backend, tree_map(lambda x: x.astype(np.float32), nested))

    params = native(backend, halves(0))
    hyper = make(case, params).hyper
    state, wide_state = refopt.init(hyper.rule, params, hyper), refopt.init(hyper.rule, widened(halves(0)), hyper)
    for seed in (1, 2):
        wide = widened(plain(backend, params))
        wide, wide_state = pure_step(hyper, wide, widened(halves(seed)), wide_state)
        params, state = pure_step(hyper, params, native(backend, halves(seed)), state)
        rounded = {d.name: tree_map(lambda x, d=d: x.astype(d), plain(backend, wide[d.name])) for d in HALF}
        assert bits(plain(backend, params)) == bits(rounded)
    assert {x.dtype.name for x in tree_leaves(plain(backend, dict(state.slots))) if hasattr(x, "dtype")} <= {"float32"}


@pytest.mark.parametrize("case", ["adam-product-amsgrad"])
def test_dtypes_may_be_mixed_in_one_tree(backend: str, case: str) -> None:
    dtypes = [np.dtype(np.float64), *HALF, np.dtype(np.float32)]
    together = make(case, native(backend, {str(d): tree(0, d) for d in dtypes}))
    apart = {str(d): make(case, native(backend, tree(0, d))) for d in dtypes}
    for seed in (1, 2):
        take(together, native(backend, {str(d): tree(seed, d) for d in dtypes}))
        for d in dtypes:
            take(apart[str(d)], native(backend, tree(seed, d)))
    assert bits(plain(backend, together.params)) == bits({d: plain(backend, one.params) for d, one in apart.items()})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_is_too_large_is_infinite_without_a_word(backend: str, dtype: str) -> None:
    largest = np.array([ml_dtypes.finfo(dtype).max]).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    state = refopt.init("sgd", native(backend, [largest]), backend=backend)
    grads = native(backend, [-largest])
    params, _ = refopt.update("sgd", native(backend, [largest]), grads, state, lr=1.0, backend=backend)
    assert np.isposinf(plain(backend, params)[0].astype(np.float64)).all()
