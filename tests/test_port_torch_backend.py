"""The torch port's backend: dtypes, storage, what it shares with NumPy and what it refuses."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed, whose port this tests")

from port_cases import hyper_of  # noqa: E402
from port_torch_cases import (  # noqa: E402
    ADAM_NUMBERS,
    LARS_BRANCHES,
    arrays,
    assert_same,
    each_rule,
    tensors,
)

from refopt.spec.errors import RefoptError, Unsupported  # noqa: E402
from refopt.spec.hyper import Hyper  # noqa: E402
from refopt_torch import BACKEND  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@each_rule(ADAM_NUMBERS, LARS_BRANCHES)
def test_half_precision_computes_in_float32_and_rounds_once(hyper: Hyper, dtype: Any) -> None:
    params, grads = (tensors(x, dtype) for x in arrays(np.random.default_rng(23)))
    wide = [p.float() for p in params]
    slots, wide_slots = BACKEND.init(hyper, params), BACKEND.init(hyper, wide)
    assert_same(slots, wide_slots)
    given = None if not hyper.program.reads_gradient else grads
    for t in (1, 2):
        wide = [p.float() for p in params]
        wide, wide_slots = BACKEND.update(
            hyper, t, wide, None if given is None else [g.float() for g in given], wide_slots, in_place=False
        )
        params, slots = BACKEND.update(hyper, t, params, given, slots, in_place=False)
        assert_same(params, [w.to(dtype) for w in wide])
        assert_same(slots, wide_slots)
    if hyper.program.evaluate:
        assert_same([a.dtype for a in BACKEND.average(hyper, 2, params, slots)], [dtype] * len(params))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@each_rule(ADAM_NUMBERS)
def test_in_place_keeps_storage_and_otherwise_nothing_changes(hyper: Hyper, dtype: Any) -> None:
    def everything() -> dict[str, Any]:
        params, grads = (tensors(x, dtype) for x in arrays(np.random.default_rng(24)))
        return {"params": params, "grads": grads, "slots": BACKEND.init(hyper, params)}

    def storage(params: list, slots: dict[str, Any]) -> list[int]:
        return [x.data_ptr() for xs in (params, *slots.values()) if isinstance(xs, list) for x in xs]

    given, expected = everything(), everything()
    grads = None if not hyper.program.reads_gradient else given["grads"]
    new = BACKEND.update(hyper, 1, given["params"], grads, given["slots"], in_place=False)
    assert_same(given, expected)
    assert not set(storage(*new)) - {0} & set(storage(given["params"], given["slots"]))
    before = storage(given["params"], given["slots"])
    written = BACKEND.update(hyper, 1, given["params"], grads, given["slots"], in_place=True)
    assert storage(*written) == before
    assert_same(list(written), list(new))
    assert_same(given["grads"], expected["grads"])


def test_mixed_dtypes_run_as_they_would_apart() -> None:
    groups = [torch.float32, torch.bfloat16, torch.float64]
    each = [[tensors(x, dtype) for x in arrays(np.random.default_rng(25))] for dtype in groups]
    params, grads = ([x for pair in each for x in pair[i]] for i in (0, 1))
    together, slots = BACKEND.update(ADAM_NUMBERS, 3, params, grads, BACKEND.init(ADAM_NUMBERS, params), in_place=False)
    apart = [
        BACKEND.update(ADAM_NUMBERS, 3, *pair, BACKEND.init(ADAM_NUMBERS, pair[0]), in_place=False) for pair in each
    ]
    assert_same(together, [x for new, _ in apart for x in new])
    assert slots["p1"] == apart[0][1]["p1"] == ADAM_NUMBERS.values["beta1"]
    assert BACKEND.update(ADAM_NUMBERS, 1, [], [], BACKEND.init(ADAM_NUMBERS, []), in_place=True)[0] == []


def test_leaf_parameters_are_updated_outside_autograd() -> None:
    w = torch.ones(3, requires_grad=True)
    hyper = hyper_of("momentum")
    BACKEND.update(hyper, 1, [w], [torch.ones(3)], BACKEND.init(hyper, [w]), in_place=True)
    assert w.requires_grad
    assert w.is_leaf
    assert_same(w.detach(), torch.ones(3) - hyper.values["lr"])


FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("shape", [(), (0, 2), (6, 2)], ids=str)
def test_writable_numpy_arrays_share_memory(dtype: Any, shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype)[..., ::2] if shape else np.ones(shape, dtype)
    tensor = BACKEND.adopt(array)
    assert BACKEND.to_numpy(tensor).dtype == array.dtype
    BACKEND.assign([tensor], [tensor + 1])
    np.testing.assert_array_equal(array, np.full(array.shape, 2, dtype))


def test_read_only_numpy_arrays_are_copied() -> None:
    array = np.broadcast_to(np.float32(3), (2, 2))
    tensor = BACKEND.adopt(array)
    tensor += 1
    assert array.tolist() == [[3, 3], [3, 3]]
    assert BACKEND.adopt(np.float64(2)).dtype == torch.float64


@pytest.mark.parametrize(
    ("array", "device", "reason"),
    [
        (np.ones(3)[::-1], None, "negative"),
        (np.ones(3, ">f8"), None, "byte order"),
        (torch.ones(3, dtype=torch.complex64).conj(), None, "resolve_conj"),
        (np.ones(3, int), None, "float16, bfloat16, float32, float64; got int64"),
        (torch.ones(3, dtype=torch.int32), None, "got int32"),
        (torch.ones(3).to_sparse(), None, "to_dense"),
        ([1.0, 2.0], None, "got list"),
        (np.ones(3), "cuda:99", "no device 'cuda:99' here; choose from cpu"),
    ],
)
def test_adopt_refuses(array: Any, device: str | None, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        BACKEND.adopt(array, device)


@pytest.mark.parametrize(
    ("dtype", "device", "reason"),
    [
        ("float32", "cpu", None),
        ("bfloat16", None, None),
        ("complex64", None, "choose complex='parts'"),
        ("float64", "tpu", "'tpu'"),
    ],
)
def test_supports(dtype: str, device: str | None, reason: str | None) -> None:
    answer = BACKEND.supports(hyper_of("adam"), dtype, device)
    assert answer is None if reason is None else reason in str(answer)


@pytest.mark.parametrize(
    ("grads", "reason"),
    [
        (None, "needs a gradient"),
        ([], "got 0 for 1"),
        ([torch.ones(3).to_sparse()], "to_dense"),
        ([torch.ones(1)], "shape"),
        ([torch.ones(3, dtype=torch.float64)], "float64"),
        ([np.ones(3, np.float32)], "adopt"),
    ],
)
def test_update_refuses_and_writes_nothing(grads: Any, reason: str) -> None:
    hyper, params = hyper_of("momentum"), [torch.ones(3)]
    slots = BACKEND.init(hyper, params)
    with pytest.raises(RefoptError, match=reason):
        BACKEND.update(hyper, 1, params, grads, slots, in_place=True)
    assert_same([params, slots], [[torch.ones(3)], {"u": [torch.zeros(3)]}])
