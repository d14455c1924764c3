"""refopt touches arrays by the backend protocol only: everything runs on the loop-back backend's closed arrays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import FRESH, LOOPBACK, Loopback, Wrapped

import refopt
from refopt.running.optimizers import Optimizer
from refopt.selection import registry, select
from refopt.selection.doctor import diagnose, report
from refopt.spec.backend import Backend
from refopt.spec.declare import Rule

BACKENDS = pytest.mark.parametrize("backend", [LOOPBACK, FRESH], ids=lambda b: b.name)
RULES = pytest.mark.parametrize("rule", refopt.RULES.values(), ids=lambda r: r.name)
DEVICES = pytest.mark.parametrize("device", [None, "here", "there"])
METHODS = {name for name in vars(Backend) if not name.startswith("_")}

OPTIMIZERS: list[Callable[..., Optimizer]] = [refopt.SGD, refopt.Momentum, refopt.Adam, refopt.LARS]


@pytest.fixture(autouse=True)
def _fresh_record() -> None:
    LOOPBACK.calls.clear()
    FRESH.calls.clear()


def arrays(seed: int, dtype: str = "float64") -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "w": random.normal(size=(2, 3)).astype(dtype),
        "b": [random.normal(size=()).astype(dtype), np.zeros(0, dtype)],
    }


def wrapped(tree: dict[str, Any], device: str = "here") -> dict[str, Any]:
    return {"w": Wrapped(tree["w"].copy(), device), "b": [Wrapped(x.copy(), device) for x in tree["b"]]}


def unwrapped(tree: dict[str, Any]) -> list[np.ndarray]:
    return [tree["w"]._behind, *(x._behind for x in tree["b"])]


def equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for one, other in zip(unwrapped(found), [expected["w"], *expected["b"]], strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@RULES
@BACKENDS
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_pure_layer(rule: Rule, backend: Loopback, dtype: str) -> None:
    hyper = rule.hyper()
    results = []
    for name, tree in (("numpy", lambda x: x), (backend.name, wrapped)):
        params = tree(arrays(0, dtype))
        state = refopt.init(rule, params, hyper, backend=name)
        for seed in (1, 2):
            grads = tree(arrays(seed, dtype)) if hyper.program.reads_gradient else None
            params, state = refopt.update(rule, params, grads, state, hyper, backend=name)
        results.append(refopt.average(rule, params, state, hyper, backend=name) if rule.evaluate else params)
    equal(results[1], results[0])


@BACKENDS
@DEVICES
def test_numpy_gradients_go_where_the_parameters_are(backend: Loopback, device: str | None) -> None:
    """For the pure layer and, where no device was asked for, the optimizers."""
    plain, mine = arrays(0), wrapped(arrays(0), device or "here")
    expected, _ = refopt.update("sgd", plain, arrays(1), refopt.init("sgd", plain), lr=0.1)
    new, _ = refopt.update(
        "sgd", mine, arrays(1), refopt.init("sgd", mine, backend=backend.name), lr=0.1, backend=backend.name
    )
    equal(new, expected)
    opt = refopt.SGD(mine, backend=backend.name)
    opt(0.1, arrays(1))
    equal(opt.params, expected)
    ema = refopt.ExponentialMovingAverage(mine, backend=backend.name)
    ema(arrays(1))
    assert {x.device for x in (ema.params["w"], ema.slots["m"]["w"])} == {device or "here"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@BACKENDS
@DEVICES
def test_optimizers(optimizer: Callable[..., Optimizer], backend: Loopback, device: str | None) -> None:
    plain, mine = arrays(0), wrapped(arrays(0))
    expected, opt = optimizer(plain, backend="numpy"), optimizer(mine, backend=backend.name, device=device)
    for seed in (1, 2, 3):
        expected(0.1, arrays(seed))
        opt(0.1, wrapped(arrays(seed), device or "here"))
    equal(opt.params, plain)
    assert opt.params["w"].device == (device or "here")
    if backend.in_place and device in (None, "here"):
        assert opt.params["w"] is mine["w"]
    assert backend.calls.count("update") == 3


@BACKENDS
@DEVICES
def test_numpy_arrays_are_adopted(backend: Loopback, device: str | None) -> None:
    plain = arrays(0)
    expected, opt = refopt.Adam(plain), refopt.Adam(arrays(0), backend=backend.name, device=device)
    expected(0.1, arrays(1))
    opt(0.1, arrays(1))
    equal(opt.params, plain)


@BACKENDS
@DEVICES
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_saving_and_resuming(backend: Loopback, device: str | None, suffix: str, tmp_path: Path) -> None:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed, which writes this kind of file")
    first = refopt.Adam(wrapped(arrays(0)), power="product", backend=backend.name, device=device)
    first(0.1, wrapped(arrays(1), device or "here"))
    first.save(tmp_path / f"state{suffix}")
    second = refopt.Adam(first.params, power="product", backend=backend.name, device=device)
    second.load(tmp_path / f"state{suffix}")
    second(0.1, wrapped(arrays(2), device or "here"))
    third = refopt.Adam(plain := arrays(0), power="product")
    third(0.1, arrays(1))
    third(0.1, arrays(2))
    equal(second.params, plain)
    assert second.slots["m"]["w"].device == (device or "here")


@BACKENDS
@DEVICES
def test_average(backend: Loopback, device: str | None) -> None:
    plain, mine = arrays(0), wrapped(arrays(0), device or "here")
    expected = refopt.ExponentialMovingAverage(plain, momentum=0.5, debias=True)
    ema = refopt.ExponentialMovingAverage(mine, momentum=0.5, debias=True, backend=backend.name, device=device)
    for seed in (1, 2):
        expected(arrays(seed))
        ema(wrapped(arrays(seed), device or "here"))
    equal(ema.refs_and_values()[1], expected.refs_and_values()[1])
    ema(arrays(3))  # NumPy arrays are adopted
    expected(arrays(3))
    equal(ema.refs_and_values()[1], expected.refs_and_values()[1])


@DEVICES
def test_average_in_place_of_the_parameters(device: str | None) -> None:
    mine = wrapped(arrays(0), device or "here")
    ema = refopt.ExponentialMovingAverage(mine, momentum=0.5, backend=LOOPBACK.name, device=device)
    ema()
    half = {"w": arrays(0)["w"] * 0.5, "b": [x * 0.5 for x in arrays(0)["b"]]}
    ema.replace_vars(lambda: equal(mine, half))()
    equal(mine, arrays(0))
    with pytest.raises(KeyError):
        ema.replace_vars(lambda: {}["missing"])()
    equal(mine, arrays(0))


@pytest.mark.parametrize("tree", [wrapped, lambda tree: tree], ids=["its own", "numpy"])
def test_average_in_place_of_parameters_elsewhere(tree: Callable[..., Any]) -> None:
    """Averages on another device would not be seen by what reads the parameters."""
    ema = refopt.ExponentialMovingAverage(tree(arrays(0)), backend=LOOPBACK.name, device="there")
    with pytest.raises(refopt.RefoptError, match=r"moved to device 'there'.*refs_and_values"):
        ema.replace_vars(lambda: None)()


def test_average_of_arrays_that_cannot_be_replaced() -> None:
    ema = refopt.ExponentialMovingAverage(wrapped(arrays(0)), backend=FRESH.name)
    with pytest.raises(refopt.RefoptError, match="pass the new parameters"):
        ema()
    with pytest.raises(refopt.Unsupported, match="cannot be replaced in place"):
        ema.replace_vars(lambda: None)


def test_use_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with refopt.use(LOOPBACK.name) as used:
        assert used is LOOPBACK
        assert refopt.Adam(wrapped(arrays(0))).backend is LOOPBACK
    monkeypatch.setenv("REFOPT_BACKEND", FRESH.name)
    assert refopt.Adam(wrapped(arrays(0))).backend is FRESH


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if two packages had been installed: one that is broken, and the loop-back."""
    points = [
        EntryPoint("a_broken_one", "loopback_that_is_not_there:BACKEND", registry.GROUP),
        EntryPoint("loopback", "loopback:LOOPBACK", registry.GROUP),
    ]
    found = [*registry.entry_points(group=registry.GROUP), *points]
    monkeypatch.setattr(registry, "entry_points", lambda group: found)


