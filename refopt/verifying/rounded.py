"""Fitted numbers: rounded to what somebody may have written, and how far the traces determine them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from refopt.spec.declare import Rule
from refopt.verifying.distance import ROUNDING
from refopt.verifying.leastsquares import LEAST, Coordinate, Model, descend

FINE = 1e-3  # a number that may move by this share of itself (or of 1 minus itself) within rounding is not determined
AS_WELL = 1.2  # times the mean square of what is left


def snapped(rule: Rule, model: Model, y: np.ndarray, numbers: dict[str, float], dtype: np.dtype) -> dict[str, float]:
    """The numbers, each replaced by the shortest near it that fits as well, the others fitted anew."""
    unit = (8.0 if dtype == np.float64 else 0.5) / ROUNDING[dtype.name]  # of float64, variants differ by some ULPs
    _, cost = descend(model, y[None], rounds=0)
    enough = AS_WELL * cost[0] + unit**2
    close = 2.0**-23 if dtype != np.float64 else 2.0**-42  # frameworks round numbers to float32
    count, exact = len(y), dict(numbers)
    fixed: list[int] = []
    slopes = _slopes(model, y)
    strength = [np.abs(row).max() for row in slopes]
    for j in sorted(range(count), key=lambda j: -strength[j]):
        name, coordinate = list(model.coordinates.items())[j]
        parameter = rule.hyper_parameter(name)
        free = [i for i in range(count) if i != j and i not in fixed]
        alone = _alone(slopes, j, free)
        defaults = [parameter.default, *(d.defaults[name] for d in rule.dialects if name in d.defaults)]
        here = float(coordinate.value(y[j]))
        for value in dict.fromkeys((*defaults, *_short(here, coordinate.least, coordinate.most))):
            at = coordinate.of(value)
            away = abs(at - y[j])
            if strength[j] > 1 if away > 1 else away**2 * alone > 100 * enough:
                continue
            start = y.copy()
            start[j] = at
            new, cost = descend(model, start[None], rounds=4, fixed=[*fixed, j])
            same = abs(value - here) <= close * abs(value) and np.abs(model.distances(new[:1])).max() <= 1
            if same or cost[0] <= enough:
                y, exact[name] = new[0], value
                fixed.append(j)
                break
    return {name: exact[name] if j in fixed else value for j, (name, value) in enumerate(model.numbers(y).items())}


def _short(x: float, least: float, most: float) -> Iterator[float]:
    """Zero, decimals of one to six digits, and dyadic numbers, near x or as far from one as x is."""
    values = [0.0]
    for digits in (1, 2, 3):
        values += [float(f"{x:.{digits}g}"), float(f"{1 - float(f'{1 - x:.{digits}g}'):.15g}")]
    for part, whole in ((x, 0.0), (1 - x, 1.0)):
        fraction, exponent = np.frexp(part)
        near = [float(np.ldexp(np.rint(fraction * 2**bits), exponent - bits)) for bits in (1, 2, 3, 4)]
        values += [abs(whole - one) for one in near]
    for digits in (4, 5, 6):
        values += [float(f"{x:.{digits}g}"), float(f"{1 - float(f'{1 - x:.{digits}g}'):.15g}")]
    return (value for value in values if least <= value <= most)


def determined(
    model: Model, numbers: Mapping[str, float], fits: Callable[[Mapping[str, float]], bool], limit: float = 1.0
) -> tuple[dict[str, tuple[float, float]], tuple[tuple[str, ...], ...]]:
    """The ranges of the numbers that the traces leave free, and the groups of those that they show only together."""
    names = list(model.coordinates)
    y = np.array([c.of(numbers[name]) for name, c in model.coordinates.items()])
    strength = np.abs(_slopes(model, y)).max(1, initial=0.0)
    seen = [j for j in range(len(y)) if strength[j] * FINE > 1]
    ranges = {names[j]: _range(model, y, j, dict(numbers), fits, limit) for j in range(len(y)) if j not in seen}
    return ranges, tuple(tuple(names[j] for j in group) for group in _tied(model, y, strength, seen, limit))


def _tied(model: Model, y: np.ndarray, strength: np.ndarray, seen: list[int], limit: float) -> list[list[int]]:
    """Groups of seen numbers of which one may move, visibly, if the others move with it."""
    groups: list[set[int]] = []
    for j in seen if len(seen) > 1 else ():
        by = max(2 * FINE, 10.0 / strength[j])
        start = y.copy()
        start[j] += by if y[j] + by <= model.high[j] else -by
        new = descend(model, start[None], rounds=8, fixed=[i for i in range(len(y)) if i == j or i not in seen])[0]
        if np.abs(model.distances(new[:1])).max() <= limit:
            group = {j, *(i for i in seen if abs(new[0, i] - y[i]) * strength[i] > limit)}
            group = group.union(*(other for other in groups if other & group))
            groups = [*(other for other in groups if not other & group), group]
    return [sorted(group) for group in groups if len(group) > 1]


def _range(
    model: Model, y: np.ndarray, j: int, numbers: dict[str, float], fits: Callable[..., bool], limit: float
) -> tuple[float, float]:
    """The ends between which one number may move, the others held."""
    name, coordinate = list(model.coordinates.items())[j]
    ends = []
    for last in (model.low[j], model.high[j]):
        good, bad = y[j], last
        for points in 3 * (np.linspace(0, 1, 33)[1:],):
            rows = np.repeat(y[None], len(points), axis=0)
            rows[:, j] = good + points * (bad - good)
            within = np.abs(model.distances(rows)).max(1) <= limit
            first = int(np.argmin(within)) if not within.all() else len(points)
            good, bad = (rows[first - 1, j] if first else good), (rows[first, j] if first < len(points) else last)
            if good == last:
                break
        if not fits({**numbers, name: _value(coordinate, good)}):  # the elements that were not looked at say no
            yes = y[j]
            for _ in range(10):
                middle = (yes + good) / 2
                yes, good = (middle, good) if fits({**numbers, name: _value(coordinate, middle)}) else (yes, middle)
            good = yes
        ends.append(coordinate.most if good == model.high[j] and not coordinate.from_one else _value(coordinate, good))
    low, high = sorted(ends)
    return min(low, numbers[name]), max(high, numbers[name])


def _value(coordinate: Coordinate, y: float) -> float:
    x = float(coordinate.value(np.asarray(y)))
    return float(np.clip(0.0 if abs(x) <= 2 * LEAST else x, coordinate.least, coordinate.most))


def _slopes(model: Model, y: np.ndarray) -> np.ndarray:
    """The derivatives, from steps that are long enough to be seen."""
    base = model.distances(y[None])
    slopes = model.slopes(y[None], base)
    return model.slopes(y[None], base, np.maximum(np.abs(slopes).max(2), 1e-300))[0]


def _alone(slopes: np.ndarray, j: int, free: list[int]) -> float:
    """By how much the mean square grows with the square of a move of j, the free ones making up for what they can."""
    target = slopes[j]
    if free:
        others = slopes[free].T
        size = np.maximum(np.abs(others).max(0), 1e-300)
        target = target - (others / size) @ np.linalg.lstsq(others / size, target, rcond=1e-12)[0]
    return float((target**2).mean())
