"""What is shown is what is computed: equations, numbers and pages agree with the engine, the source and each other."""

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explaining_cases import CASES, each_case, numbers
from rich.console import Console

from refopt.clocks import Clock
from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.engines.numpy_engine import BACKEND
from refopt.explaining import explain, list_rules, show
from refopt.explaining.inputs import GRADS, PARAMS, example
from refopt.rules import RULES
from refopt.spec.errors import RefoptError
from refopt.spec.functions import newton_schulz, newton_schulz_dion
from refopt.spec.hyper import Hyper

DOCS = Path(__file__).parent.parent / "docs"


def engine_steps(hyper: Hyper, dtype: str, steps: int) -> Iterator[dict[str, Any]]:
    """The parameter, the slots and the average after each step of the engine, on the example's inputs."""
    kind = PARAMETER_DTYPES[dtype]
    params = [np.array(example(hyper.program, PARAMS, 0), kind)]
    slots = BACKEND.init(hyper, params)
    for t in range(1, steps + 1):
        if not hyper.program.writes_parameter:
            params = [np.array(example(hyper.program, PARAMS, t), kind)]
        grads = [np.array(example(hyper.program, GRADS, t - 1), kind)] if hyper.program.reads_gradient else None
        params, slots = BACKEND.update(hyper, t, params, grads, slots, in_place=False)
        after = {name: slot if isinstance(slot, float) else slot[0] for name, slot in slots.items()}
        if hyper.program.writes_parameter:
            after["w"] = params[0]
        if hyper.program.evaluate:
            after["a"] = BACKEND.average(hyper, t, params, slots)[0]
        yield after


def bits(value: Any) -> str:
    return float(value).hex()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@each_case
def test_values_are_the_engines(rule: str, dialect: str, axes: dict[str, str], dtype: str) -> None:
    given = {**axes, **numbers(rule, dialect, axes)}
    coordinate = len(rule) % 3
    explanation = explain(rule, dialect=dialect, dtype=dtype, coordinate=coordinate, **given)
    for step, after in zip(explanation.steps, engine_steps(explanation.hyper, dtype, 3), strict=True):
        last = {line.target: line.value for line in step.lines}
        lasting = {"w0"} - last.keys()  # the only slot that stays what it is
        for name, expected in ((name, value) for name, value in after.items() if name not in lasting):
            shown = last.get(name)
            if isinstance(expected, float):
                number = expected
            elif not expected.size:  # a matrix has no vector
                assert name not in last
                continue
            elif expected.ndim:
                number = np.broadcast_to(expected, explanation.shape).flat[coordinate]
            else:  # one number for the tensor, in float64 until it is kept
                number, shown = expected, np.float32(shown).astype(expected.dtype) if dtype != "float64" else shown
            assert bits(shown) == bits(number), f"step {step.t}: {name}"


SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")


