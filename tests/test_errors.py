"""Every bad input gets one sentence that names the value, what is allowed and the remedy, and changes nothing."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from running_cases import make, native, state_of

import refopt
from refopt.selection import get_backend
from refopt.spec.errors import RefoptError

W = np.ones(3)
M = np.ones((3, 4))


def params() -> dict[str, Any]:
    return {"w": np.ones((2, 3)), "b": np.ones(3)}


def refused(call: Callable[[], Any], *fragments: str) -> None:
    """The call raises refopt's error, in one line, and the line says all of this."""
    with pytest.raises(RefoptError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    missing = [fragment for fragment in fragments if fragment not in message]
    assert not missing, f"{message!r} does not say {missing}"


# What cannot even be made: (the call, what its message says).
MAKING: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "rule": (lambda: refopt.init("adamm", W), ("'adamm'", ", ".join(refopt.RULES), "Did you mean")),
    "dialect": (lambda: refopt.Adam(W, dialect="tf"), ("'tf'", "paper, objax, torch, adamw, optax, keras")),
    "axis": (lambda: refopt.Adam(W, epsat="x"), ("'epsat'", "lr, beta1", "eps_at, amsgrad", "Did you mean 'eps_at'?")),
    "axis, None": (lambda: refopt.Adam(W, epsat=None), ("'epsat'", "Did you mean 'eps_at'?")),
    "choice": (lambda: refopt.Adam(W, eps_at="in"), ("'in'", "eps_at", "outside_hat, outside_raw, inside_hat")),
    "debias": (lambda: refopt.ExponentialMovingAverage(W, debias="yes"), ("'yes'", "none, standard, objax")),
    "choices that exclude each other": (
        lambda: refopt.Adam(W, power="product", first_t="0"),
        ("first_t='0'", "only with power='power'", "got power='product'"),
    ),
    "hyper-parameter": (lambda: refopt.Adam(W, beta3=0.1), ("'beta3'", "lr, beta1, beta2", "Did you mean 'beta2'?")),
    "without effect": (lambda: refopt.Adam(W, wd=0.1), ("wd has no effect", "decay='l2'", "or leave wd out")),
    "eps without effect": (lambda: refopt.ExponentialMovingAverage(W, eps=0.1), ("eps has no", "debias='objax'")),
    "given twice": (lambda: refopt.LARS(W, 0.9, mu=0.8), ("mu was given twice", "'mu'", "give it once")),
    "too large": (lambda: refopt.Adam(W, beta1=1.0), ("beta1", "[0, 1)", "1.0")),
    "too small": (lambda: refopt.Adam(W, 0.9, -0.1), ("beta2", "[0, 1)", "-0.1")),
    "out of range where unread": (lambda: refopt.ExponentialMovingAverage(W, eps=-1), ("eps", "[0, 1]", "-1")),
    "infinite": (lambda: refopt.Adam(W, eps=np.inf), ("eps", "[0, inf)", "inf")),
    "NaN": (lambda: refopt.Momentum(W, float("nan")), ("mu", "[0, 1)", "nan")),
    "no number": (lambda: refopt.Adam(W, beta1="much"), ("beta1", "'much'", "not a number")),
    "a NumPy complex number": (lambda: refopt.Adam(W, beta1=np.complex64(0.5 + 1j)), ("beta1", "not a number")),
    "a complex number": (lambda: refopt.Adam(W, beta1=1j), ("beta1", "1j", "not a number")),
    "many numbers": (lambda: refopt.Adam(W, beta1=[0.9]), ("beta1", "[0.9]", "not a number")),
    "backend": (
        lambda: refopt.Adam(W, backend="tensorflow"),
        ("'tensorflow'", "numpy, numba, jax, torch", "pip install 'refopt[all]'", "module:ATTRIBUTE"),
    ),
    "backend, no name": (lambda: refopt.Adam(W, backend=3), ("backend 3", "numpy, numba, jax, torch")),  # type: ignore[arg-type]
    "backend, no module": (lambda: refopt.Adam(W, backend="nowhere:B"), ("'nowhere:B'", "nowhere", "pip install")),
    "backend, no attribute": (lambda: refopt.Adam(W, backend="json:B"), ("json has no 'B'", "name the object")),
    "backend, half a name": (lambda: refopt.Adam(W, backend="json:"), ("'json:'", "module:ATTRIBUTE, e.g.")),
    "backend, no backend": (lambda: refopt.Adam(W, backend="os:path"), ("'os:path'", "lacks name", "Backend")),
    "device": (lambda: refopt.Adam(W, device="cuda"), ("'cuda'", "cpu", "leave it out")),
    "no array": (lambda: refopt.SGD([1.0]), ("params[0] is a float", "np.asarray")),
    "no tree": (lambda: refopt.SGD(params().values()), ("params is a dict_values", "not an array")),
    "a hyper of another rule": (
        lambda: refopt.init("sgd", W, refopt.RULES["adam"].hyper()),
        ("adam", "not to sgd", "rule.hyper()"),
    ),
    "one array in two places": (lambda: refopt.SGD({"a": W, "b": W}), ("params['b']", "params['a']", "pass it once")),
    "two views of one array": (lambda: refopt.SGD([W, W[:2]]), ("params[1] and params[0]", "pass it once")),
    "two parts that overlap": (lambda: refopt.SGD([W[:2], W[1:]]), ("params[1] and params[0] share", "or a copy")),
    "a part within": (lambda: refopt.SGD({"b": W[1:2], "a": W}), ("params['b'] and params['a'] share", "or a copy")),
    "an array within a field": (lambda: refopt.SGD([M[:, 0], M[1:, :2]]), ("params[1] and params[0] share",)),
    "windows": (lambda: refopt.SGD([as_strided(W.copy(), (2, 2), (8, 8))]), ("params[0]", "elements that share")),
    "a masked array": (lambda: refopt.SGD([np.ma.array([1.0])]), ("masked array would lose its mask", ".filled(")),
    "a NumPy scalar": (lambda: refopt.SGD([np.float64(1)]), ("params[0] is read-only", "np.array(x)")),
    "an average that is none": (
        lambda: refopt.average("sgd", W, refopt.init("sgd", W)),
        ("sgd", "no average", "the parameters themselves"),
    ),
    "one number by two names": (
        lambda: refopt.verify("torch.optim:SGD", wd=0.1, weight_decay=0.2),
        ("wd was given twice, once as 'weight_decay'",),
    ),
    "a target without a name": (lambda: refopt.verify("torch.optim"), ("'torch.optim'", "module:name")),
    "a target that is not there": (lambda: refopt.verify("json:Adam"), ("json has no 'Adam'", "dumps")),
    "a target that cannot be called": (lambda: refopt.verify("json:__name__"), ("str", "give an optimizer class")),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKING)
