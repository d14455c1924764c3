"""Running a proposed way beside the source: with the numbers that were given, and if these are rounded, with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from refopt.spec.errors import Unsupported
from refopt.translating.handover import MIDDLE, Numbers, carried, hand_over, named_rightly, reference
from refopt.translating.measuring import Measured
from refopt.translating.running import SCHEDULE, STILL, Arrays, Difference, Input, difference, drive, example, short
from refopt.translating.search import EACH_STEP, Way


@dataclass(frozen=True)
class Source:
    """What is translated: measured, with the numbers that it has. `own` are those that are passed to it.

    It is `narrow` if it computes in float32 what is given in float64.
    """

    measured: Measured
    axes: Mapping[str, str]
    values: Mapping[str, float]
    own: frozenset[str]
    narrow: bool = False
    given: Input = field(default_factory=example)
    _runs: dict[tuple[object, ...], list[Arrays]] = field(default_factory=dict)

    @cached_property
    def short(self) -> dict[str, float]:
        """Its numbers in so few digits that nobody rounds them."""
        return {name: short(value) for name, value in self.values.items()}

    @property
    def schedulable(self) -> bool:
        return "lr" in self.measured.subject.names.per_step

    def rates(self, changing: bool, values: Mapping[str, float]) -> list[float]:
        return [values["lr"] * factor for factor in (SCHEDULE if changing else STILL)]

    def run(self, changing: bool, values: Mapping[str, float]) -> list[Arrays]:
        key = (changing, *values.items())
        if key not in self._runs:
            names = self.measured.subject.names
            passed = {**names.fixed, **{name: values[name] for name in self.own}}
            rates = self.rates(changing, values)
            self._runs[key] = drive(self.measured.subject, self.given, lambda t, lr, _: {**passed, "lr": lr}, rates)
        return self._runs[key]


def compare(source: Source, target: Measured, way: Way, *, changing: bool) -> Difference | None:
    """Both run on the same input. None if the target cannot be run so."""
    if (changing and not source.schedulable) or not fits(target, way, changing):
        return None
    return _difference(source, target, way, source.values, changing)


def prove(source: Source, target: Measured, way: Way, *, changing: bool) -> Difference | None:
    """The same, and if they come apart, whether that is because one of them rounds its numbers."""
    found = compare(source, target, way, changing=changing)
    if found is None or found.same:
        return found
    few = _difference(source, target, way, source.short, changing)
    if few is None:
        return found
    same = few.same or (few.or_rounded().same and (source.narrow or _narrow(source, target, way)))
    return replace(found, first_step=few.first_step, rounded=same)


def _narrow(source: Source, target: Measured, way: Way) -> bool:
    """Whether the target computes in float32: with numbers of few digits it still leaves refopt by that much."""
    now = way.at(source.short, source.short["lr"], source.short["lr"], 1)
    rates = [now["lr"] * factor for factor in STILL]
    try:
        made = drive(target.subject, source.given, lambda *_: now, rates)
    except Unsupported:
        return False
    expected, _ = reference(way.rule, way.axes, now, source.given, rates)
    found = difference(source.given.params, made, expected)
    return not found.same and found.or_rounded().same


def fits(target: Measured, way: Way, changing: bool = True) -> bool:
    """Whether the target takes the numbers that the way needs, and at each step those that change."""
    names = target.subject.names
    if not set(way.read) <= names.argument.keys():
        return False
    moving = ({"lr"} if changing else set()) | (
        {name for name in way.read if way.numbers[name] != name} if way.kind == EACH_STEP else set()
    )
    return moving <= names.per_step


def numbers_of(way: Way, values: Mapping[str, float]) -> Numbers:
    """The numbers of the target at a step. Only a way of each step changes others than the rate."""

    def at(t: int, lr: float, lr_before: float) -> dict[str, float]:
        now = way.at(values, lr, lr_before, t)
        if way.kind == EACH_STEP:
            return now
        return {**way.at(values, values["lr"], values["lr"], 1), "lr": now["lr"]}

    return at


def _difference(
    source: Source, target: Measured, way: Way, values: Mapping[str, float], changing: bool
) -> Difference | None:
    try:
        made = drive(target.subject, source.given, numbers_of(way, values), source.rates(changing, values))
    except (Unsupported, ZeroDivisionError):
        return None
    return difference(source.given.params, source.run(changing, values), made, source.given.grads)


@dataclass(frozen=True)
class Handed:
    """What came of moving the state: the source's slots that have the names we know, and how the target went on."""

    named: frozenset[str]
    difference: Difference | None

    @property
    def same(self) -> bool:
        return self.difference is not None and self.difference.same


def hand(source: Source, target: Measured, way: Way, *, changing: bool) -> Handed:
    """Half a run in the source, the other half in the target. Numbers are those that nobody rounds."""
    values, given, subject = source.short, source.given, source.measured.subject
    rates = source.rates(changing, values)
    half = Input(given.params, given.grads[:MIDDLE])
    _, slots = reference(way.rule, source.axes, values, half, rates[:MIDDLE])
    passed = {**subject.names.fixed, **{name: values[name] for name in source.own}}
    drive(subject, half, lambda t, lr, _: {**passed, "lr": lr}, rates[:MIDDLE])
    named = named_rightly(source.measured, source.axes, slots[-1])
    now = {**values, "lr": rates[MIDDLE - 1], "lr_before": rates[MIDDLE - 2], "t": MIDDLE}
    try:
        moved = carried(way, slots[-1], now)
        found = hand_over(target, way, numbers_of(way, values), given, rates, source.run(changing, values), moved)
    except (Unsupported, ZeroDivisionError):
        return Handed(named, None)
    return Handed(named, found and found.or_rounded())


def apart(source: Source, axes: Mapping[str, str]) -> Difference:
    """How far the source comes from what refopt does under these choices."""
    changing = source.schedulable
    rates: Sequence[float] = source.rates(changing, source.short)
    made, _ = reference(source.measured.rule, axes, source.short, source.given, rates)
    return difference(source.given.params, source.run(changing, source.short), made).or_rounded()
