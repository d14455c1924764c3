"""The sets that a tensor's elements are in, by hand; and what an explanation shows of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from refopt.explaining import explain
from refopt.spec.functions import column_means, row_means, vector
from refopt.spec.sets import SHAPES, count, max_along, means, members, min_along

NAN = float("nan")
# A tensor, the largest of each set, and from these the smallest for each element.
TABLE = [
    (4.0, [4.0], 4.0),
    ([1.0, 3.0], [1.0, 3.0], [1.0, 3.0]),
    ([[1.0, 5.0, 2.0], [4.0, 3.0, 0.0]], [5.0, 4.0, 4.0, 5.0, 2.0], [[4.0, 5.0, 2.0], [4.0, 4.0, 2.0]]),
    ([[NAN, 1.0], [2.0, 3.0]], [NAN, 3.0, NAN, 3.0], [[NAN, NAN], [NAN, 3.0]]),
    ([[[1.0, 2.0]], [[3.0, 0.0]]], [2.0, 3.0, 3.0, 3.0, 2.0], [[[2.0, 2.0]], [[3.0, 2.0]]]),
    (np.zeros((0, 2)), [0.0, 0.0], np.zeros((0, 2))),
]


@pytest.mark.parametrize(("x", "largest", "smallest"), TABLE)
def test_there_and_back(x: object, largest: object, smallest: object) -> None:
    given = np.array(x)
    found = max_along(given, given.shape)
    np.testing.assert_array_equal(found, largest)
    assert found.shape == (count(given.shape),)
    np.testing.assert_array_equal(min_along(found, given.shape), smallest)
    stacked = np.stack([given, given])  # leading dimensions stay
    np.testing.assert_array_equal(max_along(stacked, given.shape), [largest, largest])
    np.testing.assert_array_equal(min_along(np.stack([found, found]), given.shape), [smallest, smallest])


@pytest.mark.parametrize(
    ("shape", "at", "sets"), [((), 0, (0,)), ((3,), 2, (2,)), ((2, 3), 4, (1, 3)), ((2, 2, 2), 5, (1, 2, 5))]
)
def test_an_element_is_in_a_set_of_each_dimension(shape: tuple[int, ...], at: int, sets: tuple[int, ...]) -> None:
    assert members(shape, at) == sets


def test_an_explanation_shows_the_row_and_the_column_of_its_element() -> None:
    given = {"params": np.ones((2, 3)), "grads": [np.arange(6.0).reshape(2, 3)] * 2, "coordinate": 4}
    explanation = explain("sm3", steps=2, **given)
    shown = {line.target: line for line in explanation.steps[0].lines}
    assert shown["b"].substituted == "(max(9.0, 16.0, 25.0), max(1.0, 16.0))"
    assert shown["b"].value == [25.0, 16.0]
    again = {line.target: line for line in explanation.steps[1].lines}
    assert again["v"].substituted == "min(25.0, 16.0) + 4.0·4.0"
    written = json.loads(explanation.json())["steps"][0]["lines"]
    assert next(line["value"] for line in written if line["target"] == "b") == [25.0, 16.0]


X = np.arange(1.0, 7.0).reshape(2, 3)
MEANS = [
    (X, 0, [[2.0], [5.0]], [[2.5, 3.5, 4.5]]),
    (X, 3, [], []),  # too small
    (X[:, None], 0, [[[2.0]], [[5.0]]], X[:, None]),  # a stack of two matrices of one row
    (X[:, None], 2, [[[2.0]], [[5.0]]], [[[2.5, 3.5, 4.5]]]),  # over the two largest dimensions
    (X[0], 0, [], []),
    (np.zeros((0, 2)), 0, np.zeros((0, 1)), np.zeros((1, 2))),
]


@pytest.mark.parametrize(("x", "least", "rows", "columns"), MEANS)
def test_means_of_rows_and_columns(x: np.ndarray, least: int, rows: object, columns: object) -> None:
    for name, found, expected in (
        ("rows", row_means(x, x, least), rows),
        ("columns", column_means(x, x, least), columns),
    ):
        np.testing.assert_array_equal(found, np.array(expected))
        assert found.shape == SHAPES[name](x.shape, least)
    assert (
        vector(x, least).shape
        == SHAPES["vectors"](x.shape, least)
        == ((0,) if SHAPES["rows"](x.shape, least) != (0,) else x.shape)
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_means_are_the_same_whatever_the_order_in_memory(axis: int) -> None:
    x = np.random.default_rng(0).standard_normal((300, 1000))
    np.testing.assert_array_equal(means(np.asfortranarray(x), axis), means(x, axis), strict=True)


def test_a_vector_has_neither_rows_nor_columns() -> None:
    (step,) = explain("adafactor", steps=1, params=[3.0, 4.0], grads=[[1.0, 2.0]], digits=4).steps
    assert [given.symbol for given in step.given] == ["w₀", "g₁", "v₀"]
    lines = {line.symbol: line for line in step.lines}
    assert not {"r₁", "c₁", "p₁"} & lines.keys()
    assert lines["v₁"].stages[:2] == ["= β₁·v₀ + (1 − β₁)·y₁", "= 0·0 + (1 − 0)·1"]
    assert lines["v̂₁"].stages == ["= p₁ if ndim(g₁) > 1, else v₁", "= 1"]


def test_of_a_stack_of_matrices_an_element_sees_its_own_row_and_column() -> None:
    grads = np.arange(1.0, 13.0).reshape(2, 2, 3)
    (step,) = explain("adafactor", steps=1, params=np.ones((2, 2, 3)), grads=[grads], coordinate=10, digits=4).steps
    lines = {line.symbol: line.substituted for line in step.lines}
    assert lines["r₁"].endswith("·rowmean(100, 121, 144)")
    assert lines["c₁"].endswith("·colmean(64, 121)")
    assert lines["mean₁"] == "colmean(64.67, 121.7)"
    assert lines["p₁"] == "(121.7 / 93.17)·92.5"