def test_what_cannot_be_made(name: str) -> None:
    call, fragments = MAKING[name]
    refused(call, *fragments)
    assert W.tolist() == [1.0, 1.0, 1.0]


def test_a_target_that_does_not_import_is_a_verdict(tmp_path: Path) -> None:
    broken = tmp_path / "broken_module.py"
    broken.write_text("raise RuntimeError('out of order')\n", encoding="utf-8")
    for target, reason in [
        ("nowhere.at.all:Adam", "nowhere.at.all cannot be imported: ModuleNotFoundError"),
        (f"{tmp_path / 'missing.py'}:Adam", "FileNotFoundError: there is no file"),
        (f"{broken}:Adam", "RuntimeError: out of order"),
    ]:
        verdict = refopt.verify(target)
        assert (verdict.status, verdict.exit_status) == ("unsupported", 2)
        assert reason in verdict.reason


DTYPES: list[tuple[np.ndarray, dict[str, str]]] = [  # parameters, and what each backend's message says of them
    (np.ones(3, int), dict.fromkeys(["numpy", "numba", "jax", "torch"], "int64")),
    (np.ones(3, bool), dict.fromkeys(["numpy", "numba", "jax", "torch"], "bool")),
    (np.array([None, 1.0]), dict.fromkeys(["numpy", "numba", "jax", "torch"], "object")),
    (np.array(["a"]), dict.fromkeys(["numpy", "numba", "jax", "torch"], "<U1")),
    (np.ones(3, complex), dict.fromkeys(["numpy", "numba", "jax", "torch"], "choose complex='parts' or complex='mod")),
]  # fmt: skip


