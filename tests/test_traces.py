"""Traces on disk, and recorders that write them in a training loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refopt
from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.spec.errors import RefoptError

DTYPES = list(PARAMETER_DTYPES)


def example(dtype: str = "float64") -> refopt.Trace:
    """Four steps of momentum by hand, among them NaN, an infinity and a zero of either sign."""
    kind = PARAMETER_DTYPES[dtype]
    w, u = np.array([[1.5, -2.0, 0.25]]).astype(kind), np.zeros((1, 3))
    params, grads, results = {"a": {"w": w}, "b": np.zeros((), kind)}, [], []
    for g in ([[1.0, 0.1, -0.0]], [[0.0, np.inf, 3.0]], [[-1.0, 1.0, np.nan]], [[0.3, 0.3, 0.3]]):
        u = 0.5 * u + np.array(g)
        w = (w - 0.25 * u).astype(kind)
        grads.append({"a": {"w": np.array(g).astype(kind)}, "b": np.zeros((), kind)})
        results.append({"a": {"w": w}, "b": np.zeros((), kind)})
    return refopt.Trace(params, grads, [{"lr": 0.25, "momentum": 0.5}] * 4, results)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_file_holds_every_bit(suffix: str, dtype: str, tmp_path: Path) -> None:
    trace = example(dtype)
    trace.save(tmp_path / f"trace{suffix}")
    again, whole = refopt.Trace.load(tmp_path / f"trace{suffix}"), trace.arrays()
    assert list(again.params) == ["a.w", "b"]
    assert again.hyper == list(trace.hyper)
    assert [p.name for p in tmp_path.iterdir()] == [f"trace{suffix}"], "nothing else is left behind"
    read = again.arrays()
    for ours, theirs in ((whole.params, read.params), *zip(whole.grads, read.grads, strict=True),
                         *zip(whole.results, read.results, strict=True)):  # fmt: skip
        for a, b in zip(ours, theirs, strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


BY_HAND = {
    "refopt_trace": 1,
    "hyper": {"momentum": 0.5},
    "params": [1.0, "0x1p-1"],
    "steps": [
        {"hyper": {"lr": 0.25}, "grads": [1, 1], "results": [0.75, 0.25]},
        {"hyper": {"lr": 0.5}, "grads": [0, 1], "results": [0.5, -0.5]},
    ],
}


def test_a_trace_may_be_written_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    file.write_text(json.dumps(BY_HAND), encoding="utf-8")
    verdict = refopt.identify(refopt.Trace.load(file))
    assert (verdict.rule, verdict.pinned["lr_at"]) == ("momentum", "outside")


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in BY_HAND.items() if key != name}


REFUSED = [
    # what is in the file, what is said of it
    (without("refopt_trace"), "has no 'refopt_trace' and is no trace"),
    ({**BY_HAND, "refopt_trace": 9}, "has format 9, this refopt reads 1; update refopt"),
    ({**BY_HAND, "dtype": "int8"}, "dtype must be one of float64, float32.*; got 'int8'"),
    (without("params"), "the trace has no 'params'"),
    ({**BY_HAND, "params": [True]}, "arrays are nested lists of numbers; got True"),
    ({**BY_HAND, "params": [[1.0], [1.0, 2.0]]}, "damaged"),
    ({**BY_HAND, "steps": [{"grads": [1, 1]}]}, "step 1 has no 'results'"),
    ({**BY_HAND, "steps": []}, "at least one step"),
    ([], "is no trace"),
    ("{", "damaged or no .json file"),
]


@pytest.mark.parametrize(("document", "said"), REFUSED, ids=[said[:30] for _, said in REFUSED])
def test_what_is_no_trace_is_refused(document: Any, said: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    with pytest.raises(RefoptError, match=said):
        refopt.Trace.load(file)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "trace.npz").write_bytes(b"PK")
    np.savez(tmp_path / "other.npz", w=np.ones(3))
    for name, said in (
        ("trace.npz", "damaged or no .npz file"),
        ("other.npz", "has no 'refopt_trace' and is no trace"),
        ("none.npz", "there is no file"),
        ("trace.txt", "ending in .npz or .json; got 'trace.txt'"),
    ):
        with pytest.raises(RefoptError, match=said):
            refopt.Trace.load(tmp_path / name)
    same = {"a.w": np.ones(2), "a": {"w": np.ones(2)}}
    with pytest.raises(RefoptError, match=r"two parameters would be called 'a\.w'"):
        refopt.Trace(same, [same], [{"lr": 1.0}], [same]).save(tmp_path / "same.npz")
    with pytest.raises(RefoptError, match="there is no folder"):
        example().save(tmp_path / "none" / "trace.npz")


def trained(torch: Any, optimizer: Any, parameters: list[Any]) -> refopt.Trace:
    """Six steps of an optimizer, its rate on a schedule."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1.0, 2.0, 0.5)[t % 3])
    recorder = refopt.record(optimizer)
    for step in range(6):
        for i, w in enumerate(parameters):
            w.grad = torch.sin(w.detach() * 3 + step + i)
        optimizer.step()
        schedule.step()
    recorder.close()
    optimizer.step()  # is not recorded
    return recorder.trace()


