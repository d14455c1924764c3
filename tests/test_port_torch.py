"""The torch port, a witness: it shares no formula with the reference, and agrees with it on every axis."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed, whose port this tests")

from port_cases import ADAM_FLOAT32_ULPS, FLOAT64_ULPS, hyper_of, name_of, varied  # noqa: E402
from port_torch_cases import arrays, numbers_like, tensors  # noqa: E402

import refopt_torch  # noqa: E402
from refopt.rules import RULES  # noqa: E402
from refopt.spec.functions import Scalar  # noqa: E402
from refopt.spec.hyper import Hyper, variants  # noqa: E402
from refopt_torch import BACKEND  # noqa: E402
from refopt_torch.step import PORTS  # noqa: E402

SOURCES = sorted(Path(refopt_torch.__file__).parent.glob("*.py"))
VARIED = list(varied(2))
SHARED_VOCABULARY = {"refopt.spec.hyper", "refopt.spec.errors", "refopt.spec.backend"}


def slots_of(hyper: Hyper, params: list[np.ndarray], rng: np.random.Generator) -> dict[str, Any]:
    """A state in mid-run: any velocity, second moments not negative, a product of betas."""
    slots: dict[str, Any] = {}
    for slot in hyper.program.slots:
        drawn = [numbers_like(rng, p.shape) for p in params]
        slots[slot.name] = 0.6 if slot.clock == "step" else [np.abs(x) if slot.name[0] == "v" else x for x in drawn]
    return slots


def reference(hyper: Hyper, t: int, params: list, grads: list, slots: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    """The specialised source, tensor by tensor: each output's name, and its value for every parameter."""
    program = hyper.program
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in program.outputs}
    for i, (w, g) in enumerate(zip(params, grads, strict=True)):
        known = {"w": w, "g": g} | {k: Scalar(v) if isinstance(v, float) else v[i] for k, v in slots.items()}
        given = {name: known[name] for name in [*program.arrays, *(slot.name for slot in program.numbers)]}
        with np.errstate(all="ignore"):
            result = program.function(**given, t=Scalar(t), **{k: Scalar(hyper.values[k]) for k in program.hypers})
        for name, value in zip(program.outputs, result if isinstance(result, tuple) else (result,), strict=True):
            outputs[name].append(np.asarray(value))
    return outputs


def assert_close(what: str, actual: np.ndarray, expected: np.ndarray, ulps: float) -> None:
    """Equal NaNs, infinities and signs of zeros, and everything else within `ulps` of max(|expected|, 1)."""
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite], what)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(actual[zero]), np.signbit(expected[zero]), what)
    distance = np.abs(actual[finite] - expected[finite]) / np.spacing(np.maximum(np.abs(expected[finite]), 1))
    assert np.all(distance <= ulps), f"{what}: {np.max(distance):.3g} ULP"