@pytest.mark.parametrize(("array", "said"), DTYPES, ids=lambda x: getattr(getattr(x, "dtype", None), "name", ""))
def test_dtypes_that_cannot_be_optimised(backend: str, array: np.ndarray, said: dict[str, str]) -> None:
    allowed = () if array.dtype.kind == "c" else ("float16", "bfloat16", "float64")
    refused(lambda: refopt.Adam({"w": array}, backend=backend), "params['w']", said[backend], *allowed)
    refused(lambda: refopt.init("adam", {"w": array}, backend=backend), "params['w']", said[backend], *allowed)


def test_parts_of_one_array_that_do_not_overlap() -> None:
    """Interleaved, behind each other, in a block, backwards; and thousands of them, without comparing all with all."""
    whole, square = np.ones(5000), np.ones((4, 4))
    for parts in (
        [whole[::2], whole[1::2]],
        [whole[3:], whole[:3]],
        [whole[:2:-1], whole[2::-1]],
        [square[:, :1], square[:2, 1:], square[2:, 1:]],
        [*whole[:3000].reshape(-1, 1), whole[3000:], whole[5:5]],
    ):
        refopt.SGD(parts)(0.5, [np.ones_like(part) for part in parts])
        for part in parts:
            assert (part == 0.5).all()
            part[...] = 1


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"], indirect=True)
def test_read_only_arrays_are_not_updated_in_place(backend: str) -> None:
    array = np.ones(3)
    array.flags.writeable = False
    refused(lambda: refopt.Adam([array], backend=backend), "params[0] is read-only", "in place", "np.array(x)")


def test_torch_tensors_that_share_memory() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose tensors these are")
    shared = torch.ones(2, 2)
    refused(lambda: refopt.Adam([shared, shared.view(4)]), "params[1] and params[0] share memory")
    refused(lambda: refopt.Adam([shared[:, :1], shared[1]]), "params[1] and params[0] share memory")
    refused(lambda: refopt.Adam([torch.ones(9).as_strided((4, 3), (2, 1))]), "params[0]", "elements that share memory")
    refopt.Adam([shared[:, 0], shared[:, 1]])
    refused(lambda: refopt.Adam([torch.ones(1).expand(3)]), "params[0]", "elements that share memory", "copy")
    refused(lambda: refopt.Adam([torch.ones(2), np.ones(2)]), "numpy, torch", "convert them to one kind", "backend=")