TORCH: list[tuple[str, Callable[[Any, Any], Any], str, dict[str, str]]] = [
    ("float64", lambda o, w: o.AdamW(w, lr=0.1, betas=(0.7, 0.9), eps=1e-2, weight_decay=0.1), "adam",
     {"decay": "decoupled", "eps_at": "outside_hat"}),
    ("float32", lambda o, w: o.Adam(w, lr=0.1, betas=(0.7, 0.9), eps=1e-2, foreach=True), "adam",
     {"eps_at": "outside_hat"}),
    ("float64", lambda o, w: o.SGD(w, lr=0.1, momentum=0.9, nesterov=True), "momentum",
     {"nesterov": "yes", "lr_at": "outside"}),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "make", "rule", "pinned"), TORCH, ids=["adamw", "adam", "sgd"])
def test_a_torch_optimizer_is_recorded_in_one_line(
    dtype: str, make: Callable[[Any, Any], Any], rule: str, pinned: dict[str, str]
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    parameters = [torch.linspace(-1, 2, n, dtype=getattr(torch, dtype), requires_grad=True) for n in (5, 3)]
    trace = trained(torch, make(torch.optim, parameters), parameters)
    assert len(trace.results) == 6
    assert [now["lr"] for now in trace.hyper] == [0.1, 0.2, 0.05] * 2
    verdict = refopt.identify(trace)
    assert verdict.rule == rule
    assert pinned.items() <= verdict.pinned.items()


def test_what_torch_does_not_show_is_refused() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    one, other = (torch.ones(2, requires_grad=True) for _ in range(2))
    one.grad = torch.ones(2)
    groups = [{"params": [one], "lr": 0.1}, {"params": [other], "lr": 0.2}]
    for optimizer, said in (
        (torch.optim.SGD([one, other], lr=0.1), "no gradient of the parameters 1, which"),
        (torch.optim.SGD([one], lr=0.1, maximize=True), "maximize=True goes up the gradient"),
    ):
        recorder = refopt.record(optimizer)
        with pytest.raises(RefoptError, match=said):
            optimizer.step()
        recorder.close()
    other.grad = torch.ones(2)
    optimizer = torch.optim.SGD(groups)
    refopt.record(optimizer)
    with pytest.raises(RefoptError, match="groups of parameters have different numbers"):
        optimizer.step()


def test_anything_else_is_recorded_step_by_step() -> None:
    """Three lines for JAX, or for NumPy."""
    params = {"w": np.array([1.0, -2.0, 0.5])}
    recorder = refopt.record(params, momentum=0.75)
    u = np.zeros(3)
    for lr in (0.5, 0.25, 0.125, 0.5):
        grads = {"w": params["w"] * 0.5 + 1}
        u = 0.75 * u + lr * grads["w"]
        params["w"] -= u  # in place: what was recorded is a copy
        recorder.step(grads, params, lr=lr)
    verdict = refopt.identify(recorder.trace())
    assert (verdict.rule, verdict.pinned["lr_at"]) == ("momentum", "inside")