@pytest.mark.usefixtures("_installed")
def test_selection_by_the_type_of_the_arrays() -> None:
    chosen = select(arrays=[wrapped(arrays(0))["w"]])
    assert chosen.backend is LOOPBACK
    assert chosen.reason == "the arrays are loopback's"
    assert refopt.Momentum(wrapped(arrays(0))).backend is LOOPBACK


@pytest.mark.usefixtures("_installed")
def test_doctor_finds_what_is_installed() -> None:
    assert list(registry.installed())[-2:] == ["a_broken_one", "loopback"]
    works, broken = diagnose("loopback"), diagnose("a_broken_one")
    assert (works.works, works.entry_point, works.devices) == (True, "loopback:LOOPBACK", ("here", "there"))
    assert not broken.works
    assert "No module named 'loopback_that_is_not_there'" in broken.problem


def test_doctor_describes_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFOPT_BACKEND", LOOPBACK.name)
    found = report()
    assert found["chosen"]["backend"] == LOOPBACK.name
    assert found["backends"][-1]["name"] == LOOPBACK.name
    assert found["backends"][-1]["works"]


def test_every_method_is_called(tmp_path: Path) -> None:
    """Nothing of the protocol is there for show."""
    opt = refopt.Adam(arrays(0), backend=LOOPBACK.name)
    opt(0.1, arrays(1))
    opt.save(tmp_path / "state.npz")
    ema = refopt.ExponentialMovingAverage(wrapped(arrays(0)), backend=LOOPBACK.name)
    ema.replace_vars(ema)()
    LOOPBACK.calls += [call for name in ("version", "devices") for call in (name,) if getattr(LOOPBACK, name)()]
    assert METHODS - {"name", "in_place"} <= set(LOOPBACK.calls)


@BACKENDS
def test_conformance_suite(backend: Loopback) -> None:
    """The suite too touches arrays by the protocol only, and stays on the device that it was given."""
    command = [sys.executable, "-m", "refopt_conformance", backend.name, "--device", "there", "-k"]
    command += ["one_step and float32 and (sgd/paper or ema/paper)"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
