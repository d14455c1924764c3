"""The parts of the conformance suite: its distance, its cases, its inputs, its reference and its table of budgets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations

import ml_dtypes
import numpy as np
import pytest

from refopt.clocks import of_model
from refopt.rules import RULES
from refopt.spec.hyper import variants
from refopt_conformance import PROFILES
from refopt_conformance.budgets import BUDGETS, MODES, norm_growth
from refopt_conformance.cases import DTYPES, NUMBERS, Case, canonical, conventions, covering
from refopt_conformance.checks import checks
from refopt_conformance.distance import distance, unit
from refopt_conformance.inputs import SHAPES, TREE, ZEROS, gradients, parameters
from refopt_conformance.judge import Judge
from refopt_conformance.nearby import jumps
from refopt_conformance.reference import State, arriving, chain, initial, take
from refopt_conformance.worst import gather

INF, NAN = np.inf, np.nan
DISTANCES = [
    # dtype, actual, expected, scale, ULPs
    ("float32", 1.0, 1.0, 0.0, 0.0),
    ("float32", 1 + 2**-23, 1.0, 0.0, 1.0),
    ("float32", 1.0, 1 + 2**-24, 0.0, 0.5),
    ("float32", 1 - 2**-24, 1.0, 0.0, 0.5),  # below a power of two numbers are denser; the unit is that of 1
    ("float32", 1.0, 1 - 2**-24, 0.0, 1.0),
    ("float32", 2**-23, 0.0, 1.0, 1.0),
    ("float32", 2**-23, 0.0, 4.0, 0.25),
    ("float32", 2**-149, 0.0, 0.0, 1.0),  # subnormals are evenly spaced
    ("float32", 2**-126, 2**-126 + 2**-149, 0.0, 1.0),
    ("float64", 1 + 2**-52, 1.0, 0.0, 1.0),
    ("float64", 5e-324, 0.0, 0.0, 1.0),
    ("float64", 1e308, 1e308, INF, 0.0),
    ("float16", 1 + 2**-10, 1.0, 0.0, 1.0),
    ("float16", 2**-24, 0.0, 0.0, 1.0),
    ("bfloat16", 1 + 2**-7, 1.0, 0.0, 1.0),
    ("float32", NAN, NAN, 0.0, 0.0),
    ("float32", NAN, 1.0, 0.0, INF),
    ("float32", 1.0, NAN, 0.0, INF),
    ("float32", INF, INF, 0.0, 0.0),
    ("float32", INF, -INF, 0.0, INF),
    ("float32", INF, 3e38, 0.0, INF),
    ("float32", INF, 1e39, 0.0, 0.0),  # too large for the dtype: infinity is the rounding of it
    ("float32", 3e38, INF, 0.0, INF),
    ("float32", 0.0, 0.0, 0.0, 0.0),
    ("float32", -0.0, -0.0, 0.0, 0.0),
    ("float32", 0.0, -0.0, 1.0, INF),
    ("float32", -0.0, 0.0, 1.0, INF),
    ("float32", 0.0, -1e-60, 1.0, 1e-60 * 2**23),  # no exact zero: too small to be seen, and so is its sign
]


@pytest.mark.parametrize(("dtype", "actual", "expected", "scale", "ulps"), DISTANCES)
def test_distance(dtype: str, actual: float, expected: float, scale: float, ulps: float) -> None:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    found = distance(np.array([actual]).astype(kind), np.array([expected]), np.array([scale]))
    np.testing.assert_array_equal(found, [ulps])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_is_the_spacing(dtype: type) -> None:
    sizes = np.array([1e-30, 1e-5, 0.3, 1.0, 1.5, 2.0, 1e10, 1e30], dtype)
    np.testing.assert_array_equal(unit(sizes.astype(np.float64), np.dtype(dtype)), np.spacing(sizes).astype(np.float64))


@pytest.mark.parametrize("rule", RULES)
def test_every_choice_of_every_dialect_is_a_case(rule: str) -> None:
    keys = {hyper.program.key for hyper in conventions().values() if hyper.rule.name == rule}
    for dialect in RULES[rule].dialects:
        base = RULES[rule].hyper(dialect.name)
        assert base.program.key in keys
        near = [axes for axes in variants(RULES[rule]) if sum(axes[a] != base.axes[a] for a in axes) == 1]
        assert {RULES[rule].hyper(dialect.name, **axes).program.key for axes in near} <= keys


@pytest.mark.parametrize("rule", RULES)
def test_every_two_choices_of_two_axes_meet(rule: str) -> None:
    def pairs(combinations_: Iterable[dict[str, str]]) -> set[object]:
        return {pair for axes in combinations_ for pair in combinations(axes.items(), 2)}

    assert pairs(covering(RULES[rule])) == pairs(variants(RULES[rule]))
    assert len(covering(RULES[rule])) < 40


@pytest.mark.parametrize("profile", PROFILES)
def test_checks_have_names_of_their_own(profile: str) -> None:
    names = [str(check) for check in checks(profile)]
    assert len(names) == len(set(names))
    assert names == [str(check) for check in checks(profile)], "the order is fixed"


def test_profiles_cover_what_they_should() -> None:
    fast, full, brief = ({str(check) for check in checks(profile)} for profile in PROFILES)
    assert brief < fast | full
    for name, hyper in canonical().items():
        for dtype in ("float64", "float32", "bfloat16", "float16"):
            for numbers in NUMBERS if dtype in DTYPES else NUMBERS[:4]:  # at its ends a half type may be too sensitive
                cancels = any(axis.choice(hyper.axes[axis.name]).cancels for axis in hyper.rule.axes)
                if numbers == "ends" and cancels:
                    continue
                turns = jumps(hyper.program) and (dtype not in DTYPES or numbers == "ends")
                for mode in ("one_step",) if turns else ("one_step", "chain"):
                    assert f"{mode}/{name}/{dtype}/{numbers}" in fast & full
    for name in conventions():
        assert any(check.startswith(f"one_step/{name}/float32/") for check in fast)
        assert {f"one_step/{name}/{dtype}/mixed" for dtype in ("float64", "float32", "bfloat16", "float16")} <= full


def test_numbers_vary_as_they_should() -> None:
    for name, hyper in conventions().items():
        for numbers in NUMBERS:
            case = Case(name, hyper, "float32", numbers=numbers)
            steps = [case.hyper(t).values for t in range(1, 31)]  # every number lies in its interval
            varying = {read for read in hyper.read if len({values[read] for values in steps}) > 1}
            assert varying == set(hyper.read if numbers in ("mixed", "dyadic", "ends") else {"lr"} & {*hyper.read}), (
                case
            )
            if numbers == "dyadic":
                assert all((values[read] * 2**10).is_integer() for values in steps for read in hyper.read), case


def test_inputs_are_the_same_everywhere_and_cover_what_they_should() -> None:
    (scalar,) = gradients("case", ["scalar"], 3, "float64")
    assert float(scalar) == -0.828194343505495
    leaves = list(TREE)
    params = dict(zip(leaves, parameters("case", leaves, "float32"), strict=True))
    assert np.abs(params["33x17"]).max() > 10
    assert not params["zero_params"].any()
    steps = [dict(zip(leaves, gradients("case", leaves, t, "float32"), strict=True)) for t in range(1, 8)]
    large = np.abs(steps[0]["33x17"])
    assert large.max() > 1
    assert 0 < large.min() < 1e-11
    assert not steps[0]["seven"].any()
    assert not any(steps[5][leaf].any() for leaf in (*SHAPES, *ZEROS))
    assert not any(step["zero_both"].any() or step["zero_grads"].any() for step in steps)
    assert {np.signbit(x) for x in steps[5]["33x17"].flat} == {False, True}


REGIME_STEPS = [
    # leaf, what holds of its gradients at steps 1 to 7
    ("late", lambda g: not g[:3].any() and g[3:].all()),
    ("now_and_then", lambda g: not g[1::2].any() and g[::2].all()),
    ("alternating", lambda g: (np.sign(g[2:-1]) == -np.sign(g[3:])).all() and (np.abs(g) == 0.75).all()),
    ("burst", lambda g: np.abs(g[3]).min() > 1000 * np.abs(np.delete(g, 3, 0)).max()),
    ("huge", lambda g: np.abs(g).min() > 1e10),
    ("near_eps", lambda g: np.abs(g).max() < 0.02),
    ("nan_lane", lambda g: np.isnan(g).sum() == 1 and np.isnan(g[2, 2])),
    ("inf_lane", lambda g: np.isinf(g).sum() == 1 and np.isinf(g[2, 1])),
    ("underflow", lambda g: ((np.abs(g) > 0) & (np.abs(g) < np.finfo(np.float32).tiny)).any()),
]


@pytest.mark.parametrize(("leaf", "holds"), REGIME_STEPS, ids=[leaf for leaf, _ in REGIME_STEPS])
def test_regimes_are_what_they_are_called(leaf: str, holds: Callable[[np.ndarray], bool]) -> None:
    assert holds(np.array([gradients("case", [leaf], t, "float32")[0] for t in range(1, 8)]))


@pytest.mark.parametrize("name", [name for name, hyper in canonical().items() if not of_model(hyper.program)])
def test_the_reference_joins_leaves_without_a_trace(name: str) -> None:
    """Joined or leaf by leaf, float64 bits are the same; and a chain hands its state on."""
    case = Case(name, canonical()[name], "float32")
    alone = [Case(case.name, case.conventions, case.dtype, (leaf,)) for leaf in case.leaves]
    together = take(case, 1, initial(case), arriving(case, 1))
    for i, (one, array) in enumerate(zip(alone, together.before.params, strict=True)):
        slots = {n: [s[i]] if isinstance(s, list) else s for n, s in together.before.slots.items()}
        before = State([array], slots)
        grads = [array] if together.grads is None else [together.grads[i]]
        after = take(one, 1, before, grads).after
        assert after.params[0].tobytes() == together.after.params[i].tobytes()
    *_, first, second = chain(case, 3)  # which starts with step 2 if the first step is not finite
    assert second.before.slots is first.after.slots


def test_budgets_are_complete() -> None:
    for mode in MODES:
        for dtype in ("float32", "float64"):
            for quantity in ("parameter", "slot", *(() if mode == "large tensor" else ("number", "average"))):
                assert BUDGETS[quantity, dtype, mode].reason
    assert all(budget.ulps < 3000 for budget in BUDGETS.values())


@pytest.mark.parametrize(
    ("elements", "ulps"), [(0, 2), (1, 2), (16, 2), (17, 2.5), (4096, 129.5), (4097, 130), (100003, 141.5)]
)
def test_norms_may_lose_what_their_tree_may_lose(elements: int, ulps: float) -> None:
    """Half a unit for each addition on the way of one square: in its lane, folding the lanes, over the blocks."""
    assert norm_growth(elements) == ulps


def test_only_rules_with_norms_are_allowed_more() -> None:
    allowed = {
        name.partition("/")[0]: Judge(Case(name, h, "float32"), "chain").growth for name, h in canonical().items()
    }
    assert {name: growth for name, growth in allowed.items() if growth} == dict.fromkeys(
        ("adafactor", "lamb", "lars", "muon", "novograd", "prodigy"), norm_growth(33 * 17)
    )


def test_budgets_were_measured() -> None:
    """Nothing is allowed that was not measured, or much more than was; `refopt_conformance.worst` gathers it."""
    for key, budget in BUDGETS.items():
        assert budget.worst <= budget.ulps, f"{key}: {budget.worst} was measured, {budget.ulps} are allowed"
        assert budget.where != "never run" or key[0] in ("number", "estimate"), key  # not every chain has one
        assert budget.ulps <= max(6 * budget.worst, 8), f"{key}: {budget.worst} was measured, {budget.ulps} are allowed"


def test_worst_takes_the_largest_of_several_runs() -> None:
    def run(version: str, ulps: float | str) -> dict[str, object]:
        return {"version": version, "cases": [{"worst": [["slot", "float32", "chain", ulps, f"by {version}"]]}, {}]}

    assert gather([run("a", 1.0), run("b", 3.0), run("c", 2.0)]) == {
        "slot, float32, chain": {"ulps": 3.0, "backend": "b", "where": "by b"}
    }
    assert gather([run("a", 1.0), run("b", "inf")])["slot, float32, chain"]["backend"] == "b"