# One step with what does not fit the parameters: (grads, more arguments, what the message says).
STEPS: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "another tree": ([np.ones((2, 3)), np.ones(3)], {}, ("grads must have the tree of params", "'b': *", "[*, *]")),
    "a key less": (
        {"w": np.ones((2, 3))},
        {},
        ("grads must have the tree of params", "'b': *", "which lacks grads['b']"),
    ),
    "a place more": (params() | {"c": W}, {}, ("grads must have the tree of params", "which has grads['c']")),
    "a gradient missing": ({"w": np.ones((2, 3)), "b": None}, {}, ("tree of params", "None")),
    "another shape": ({"w": np.ones((3, 2)), "b": np.ones(3)}, {}, ("grads['w']", "(2, 3)", "got (3, 2)")),
    "a shape to broadcast": ({"w": np.ones((1, 3)), "b": np.ones(3)}, {}, ("grads['w']", "(2, 3)", "got (1, 3)")),
    "another dtype": (
        {"w": np.ones((2, 3)), "b": np.ones(3, "f4")},
        {},
        ("grads['b']", "float64", "got float32", "convert"),
    ),
    "integers": ({"w": np.ones((2, 3), int), "b": np.ones(3)}, {}, ("grads['w']", "float64", "got int64")),
    "complex": ({"w": np.ones((2, 3), complex), "b": np.ones(3)}, {}, ("grads['w']", "float64", "got complex128")),
    "no array": ({"w": 1.0, "b": np.ones(3)}, {}, ("grads['w'] is a float", "(2, 3)")),
    "lr and grads exchanged": (0.1, {"lr": [np.ones((9, 9))] * 99}, ("lr", "[0, inf)", "...], which is not a number")),
    "lr of None": (params(), {"lr": None}, ("lr", "[0, inf)", "None", "not a number")),
    "a negative lr": (params(), {"lr": -0.1}, ("lr", "[0, inf)", "-0.1")),
    "an infinite lr": (params(), {"lr": np.inf}, ("lr", "[0, inf)", "inf")),
    "an override out of range": (params(), {"beta1": 1.5}, ("beta1", "[0, 1)", "1.5")),
    "an override that is unknown": (params(), {"momentum": 0.5}, ("'momentum'", "lr, beta1, beta2")),
    "an override without effect": (params(), {"wd": 0.5}, ("wd has no effect", "leave wd out")),
    "an axis": (params(), {"amsgrad": "corrected"}, ("amsgrad is an axis", "when the optimizer is made", "lr, beta1")),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_refused_changes_nothing(backend: str, name: str) -> None:
    grads, options, fragments = STEPS[name]
    opt = make("adam-product-amsgrad", native(backend, params()))
    opt(0.1, native(backend, params()))
    before = state_of(opt)
    refused(lambda: opt(**{"lr": 0.1, "grads": grads, **options}), *fragments)
    assert state_of(opt) == before
    assert opt.step == 1


def test_gradients_of_another_framework() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose tensors these are")
    opt = refopt.Adam([W.copy()])
    before = state_of(opt)
    refused(lambda: opt(0.1, [torch.ones(3, dtype=torch.float64)]), "expected a NumPy array, got torch.Tensor")
    assert state_of(opt) == before


# A pure state that belongs elsewhere: (the rule and parameters it was made for, what the message says).
STATES: dict[str, tuple[str, Any, dict[str, Any], tuple[str, ...]]] = {
    "rule": ("momentum", params(), {}, ("['m', 'v']", "got ['u']", "refopt.init")),
    "axes": ("adam", params(), {"amsgrad": "raw"}, ("['m', 'v']", "got ['m', 'v', 'v_max']", "refopt.init")),
    "tree": ("adam", [W], {}, ("1 arrays for 2 parameters", "refopt.init")),
    "shape": ("adam", {"w": np.ones((1, 3)), "b": W}, {}, ("params['w']", "(2, 3)", "got float64 of shape (1, 3)")),
    "dtype": (
        "adam",
        {"w": np.ones((2, 3), "f4"), "b": np.ones(3, "f4")},
        {},
        ("params['b']", "float64", "got float32", "refopt.init"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_a_pure_state_of_something_else(name: str) -> None:
    rule, of, options, fragments = STATES[name]
    state = refopt.init(rule, of, **options)
    refused(lambda: refopt.update("adam", params(), params(), state, lr=0.1), *fragments)
    assert state.step == 0


def test_what_is_no_pure_state() -> None:
    result = refopt.update("sgd", [W], [W], refopt.init("sgd", [W]))
    refused(lambda: refopt.update("sgd", [W], [W], result), "the state is a tuple", "refopt.init")  # type: ignore[arg-type]


def test_a_missing_framework(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch the backend names the pip install that helps, and everything else goes on."""
    get_backend.cache_clear()
    for name in [n for n in sys.modules if n.partition(".")[0] == "refopt_torch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)  # what makes `import torch` fail
    try:
        refused(
            lambda: refopt.Adam([W], backend="torch"), "'torch'", "cannot be imported", "pip install 'refopt[torch]'"
        )
        refused(lambda: get_backend("torch"), "pip install 'refopt[torch]'")
        assert refopt.Adam([W.copy()]).backend.name == "numpy"
    finally:
        get_backend.cache_clear()
