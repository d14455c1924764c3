"""Numbers that are not given are fitted: the variant that made a trace is found, with its numbers, and its doubles."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from verifying_cases import FITTED, record

from refopt.rules import RULES
from refopt.spec.hyper import variants
from refopt.spec.program import program
from refopt.verifying.fitting import Solution, solutions, which_lacking
from refopt.verifying.leastsquares import Coordinate, Model
from refopt.verifying.probes import Probe, probes
from refopt.verifying.samples import sample
from refopt.verifying.shared import of_models, of_tensors
from refopt.verifying.trace import Arrays

RATES = (1, 2, 4, 2, 0.5, 1, 4, 8, 2, 1, 0.25, 2)
ADAM = {"lr": 0.003, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
LARS = {"lr": 0.1, "mu": 0.9, "wd": 5e-4, "tc": 0.02}
TORCH = {"gradient_scale": "dampening", "first_step": "copy_gradient"}
OF_ADAM = ["lr", "beta1", "beta2", "eps"]


def trace(rule: str, numbers: Mapping[str, float], axes: Mapping[str, str], dtype: str, varying: bool) -> Arrays:
    """Twelve steps of the rule, on tensors of which one starts at zero."""
    given = probes(RULES[rule], set(numbers), set())[-1]
    hyper = [{**numbers} for _ in given.hyper]
    for now, factor in zip(hyper, RATES, strict=True):
        now |= {"lr": now["lr"] * factor} if varying else {}
    return record(RULES[rule].hyper(**axes), Probe(given.params, given.grads, hyper), dtype).arrays()


def found(rule: str, arrays: Arrays, lacking: Sequence[str]) -> list[Solution]:
    known = [{name: value for name, value in now.items() if name not in lacking} for now in arrays.hyper]
    return solutions(RULES[rule], [arrays], [known], lacking)


def has(one: Solution, rule: str, axes: Mapping[str, str]) -> bool:
    """Whether this is the paper's variant but for these choices."""
    wanted = RULES[rule].hyper(**axes).axes
    return any(all(wanted[axis] == choice for axis, choice in now.items()) for now in one.candidate.axes)


# rule, numbers, axes, lacking, dtype, whether lr varies
ROWS = [
    ("sgd", {"lr": 0.03}, {}, ["lr"], "float64", False),
    ("sgd", {"lr": 0.03, "wd": 0.01}, {"decay": "l2"}, ["wd"], "float64", True),
    ("momentum", {"lr": 0.03, "mu": 0.85}, {}, ["mu"], "float64", True),
    ("momentum", {"lr": 0.03, "mu": 0.85}, {}, ["lr", "mu"], "float32", False),
    ("momentum", {"lr": 0.03, "mu": 0.85}, {"lr_at": "inside", "nesterov": "yes"}, ["lr", "mu"], "float64", False),
    ("momentum", {"lr": 0.03, "mu": 0.85, "dampening": 0.3}, TORCH, ["lr", "mu", "dampening"], "float64", False),
    ("momentum", {"lr": 0.03, "mu": 0.85, "wd": 0.02}, {"decay": "l2"}, ["lr", "mu", "wd"], "float64", False),
    ("adam", ADAM, {}, ["lr"], "float32", False),
    ("adam", ADAM, {}, ["beta1"], "float64", True),
    ("adam", ADAM, {}, ["beta2"], "float64", False),
    ("adam", ADAM, {}, ["eps"], "float64", True),
    ("adam", ADAM, {}, OF_ADAM, "float64", False),
    ("adam", {**ADAM, "eps": 1e-7}, {"eps_at": "outside_raw"}, OF_ADAM, "float64", False),
    ("adam", ADAM, {"eps_at": "inside_raw"}, OF_ADAM, "float64", False),
    ("adam", {**ADAM, "wd": 0.01}, {"decay": "l2"}, ["wd"], "float64", False),
    ("adam", {**ADAM, "wd": 0.01}, {"decay": "decoupled"}, [*OF_ADAM, "wd"], "float64", False),
    ("lars", LARS, {}, ["lr"], "float64", False),
    ("lars", LARS, {}, ["mu", "tc"], "float32", True),
    ("lars", LARS, {"denominator": "joint"}, ["lr", "mu", "tc", "wd"], "float64", False),
    ("ema", {"mu": 0.95}, {"debias": "standard"}, ["mu"], "float64", False),
    ("ema", {"mu": 0.95, "power": 0.7, "inv_gamma": 3.0}, {"decay_schedule": "power"}, ["inv_gamma"], "float64", False),
    ("ema", {"mu": 0.95}, {"init": "first_update"}, ["mu", "eps", "power", "inv_gamma"], "float32", False),
]