def as_python(shown: str) -> str:
    """The numbers of a line as a Python expression."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda m: f"**({m[0].translate(SUPERSCRIPTS)})", shown)
    text = re.sub(r"√(\d[\d.]*(e[-+]\d+)?|m..\([^()]*\))", r"sqrt(\1)", text).replace("√", "sqrt").replace("Σ", "total")
    text = re.sub(r"‖\(([^)]*)\)‖", r"hypot(\1)", re.sub(r"\|([^|]*)\|", r"abs(\1)", text))
    return text.replace("·", "*").replace("−", "-").replace("^", "**")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-15), ("float32", 1e-6)])
@each_case
def test_numbers_compute_to_the_value(
    rule: str, dialect: str, axes: dict[str, str], dtype: str, tolerance: float
) -> None:
    """A reader who types in what is shown gets what is shown: parentheses and digits are right."""
    scope = {"sqrt": math.sqrt, "max": max, "min": min, "inf": math.inf, "nan": math.nan, "sign": np.sign}
    scope["hypot"] = lambda *x: math.sqrt(sum(value * value for value in x))
    scope |= {"float32": np.float32, "total": lambda *x: sum(x)}
    scope |= {"max": lambda *x: max(x), "min": lambda *x: min(x)}
    scope |= {
        "NS": lambda *x: newton_schulz(np.array(x))[0, 0],
        "NSD": lambda *x: newton_schulz_dion(np.array(x))[0, 0],
    }
    scope |= dict.fromkeys(("rowmean", "colmean"), lambda *x: sum(x) / len(x))
    given = {**axes, **numbers(rule, dialect, axes)}
    for step in explain(rule, dialect=dialect, dtype=dtype, **given).steps:
        for line in step.lines:
            if math.isfinite(line.value) and "inf" not in line.substituted:
                scale = max(abs(line.value), 1.0)
                assert abs(eval(as_python(line.substituted), scope) - line.value) <= tolerance * scale, line


@each_case
def test_a_step_starts_from_what_the_last_one_showed(rule: str, dialect: str, axes: dict[str, str]) -> None:
    explanation = explain(rule, dialect=dialect, dtype="float32", **axes)
    steps, targets = explanation.steps, {line.target for line in explanation.steps[0].lines}
    lasting = [slot for slot in explanation.hyper.program.slots if slot.name not in targets]
    for before, after in pairwise(steps):
        shown = {line.symbol: line.shown for line in before.lines}
        kept = [given for given in after.given if given.symbol in shown]
        # all but g, or the w of a rule that leaves it alone; and but for slots that stay what they are
        assert len(kept) >= len(after.given) - 1 - len(lasting)
        assert {given.symbol: given.shown for given in kept}.items() <= shown.items()


COMMANDS = {
    "begin", "end", "frac", "sqrt", "hat", "bar", "lVert", "rVert", "lvert", "rvert", "textstyle", "sum", "cdot",
    "mathrm", "operatorname", "text", "max", "min", "left", "right", "le", "ge", "ne", "eta", "lambda", "mu", "beta",
    "varepsilon", "tau", "pi", "psi", "rho", "gamma", "alpha", "kappa", "delta", "sigma", "theta", "top", "\\",
}  # fmt: skip


@each_case
def test_latex_is_well_formed(rule: str, dialect: str, axes: dict[str, str]) -> None:
    latex = show(rule, dialect=dialect, format="latex", **axes)
    depth = 0
    for character in latex:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert latex.count(r"\left(") == latex.count(r"\right)")
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", latex):
        assert kind == "begin" or opened.pop() == name
        opened += [name] if kind == "begin" else []
    assert not opened
    assert set(re.findall(r"\\([A-Za-z]+|\\)", latex)) <= COMMANDS
    assert not re.search(r"'+(_\w|_\{[^}]*\})\^", latex), "a prime and a power are two superscripts"
    assert not re.search(r"_(\w|\{[^{}]*\})_", latex), "two subscripts"
    assert latex.isascii()


def test_a_line_as_the_design_promises() -> None:
    first = explain("adam", steps=1).steps[0].lines[0]
    assert (first.symbol, first.symbols) == ("m₁", "β₁·m₀ + (1 − β₁)·g₁")
    assert (first.substituted, first.shown) == ("0.9·0.0 + (1 − 0.9)·0.5", "0.04999999999999999")
    assert (first.clock, first.target, first.origin) == (Clock.ELEMENT, "m", "")


@pytest.mark.parametrize("digits", [1, 3, 17])
def test_rounded_digits_are_marked(digits: int) -> None:
    for dtype in ("float64", "float32"):
        for step in explain("adam", dialect="objax", dtype=dtype, digits=digits).steps:
            for line in step.lines:
                kind = np.float32 if dtype == "float32" and line.clock is Clock.ELEMENT else np.float64
                assert line.rounded or float(kind(line.shown)) == line.value
                assert line.rounded == (line.stages[-1][0] == "≈")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("rule", "result"), [("adam", "w"), ("ema", "a")])
def test_half_types_end_with_their_rounding(rule: str, result: str, dtype: str) -> None:
    kind = PARAMETER_DTYPES[dtype].type
    for step in explain(rule, dtype=dtype).steps:
        before, last = [line for line in step.lines if line.target == result][-2:]
        assert last is step.lines[-1]
        assert last.symbols == f"{dtype}({before.symbol})"
        assert before.symbol == last.symbol.replace(result, f"{result}′")
        assert last.value == float(kind(before.value))


def test_own_inputs() -> None:
    params, grads = np.float32([[1.0, 2.0], [3.0, -0.0]]), np.ones((2, 2, 2), np.float32)
    explanation = explain("sgd", dtype="float32", steps=2, params=params, grads=grads, coordinate=3, lr=0.5)
    assert explanation.shape == (2, 2)
    assert [line.value for step in explanation.steps for line in step.lines] == [-0.5, -1.0]
    assert explanation.steps[0].lines[0].substituted == "-0.0 − 0.5·1.0"


def test_a_large_tensor_shows_its_ends() -> None:
    explanation = explain("lars", params=np.arange(100.0), grads=[np.ones(100)], steps=1)
    norms = [line.substituted for line in explanation.steps[0].lines if line.target.endswith("_norm")]
    assert norms == ["√(0.0² + 1.0² + … + 99.0²)", "√(1.0² + 1.0² + … + 1.0²)"]


def test_a_scalar_tensor() -> None:
    explanation = explain("lars", params=2.0, grads=[1.0], steps=1, when="matrices")
    assert explanation.shape == ()
    assert next(line for line in explanation.steps[0].lines if line.target == "trust").shown == "1"


REFUSED = [
    ("adam", {"steps": 0}, "steps must be a whole number of at least 1; got 0"),
    ("adam", {"digits": 0}, "digits must be a whole number of at least 1; got 0"),
    ("adam", {"coordinate": 3}, r"coordinate must be in \[0, 3\)"),
    ("adam", {"dtype": "int8"}, "one of float64, float32, float16, bfloat16; got int8"),
    ("adam", {"params": [1.0]}, r"the example gradients have shape \(3,\), params has \(1,\); give grads"),
    ("adam", {"grads": [[1.0, 2.0, 3.0]]}, "grads must be 3 arrays for these steps; got 1"),
    ("adam", {"steps": 1, "grads": [[1.0]]}, r"grads\[0\] has shape \(1,\); it must be \(3,\)"),
    ("adam", {"params": np.zeros(3, np.float32)}, "params is float32; pass dtype='float32'"),
    ("adam", {"params": "abc"}, "params must be an array of numbers; got 'abc'"),
    ("ema", {"grads": [[1.0]]}, "reads no gradient; leave grads out"),
    ("ema", {"params": [[1.0, 2.0]]}, "params must be 4 arrays for these steps; got 1"),
    ("adma", {}, "Did you mean 'adamax'"),
    ("adam", {"epsat": "inside_hat"}, "Did you mean 'eps_at'"),
]


@pytest.mark.parametrize(("rule", "options", "message"), REFUSED)
def test_refusals_say_what_to_do(rule: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RefoptError, match=message):
        explain(rule, **options)


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(("rule", "dialect", "axes"), [case for case in CASES if not case[2]])
def test_json_has_what_the_text_has(rule: str, dialect: str, axes: dict[str, str]) -> None:
    hyper = RULES[rule].hyper(dialect=dialect, **axes)
    known = strict_json(show(rule, dialect=dialect, format="json", **axes))
    text = show(rule, dialect=dialect, **axes)
    assert {axis["name"]: axis["chosen"] for axis in known["axes"]} == hyper.axes
    assert [p["name"] for p in known["hyper_parameters"] if p["read"]] == list(hyper.read)
    assert [slot["name"] for slot in known["slots"]] == [slot.name for slot in hyper.program.slots]
    assert len(known["lines"]) == len(hyper.program.lines) + len(
        hyper.program.evaluate.lines if hyper.program.evaluate else ()
    )
    for line in known["lines"]:
        left, right = line["unicode"].split(" = ", 1)
        assert line["source"] in text
        assert f"= {right}\n" in text
        assert f"  {left} " in text
    traced = strict_json(explain(rule, dialect=dialect, **axes).json())
    nothing = {slot.name for slot in hyper.program.slots if slot.clock == "set" and 0 in slot.shape((2, 2))}
    nothing |= {"mean", "p"} if "r" in nothing else set()  # the example is a small matrix
    computed = [line["target"] for line in known["lines"] if line["target"] not in nothing]
    assert [[line["target"] for line in step["lines"]] for step in traced["steps"]] == [computed] * 3


def test_unknown_format() -> None:
    with pytest.raises(RefoptError, match="unknown format 'html'; choose from text, latex, json, markdown"):
        show("adam", format="html")


def test_rich_renderings() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(list_rules())
        console.print(explain("lars", dialect="objax", steps=1).render())
    printed = captured.get()
    for name in RULES:
        assert name in printed
    assert re.search("‖w₀‖ += √Σ w₀²", printed)
    assert "zero_norm=max" in printed


def test_an_explanation_is_printed_as_text() -> None:
    lines = str(explain("momentum", dialect="torch", steps=1)).splitlines()
    assert lines[4] == "Step 1 from w₀ = 0.5, g₁ = 0.5, u₀ = 0.0"
    assert lines[8:10] == [
        "u₁  = g′₁ if t = 1, else μ·u₀ + (1 − d)·g′₁  element  first_step=copy_gradient",
        "    = 0.5",
    ]
