"""The search for all variants that fit, from usual numbers, and from the numbers of those that fit already."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from refopt.verifying.candidates import Candidate, Candidates
from refopt.verifying.distance import EXCLUDED, Comparison, Fit
from refopt.verifying.leastsquares import Coordinate, Model, descend
from refopt.verifying.rounded import determined, snapped
from refopt.verifying.samples import Sample, sample
from refopt.verifying.shared import of_models, of_tensors
from refopt.verifying.trace import Arrays

FEW = 48  # variants tried in a narrow search: the dialects', and those one choice away from the nearest
EVERY = 250  # of so many variants, each is fitted
FIRST = 16  # steps
NEAR = 32.0  # times rounding, on the first steps: what deserves a look at the others
SECOND = 24  # variants that get a second chance, from many more starts, if nothing fits
LARGEST_TABLE = 512
USUAL = {
    "lr": (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5),
    "wd": (0.1, 0.01, 1e-4),
    "tc": (1.0, 0.1, 0.01, 1e-3),
    "mu": (0.5, 0.9, 0.99),
    "beta1": (0.5, 0.9, 0.99),
    "beta2": (0.5, 0.9, 0.99, 0.999),
    "eps": (1e-8, 1e-3),
    "eps_root": (1e-8, 1e-3),
    "dampening": (0.1, 0.5),
    "power": (0.5, 0.75),
    "inv_gamma": (0.5, 1.0, 10.0),
}  # starting values; of a number that is not here, its default and its probes


@dataclass(frozen=True)
class Solution:
    """A variant that fits, and numbers with which it does.

    `ranges` are of those numbers which the traces do not determine: any value between fits, the others held. `tied` are
    numbers that the traces show only together: one makes up for the other. All others are determined, to a thousandth
    or better.
    """

    candidate: Candidate
    numbers: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    tied: tuple[tuple[str, ...], ...]
    fit: Fit


class Search:
    """What has been tried, and what fits. Variants go by their place among the candidates."""

    def __init__(
        self,
        found: Candidates,
        traces: Sequence[Arrays],
        steps: Sequence[Sequence[Mapping[str, float]]],
        lacking: Sequence[str],
        *,
        widely: bool = True,
    ) -> None:
        self.widely = widely
        self.found, self.traces, self.steps = found, traces, steps
        self.coordinates = {name: Coordinate(found.rule.hyper_parameter(name)) for name in lacking}
        self.samples: dict[tuple[bool, bool, int, int], Sample] = {}
        self.tables: dict[tuple[str, ...], np.ndarray] = {}
        self.tried: dict[int, tuple[float, np.ndarray]] = {}  # the mean square on the first steps, and where
        self.same: dict[tuple[object, ...], int] = {}
        self.leaders: dict[int, int] = {}  # of the variants that are the same at all numbers of the table, the first
        self.followers: dict[int, list[int]] = {}
        self.passed: dict[int, Mapping[str, float]] = {}  # leaders that fit the sample, whether or not the rest
        self.starts: dict[int, np.ndarray] = {}
        self.warmed: set[tuple[int, tuple[str, ...]]] = set()
        self.models: dict[tuple[int, int, int], Model] = {}
        self.solved: dict[int, Solution] = {}
        self.at = {tuple(axes.items()): i for i, one in enumerate(found.programs) for axes in one.axes}

    def run(self) -> list[Solution]:
        """All that fit; if none, the nearest.

        Best first along single choices, from the dialects' variants on; then around what fits.
        """
        count = len(self.found.programs)
        queue = [(-1.0, i) for i in sorted(self._dialects())]
        seen = {i for _, i in queue}
        most = count if self.widely else FEW
        while queue and len(self.tried) < most and not (self.solved and count > EVERY):
            _, i = heapq.heappop(queue)
            cost = self.attempt(i)
            for j in self.around([i]):
                if j not in seen:
                    seen.add(j)
                    heapq.heappush(queue, (cost, j))
        if self.widely and not (self.solved and count > EVERY):
            for i in range(count):  # those that no chain of single choices reaches
                self.attempt(i)
        if self.widely and not self.solved:
            for i in sorted(self.tried, key=lambda i: self.tried[i][0])[:SECOND]:
                self.again(i)
        done: set[int] = set()
        while new := sorted(self.solved.keys() - done):
            done |= {*new}
            starts: dict[int, dict[tuple[str, ...], Mapping[str, float]]] = {}
            for i in new:
                numbers = self.solved[i].numbers
                digest = tuple(f"{name}={value:.3g}" for name, value in numbers.items())
                one = self.around([i])
                for j in (*one, *(j for j in self.around(one) if j not in one)):
                    starts.setdefault(j, {})[digest] = numbers
            for j, several in starts.items():
                self.attempt(j, several)
        if self.solved:
            return list(self.solved.values())
        nearest = sorted(self.tried, key=lambda i: self.tried[i][0])[:5]
        ends = [self.solution(i, self.numbers(i)) for i in nearest]
        return [min(ends, key=lambda one: (*(-x for x in one.fit.reached), one.fit.share))]

    def attempt(self, i: int, warm: Mapping[tuple[str, ...], Mapping[str, float]] | None = None) -> float:
        """Fit one variant, from usual numbers or those of others, and keep it if it fits.

        Returns the mean square of what is left on the first steps.
        """
        if i not in self.leaders:
            table = self.table(self.names(i))
            costs = (self.model(i, FIRST, 48).distances(table) ** 2).mean(1)
            leader = self.same.setdefault((self.names(i), *(f"{cost:.6e}" for cost in costs)), i)
            self.leaders[i] = leader
            if leader == i:
                self.starts[i] = table[_spread(table, costs)]
            else:  # another name for the same function, as far as these traces go
                if leader in self.passed:
                    self.follow(leader, i)
                else:
                    self.followers.setdefault(leader, []).append(i)
        leader = self.leaders[i]
        rows = [self.starts.pop(leader)] if leader in self.starts else []
        for digest, numbers in (warm or {}).items():
            if leader not in self.solved and (leader, digest) not in self.warmed:
                self.warmed.add((leader, digest))
                rows.append(self.near(leader, numbers))
        if rows:
            model = self.model(leader, FIRST, 48)
            y, left = descend(model, np.concatenate(rows))
            if leader not in self.tried or left[0] < self.tried[leader][0]:
                self.tried[leader] = float(left[0]), y[0]
            self.keep(leader, model, y[0])
        return self.tried[leader][0]

    def again(self, i: int) -> None:
        """Fit one variant with more patience, from all over the table."""
        model, table = self.model(i, FIRST, 48), self.table(self.names(i))
        y, left = descend(model, table[:: max(1, len(table) // 48)], patience=12)
        if left[0] < self.tried[i][0]:
            self.tried[i] = float(left[0]), y[0]
        self.keep(i, model, y[0])

    def follow(self, leader: int, i: int) -> None:
        """A variant fits the sample; so does one that is the same there, which fits the rest, or is fitted anew."""
        fit = self.fit(i, self.passed[leader])
        if not fit.excludes and leader in self.solved:
            self.solved[i] = replace(self.solved[leader], candidate=self.found.programs[i], fit=fit)
        elif i not in self.solved:
            self.leaders[i] = i
            self.starts[i] = self.near(i, self.passed[leader])
            self.attempt(i)

    def keep(self, i: int, model: Model, y: np.ndarray) -> None:
        """Remember a variant that fits the first steps, if it fits the others."""
        if np.abs(model.distances(y[None])).max(initial=0.0) > NEAR:
            return
        y = descend(self.model(i, 64, 128), y[None])[0][0]
        fit = self.fit(i, self.model(i, 64, 128).numbers(y))
        if fit.excludes and max(len(trace.grads) for trace in self.traces) > 64:
            y = descend(self.model(i, 1 << 20, 64), y[None], rounds=10)[0][0]
            fit = self.fit(i, model.numbers(y))
        if not fit.excludes:
            self.solved[i] = self.solution(i, model.numbers(y))
        self.passed[i] = self.solved[i].numbers if i in self.solved else model.numbers(y)
        for other in self.followers.pop(i, ()):
            self.follow(i, other)

    def solution(self, i: int, numbers: Mapping[str, float]) -> Solution:
        """The numbers rounded where that costs nothing, and how far they are determined."""
        fit = self.fit(i, numbers)
        if not numbers or fit.excludes:
            return Solution(self.found.programs[i], dict(numbers), {}, (), fit)
        model = self.model(i, 64, 128)
        y = np.array([c.of(numbers[name]) for name, c in model.coordinates.items()])
        short = snapped(self.found.rule, model, y, dict(numbers), self.traces[0].dtype)
        rounded = self.fit(i, short)
        if not rounded.excludes and (rounded.first is None or fit.first is not None):
            numbers, fit = short, rounded

        def fits(changed: Mapping[str, float]) -> bool:
            other = self.fit(i, changed)
            return other.first is None or (fit.first is not None and not other.excludes)

        ranges, tied = determined(model, numbers, fits, 1.0 if fit.first is None else EXCLUDED)
        return Solution(self.found.programs[i], numbers, ranges, tied, fit)

    def fit(self, i: int, numbers: Mapping[str, float]) -> Fit:
        """The worst of all traces, with these numbers."""
        worst = Fit(0.0, None, 1.0)
        for number, (trace, each) in enumerate(zip(self.traces, self.steps, strict=True), start=1):
            one = Comparison(trace, [{**now, **numbers} for now in each], number).fit(self.found.programs[i].program)
            first = worst.first or one.first
            worst = replace(one if one.share >= worst.share else worst, first=first)
            if worst.excludes:
                break
        return worst

    def model(self, i: int, length: int, elements: int) -> Model:
        if (i, length, elements) in self.models:
            return self.models[i, length, elements]
        program = self.found.programs[i].program
        tensors, models = of_tensors(program.lines), of_models(program.lines)
        key = (tensors, models, length, elements)
        if key not in self.samples:
            most = 16 * elements if tensors else elements
            self.samples[key] = sample(
                self.traces, self.steps, tensors=tensors, models=models, length=length, elements=most
            )
        made = Model(program, self.samples[key], {name: self.coordinates[name] for name in self.names(i)})
        self.models[i, length, elements] = made
        return made

    def names(self, i: int) -> tuple[str, ...]:
        """The numbers to be fitted that the variant reads."""
        program = self.found.programs[i].program
        read = {*program.hypers, *(program.evaluate.hypers if program.evaluate else ())}
        return tuple(name for name in self.coordinates if name in read)

    def numbers(self, i: int) -> dict[str, float]:
        return self.model(i, FIRST, 48).numbers(self.tried[i][1])

    def table(self, names: tuple[str, ...]) -> np.ndarray:
        """All combinations of usual numbers, as rows of coordinates."""
        if names not in self.tables:
            rule = self.found.rule
            usual = [USUAL.get(n) or (rule.hyper_parameter(n).default, *rule.hyper_parameter(n).probes) for n in names]
            columns = ([self.coordinates[n].of(x) for x in each] for n, each in zip(names, usual, strict=True))
            rows = list(product(*columns))
            if len(rows) > LARGEST_TABLE:
                rows = [rows[i] for i in np.random.default_rng(0).choice(len(rows), LARGEST_TABLE, replace=False)]
            self.tables[names] = np.array(rows, float).reshape(len(rows), len(names))
        return self.tables[names]

    def near(self, i: int, numbers: Mapping[str, float]) -> np.ndarray:
        """Starts from another variant's numbers; those it has not from the table."""
        names = self.names(i)
        rows = self.table(names)[:: max(1, len(self.table(names)) // 6)].copy()
        for column, name in enumerate(names):
            if name in numbers:
                rows[:, column] = self.coordinates[name].of(numbers[name])
        return np.unique(rows, axis=0)

    def around(self, some: Collection[int]) -> list[int]:
        """The variants that differ from one of these by one choice."""
        near = {}
        for i in some:
            for axes in self.found.programs[i].axes:
                for axis, choices in self.found.tables.items():
                    for choice in choices:
                        j = self.at.get(tuple({**axes, axis: choice}.items()))
                        if j is not None and j not in some:
                            near[j] = True
        return list(near)

    def _dialects(self) -> Iterator[int]:
        """The dialects' variants, or what of them can be computed."""
        rule, tables = self.found.rule, self.found.tables
        for dialect in rule.dialects:
            wanted = {axis: dialect.axes.get(axis, rule.axis(axis).choices[0]) for axis in tables}
            axes = {axis: choice if choice in tables[axis] else tables[axis][0] for axis, choice in wanted.items()}
            if (i := self.at.get(tuple(axes.items()))) is not None:
                yield i


def _spread(table: np.ndarray, costs: np.ndarray) -> list[int]:
    """The rows of the lowest costs, and for every value of every number the lowest of its rows."""
    order = np.argsort(costs, kind="stable")
    chosen = {*order[:4].tolist()}
    for column in table[order].T:
        chosen |= {*order[np.unique(column, return_index=True)[1]].tolist()}
    return sorted(chosen, key=lambda row: float(costs[row]))