def name(row: tuple[object, ...]) -> str:
    rule, _, axes, lacking, dtype, varying = row
    chosen = "-".join(f"{axis}={choice}" for axis, choice in dict(axes).items())  # type: ignore[call-overload]
    return f"{rule}-{chosen}-lacking-{','.join(lacking)}-{dtype}{'-varying' * bool(varying)}"  # type: ignore[arg-type]


@pytest.mark.parametrize(("rule", "numbers", "axes", "lacking", "dtype", "varying"), ROWS, ids=map(name, ROWS))
def test_gives_back_the_variant_and_its_numbers(
    rule: str, numbers: dict[str, float], axes: dict[str, str], lacking: list[str], dtype: str, varying: bool
) -> None:
    those = [one for one in found(rule, trace(rule, numbers, axes, dtype, varying), lacking) if has(one, rule, axes)]
    assert len(those) == 1
    assert those[0].fit.first is None
    for number in set(lacking) & set(numbers):
        if number in those[0].ranges:
            low, high = those[0].ranges[number]
            assert low <= numbers[number] <= high
        else:
            assert those[0].numbers[number] == numbers[number]
    assert those[0].ranges.keys() <= set(lacking if dtype == "float32" else [])


# rule, numbers, axes, lacking, what is the same function with other numbers: its axes, and its numbers
DOUBLES = [
    ("momentum", {"lr": 0.03, "mu": 0.85}, {}, ["lr", "mu"], [
        ({"lr_at": "inside"}, {"lr": 0.03, "mu": 0.85}),
        ({"gradient_scale": "ema"}, {"lr": 0.2, "mu": 0.85}),
        ({"gradient_scale": "ema", "lr_at": "inside"}, {"lr": 0.2, "mu": 0.85}),
        ({"first_step": "copy_gradient"}, {"lr": 0.03, "mu": 0.85}),
    ]),
    ("sgd", {"lr": 0.03, "wd": 0.01}, {"decay": "l2"}, ["lr", "wd"], [
        ({"decay": "decoupled_no_lr"}, {"lr": 0.03, "wd": 0.0003}),
        ({"decay": "decoupled_after"}, {"lr": 0.03 / (1 - 0.0003), "wd": 0.01 * (1 - 0.0003)}),
        ({"decay": "decoupled_no_lr_after"}, {"lr": 0.03 / (1 - 0.0003), "wd": 0.0003}),
    ]),
    ("adam", {**ADAM, "wd": 0.01}, {"decay": "decoupled"}, [*OF_ADAM, "wd"], [
        ({"decay": "decoupled_no_lr"}, {"lr": 0.003, "wd": 3e-5, "eps": 1e-8}),
        ({"decay": "decoupled", "power": "product"}, {"lr": 0.003, "wd": 0.01, "beta2": 0.99}),
    ]),
    ("lars", LARS, {}, ["lr", "tc"], [
        ({"lr_at": "outside"}, {"lr": 0.1, "tc": 0.02}),
        ({"when": "decay"}, {"lr": 0.1, "tc": 0.02}),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "numbers", "axes", "lacking", "doubles"), DOUBLES, ids=[f"{row[0]}-{len(row[4])}" for row in DOUBLES]
)
def test_finds_the_doubles_which_other_numbers_make(
    rule: str,
    numbers: dict[str, float],
    axes: dict[str, str],
    lacking: list[str],
    doubles: list[tuple[dict[str, str], dict[str, float]]],
) -> None:
    fitting = found(rule, trace(rule, numbers, axes, "float64", varying=False), lacking)
    for choices, expected in [(axes, {n: numbers[n] for n in lacking}), *doubles]:
        (double,) = [one for one in fitting if has(one, rule, choices)]
        assert {n: double.numbers[n] for n in expected} == pytest.approx(expected, rel=FITTED)


@pytest.mark.parametrize("rule", RULES)
def test_what_is_fitted_is_what_is_compared(rule: str) -> None:
    """At the numbers that made a trace, the distances of its variant are no more than rounding: of any variant."""
    numbers = {p.name: p.probes[-1] if p.probes else 0.0625 for p in RULES[rule].hyper_parameters}
    every = [axes for axes in variants(RULES[rule]) if axes.get("first_t") != "0"]  # which divides by zero
    coordinates = {name: Coordinate(RULES[rule].hyper_parameter(name)) for name in numbers}
    y = np.array([[coordinate.of(numbers[name]) for name, coordinate in coordinates.items()]])
    for axes in random.Random(0).sample(every, min(40, len(every))):
        arrays = trace(rule, numbers, axes, "float64", varying=False)
        tensors, models = of_tensors(program(RULES[rule], axes).lines), of_models(program(RULES[rule], axes).lines)
        given = sample([arrays], [[{}] * 12], tensors=tensors, models=models, length=12, elements=1000)
        most = 1.0 if models else 0.1  # a total adds in another order, and what is left of it is small beside its terms
        assert np.abs(Model(program(RULES[rule], axes), given, coordinates).distances(y)).max() < most, axes


def test_an_eps_that_the_data_does_not_show_is_a_range() -> None:
    arrays = trace("adam", ADAM, {}, "float32", varying=True)
    (paper,) = [one for one in found("adam", arrays, ["eps"]) if has(one, "adam", {})]
    low, high = paper.ranges["eps"]
    assert (low, paper.numbers["eps"]) == (0.0, 1e-8)
    assert 1e-8 < high < 1e-3
    assert paper.tied == ()


def test_numbers_that_show_only_together_are_tied() -> None:
    """Where no norm is zero, and lr is constant, only lr times the trust coefficient is seen."""
    rng = np.random.default_rng(0)
    probe = Probe([rng.standard_normal(3)], [[rng.standard_normal(3)] for _ in range(8)], [LARS] * 8)
    arrays = record(RULES["lars"].hyper(), probe, "float64").arrays()
    (paper,) = [one for one in found("lars", arrays, ["lr", "tc"]) if has(one, "lars", {})]
    assert paper.tied == (("lr", "tc"),)
    assert paper.numbers["lr"] * paper.numbers["tc"] == pytest.approx(0.002, rel=FITTED)


def test_a_tie_shows_at_numbers_of_different_size() -> None:
    """Without a first step that tells them apart, a rate and a dampening make up for one another."""
    numbers, axes = {"lr": 0.0027, "mu": 0.8, "dampening": 0.1}, {"gradient_scale": "dampening"}
    arrays = trace("momentum", numbers, axes, "float64", varying=False)
    (true,) = [one for one in found("momentum", arrays, list(numbers)) if has(one, "momentum", axes)]
    assert true.tied == (("lr", "dampening"),)
    assert true.numbers["lr"] * (1 - true.numbers["dampening"]) == pytest.approx(0.0027 * 0.9, rel=FITTED)
    assert true.numbers["mu"] == 0.8


def test_what_only_a_large_tensor_shows() -> None:
    """Variants are fitted to small tensors, on which a zero norm elsewhere is not seen."""
    rng = np.random.default_rng(0)
    grads = [[rng.standard_normal(3), np.zeros(5000)] for _ in range(6)]
    axes = {"zero_norm": "denominator_only"}
    probe = Probe([rng.standard_normal(3), rng.standard_normal(5000)], grads, [{**LARS, "mu": 0.85}] * 6)
    fitting = found("lars", record(RULES["lars"].hyper(**axes), probe, "float64").arrays(), ["mu"])
    assert [one.numbers["mu"] for one in fitting if has(one, "lars", axes)] == [0.85]
    assert not any(has(one, "lars", {}) for one in fitting)


def test_if_nothing_fits_it_is_the_nearest() -> None:
    arrays = trace("momentum", {"lr": 0.03, "mu": 0.85}, {}, "float64", varying=False)
    arrays.results[5][1][0] += 0.01
    (nearest,) = found("momentum", arrays, ["lr", "mu"])
    assert nearest.fit.first is not None
    assert nearest.fit.excludes


def test_several_traces_are_fitted_together() -> None:
    """Of two short traces each with another rate, both have the same decay."""
    numbers = {"lr": 0.03, "mu": 0.85}
    both = [trace("momentum", {**numbers, "lr": lr}, {}, "float16", varying=False) for lr in (0.03, 0.06)]
    known = [[{"lr": now["lr"]} for now in arrays.hyper] for arrays in both]
    (paper,) = [one for one in solutions(RULES["momentum"], both, known, ["mu"]) if has(one, "momentum", {})]
    low, high = paper.ranges.get("mu", (paper.numbers["mu"],) * 2)
    assert low <= 0.85 <= high
    assert high - low < 0.05


@pytest.mark.parametrize(
    ("rule", "known", "stages"),
    [
        ("sgd", {"lr"}, [[], ["wd"]]),
        ("ema", {"eps", "power", "inv_gamma"}, [["mu"]]),
        ("adam", {"lr", "beta1"}, [
            ["beta2", "eps"], ["beta2", "eps", "eps_root"], ["beta2", "eps", "wd"], ["beta2", "eps", "eps_root", "wd"],
        ]),
    ],
)  # fmt: skip
def test_what_is_neutral_at_zero_is_fitted_last(rule: str, known: set[str], stages: list[list[str]]) -> None:
    assert which_lacking(RULES[rule], known) == stages