# ----- independence


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_imports_only_the_vocabulary_of_the_reference(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert {name for name in imported if name.split(".")[0] == "refopt"} <= SHARED_VOCABULARY
    assert not {"program", "function", "exec", "eval"} & {n.attr for n in nodes if isinstance(n, ast.Attribute)}


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.stem not in ("arrays", "optimizer", "host")], ids=lambda path: path.stem
)
def test_source_never_reads_a_tensor(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not attributes & {"item", "tolist", "numpy", "cpu"}
    assert not called & {"float", "bool"}


@pytest.mark.parametrize("hyper", VARIED, ids=name_of)
def test_run_never_reads_a_tensor(hyper: Hyper) -> None:
    """Meta tensors have no values: whatever waits for a device fails on them."""
    params, grads = ([torch.empty(shape, device="meta") for shape in [(), (3,), (2, 3)]] for _ in range(2))
    given = None if not hyper.program.reads_gradient else grads
    for t in (1, 2):
        BACKEND.update(hyper, t, params, given, BACKEND.init(hyper, params), in_place=True)


@pytest.mark.parametrize("rule", list(RULES.values()), ids=lambda rule: rule.name)
def test_knows_every_choice_and_slot(rule: Any) -> None:
    port = PORTS[rule.name]
    assert port.choices == {axis.name: axis.choices for axis in rule.axes}
    for axes in variants(rule):
        slots = RULES[rule.name].hyper(**axes).program.slots
        starts = {"tensor": "zero"}
        large = {0: "", 128: "large "}
        wanted = {
            s.name: f"zeros of {large[s.least]}{s.of}" if s.clock == "set" else starts.get(s.clock, s.init)
            for s in slots
        }
        assert port.slots(axes) == wanted


# ----- agreement


# Where a number decides which line runs, or divides.
ZEROS = [hyper_of("lars", when="decay").replace(wd=0.0), hyper_of("lars", clip="min").replace(lr=0.0)]


@pytest.mark.parametrize("hyper", VARIED + ZEROS, ids=name_of)
def test_step_agrees_with_reference(hyper: Hyper) -> None:
    rng = np.random.default_rng(20)
    params, grads = arrays(rng)
    for t in (1, 2, 7):
        slots = slots_of(hyper, params, rng)
        expected = reference(hyper, t, params, grads, slots)
        given = None if not hyper.program.reads_gradient else tensors(grads)
        new, new_slots = BACKEND.update(hyper, t, tensors(params), given, tensors(slots), in_place=False)
        for name, values in expected.items():
            actual = new if name == "w" else new_slots[name]
            if isinstance(actual, float):
                assert actual == float(values[0]), name
                continue
            for i, (a, e) in enumerate(zip(actual, values, strict=True)):
                assert_close(f"t={t}, {name} {i}", a.numpy(), e, FLOAT64_ULPS)
        assert given is None or all(np.array_equal(g.numpy(), old) for g, old in zip(given, grads, strict=True))


@pytest.mark.parametrize("axes", list(variants(RULES["ema"])), ids=lambda axes: "-".join(axes.values()))
def test_average_agrees_with_reference(axes: dict[str, str]) -> None:
    hyper = hyper_of("ema", **axes)
    m = numbers_like(np.random.default_rng(21), (3, 4))
    program = hyper.program.evaluate
    for t in (1, 2, 7):
        expected = program.function(m=m, t=Scalar(t), **{name: Scalar(hyper.values[name]) for name in program.hypers})
        slots = {"m": tensors([m])}
        (actual,) = BACKEND.average(hyper, t, tensors([m]), slots)
        assert_close("average", actual.numpy(), expected, FLOAT64_ULPS)
        assert actual.data_ptr() != slots["m"][0].data_ptr()


@pytest.mark.parametrize("hyper", [hyper_of("adam"), hyper_of("momentum"), hyper_of("lars")], ids=name_of)
def test_infinities_and_nans_stay_in_their_lanes(hyper: Hyper) -> None:
    lanes = np.array([1.0, np.inf, -np.inf, np.nan, -0.0])
    pairs = [np.array([1.0, x, y]) for x in lanes for y in lanes]
    params, grads = pairs, [pair[[0, 2, 1]] for pair in pairs]
    slots = {slot.name: pairs for slot in hyper.program.slots}
    expected = reference(hyper, 2, params, grads, slots)
    new, new_slots = BACKEND.update(hyper, 2, tensors(params), tensors(grads), tensors(slots), in_place=False)
    for name, values in expected.items():
        for a, e in zip(new if name == "w" else new_slots[name], values, strict=True):
            assert_close(name, a.numpy(), e, FLOAT64_ULPS)


@pytest.mark.parametrize("dialect", [dialect.name for dialect in RULES["adam"].dialects])
def test_adam_in_float32_is_accurate(dialect: str) -> None:
    """From w = 0 the parameter is the update; its first step against float64, in ULPs of lr."""
    rng = np.random.default_rng(22)
    g = (rng.standard_normal(100_000) * 10.0 ** rng.uniform(-6, 3, 100_000)).astype(np.float32)
    zero = np.zeros_like(g)
    hyper = RULES["adam"].hyper(dialect=dialect, lr=1e-3)
    slots = {slot.name: [zero.astype(float)] for slot in hyper.program.slots}
    (expected,) = reference(hyper, 1, [zero.astype(float)], [g.astype(float)], slots)["w"]
    ((actual,), _) = BACKEND.update(
        hyper,
        1,
        tensors([zero], torch.float32),
        tensors([g], torch.float32),
        tensors(slots, torch.float32),
        in_place=True,
    )
    unit = np.spacing(np.maximum(np.abs(expected), hyper.values["lr"]).astype(np.float32))
    assert np.max(np.abs(actual.numpy() - expected) / unit) <= ADAM_FLOAT32_ULPS
