"""The iteration of Newton and Schulz: what it makes of singular values, of zeros and of NaN; as one sees it."""

from __future__ import annotations

import numpy as np
import pytest

from refopt.explaining import explain
from refopt.rules import RULES
from refopt.spec.newton_schulz import DION, QUINTIC, Triple, matrix, newton_schulz, product
from refopt_conformance.amplification import MATRIX, SLOPE, comes_back, largest, quantity_of

SHAPES = [(), (1,), (5,), (2, 3), (3, 2), (4, 4), (33, 17), (2, 3, 4), (2, 1, 2, 1)]
ULPS = 64.0  # of float64, for two orders of adding in fifteen products of numbers of order 1


def _draw(shape: tuple[int, ...]) -> np.ndarray:
    x = np.random.default_rng(len(shape)).standard_normal(shape)
    return np.asarray(x / np.linalg.norm(x))


def _of_values(x: np.ndarray, steps: tuple[Triple, ...]) -> np.ndarray:
    """The same by the singular values, one by one."""
    u, s, v = np.linalg.svd(x.reshape(matrix(x.shape)), full_matrices=False)
    for a, b, c in steps:
        s = a * s + b * s**3 + c * s**5
    return ((u * s) @ v).reshape(x.shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [QUINTIC, DION], ids=["quintic", "dion"])
def test_it_changes_the_singular_values_alone(shape: tuple[int, ...], steps: tuple[Triple, ...]) -> None:
    x = _draw(shape)
    found = newton_schulz(x, shape, steps)
    assert found.shape == shape
    assert np.abs(found - _of_values(x, steps)).max() <= ULPS * np.finfo(float).eps


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if len(shape) > 1])
def test_singular_values_come_near_one(shape: tuple[int, ...]) -> None:
    values = np.linalg.svd(newton_schulz(_draw(shape), shape).reshape(matrix(shape)), compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 2, 1)])
def test_leading_dimensions_are_tensors_of_their_own(shape: tuple[int, ...]) -> None:
    some = np.stack([_draw(shape), _draw(shape)[..., ::-1]])
    np.testing.assert_array_equal(newton_schulz(some, shape), [newton_schulz(one, shape) for one in some])


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_of_nothing_it_makes_nothing(shape: tuple[int, ...]) -> None:
    assert newton_schulz(np.zeros(shape), shape).shape == shape


def test_zeros_stay_and_what_is_no_number_spreads() -> None:
    zeros = newton_schulz(np.full((2, 3), -0.0), (2, 3))
    assert not zeros.any()
    assert not np.signbit(zeros).any()
    for bad in (np.nan, np.inf):
        x = _draw((3, 2))
        x[2, 0] = bad
        with np.errstate(all="ignore"):
            assert np.isnan(newton_schulz(x, (3, 2))).all()


def test_it_is_rounded_once() -> None:
    x = _draw((33, 17)).astype(np.float32)
    np.testing.assert_array_equal(newton_schulz(x, x.shape), newton_schulz(x.astype(float), x.shape).astype(np.float32))


@pytest.mark.parametrize("terms", [0, 1, 3, 16, 17, 40])
def test_a_product_adds_in_lanes(terms: int) -> None:
    """Powers of two that no order but the documented one adds to the same bits."""
    x = (2.0 ** (-7.0 * np.arange(terms)) + 2.0**-52)[None, :]
    lanes = [0.0] * 16
    for j, value in enumerate(x[0]):
        lanes[j % 16] += value
    while len(lanes) > 1:
        lanes = [a + b for a, b in zip(lanes[: len(lanes) // 2], lanes[len(lanes) // 2 :], strict=True)]
    assert product(x, np.ones((terms, 1)))[0, 0] == lanes[0]


def test_an_explanation_shows_the_matrix() -> None:
    explanation = explain("muon", steps=1, dialect="jordan", params=np.ones((3, 1)), grads=[np.full((3, 1), 2.0)])
    shown = {line.target: line for line in explanation.steps[0].lines}
    assert shown["o"].substituted.startswith("NS(0.57735")
    assert shown["o"].substituted.count(",") == 2
    assert shown["scale"].substituted == "√max(1, 3 / 1)"


def test_a_step_does_not_follow_the_size_of_gradients() -> None:
    hyper = RULES["muon"].hyper(eps=0.0)
    g = _draw((3, 2))
    once, twice = (hyper.program.function(w=0 * g, g=s * g, u=0 * g, t=1, lr=0.5, mu=0.0, eps=0.0)[0] for s in (1, 2))
    np.testing.assert_array_equal(once, twice)


def test_parameters_are_judged_as_of_their_tensor() -> None:
    plain, decayed, sgd = (RULES[name].hyper(**axes).program for name, axes in JUDGED)
    assert [quantity_of(one) for one in (plain, decayed, sgd)] == [MATRIX, MATRIX, "parameter"]
    assert [comes_back(one) for one in (plain, decayed, sgd)] == [False, True, False]
    assert round(SLOPE) == 493
    np.testing.assert_array_equal(largest(np.array([1.0, 3.0, np.inf, 2.0]), [2, 0, 2]), [3.0, 3.0, 2.0, 2.0])


JUDGED = (("muon", {}), ("muon", {"decay": "l2"}), ("sgd", {"decay": "l2"}))
