"""From one optimizer's conventions to another's: the ways that the table of moves offers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from refopt.spec.declare import Rule
from refopt.spec.hyper import conflict, reads
from refopt.translating import formulas
from refopt.translating.moves import MOVES, Move

ALWAYS, CONSTANT_LR, EACH_STEP = "always", "while the learning rate is constant", "with numbers set at each step"


@dataclass(frozen=True)
class Way:
    """Conventions that can be had from the source's: its numbers and slots as formulas in those of the source."""

    rule: Rule
    axes: Mapping[str, str]
    numbers: Mapping[str, str]
    state: Mapping[str, str]
    kind: str = ALWAYS
    moves: int = 0
    steady: frozenset[str] = frozenset()  # the axes that were left behind by moves that need a constant rate

    @property
    def read(self) -> tuple[str, ...]:
        """The numbers that the rule reads under these conventions."""
        return reads(self.rule, self.axes)

    def at(self, values: Mapping[str, float], lr: float, lr_before: float, t: int) -> dict[str, float]:
        """The numbers of a step, of the source's numbers and its rates."""
        given = {**values, "lr": lr, "lr_before": lr_before, "t": t}
        return {name: float(formulas.evaluate(self.numbers[name], given)) for name in self.read}

    def differing(self, choices: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, str]]:
        """The axes on which a target differs, with the choice here and the target's."""
        return {axis: (self.axes[axis], fitting[0]) for axis, fitting in choices.items()
                if self.axes[axis] not in fitting}  # fmt: skip


def start(rule: Rule, axes: Mapping[str, str]) -> Way:
    """The source itself."""
    hyper = rule.hyper("paper", **axes)  # with the axes of storage, of which nothing is measured
    slots = [slot.name for slot in hyper.program.slots]
    return Way(rule, hyper.axes, {p.name: p.name for p in rule.hyper_parameters}, {slot: slot for slot in slots})


@dataclass
class _Found:
    ways: dict[tuple[Any, ...], Way] = field(default_factory=dict)

    def add(self, way: Way) -> bool:
        key = (way.kind, *way.axes.items())
        if key in self.ways:
            return False
        self.ways[key] = way
        return True


def ways(source: Way, values: Mapping[str, float]) -> list[Way]:
    """All that the moves lead to from the source with these numbers, the fewest moves first."""
    found, fresh = _Found(), [source]
    found.add(source)
    while fresh:
        fresh = [new for way in fresh for new in _next(way, values) if found.add(new)]
    return list(found.ways.values())


def _next(way: Way, values: Mapping[str, float]) -> Iterator[Way]:
    for move in MOVES.get(way.rule.name, ()):
        if any(way.axes.get(axis) != choice for axis, choice in move.before.items()):
            continue
        axes = {**way.axes, **move.after}
        if conflict(way.rule, axes) or not _holds(move, way, values):
            continue
        kind = _kind(way, move)
        if kind is None:
            continue
        numbers = {**way.numbers, **{n: formulas.compose(f, way.numbers) for n, f in move.numbers.items()}}
        known = {**way.numbers, **way.state}
        state = {**way.state, **{s: formulas.compose(f, known) for s, f in move.state.items()}}
        steady = way.steady | (move.before.keys() if move.constant_lr else set())
        yield Way(way.rule, axes, numbers, state, kind, way.moves + 1, steady)


def _holds(move: Move, way: Way, values: Mapping[str, float]) -> bool:
    """Whether the numbers are such that the move can be made."""
    if not move.when:
        return True
    lr = values["lr"]
    now = {n: float(formulas.evaluate(f, {**values, "lr": lr, "lr_before": lr, "t": 1}))
           for n, f in way.numbers.items() if n in formulas.reads(move.when)}  # fmt: skip
    return bool(formulas.evaluate(move.when, now))


def _kind(way: Way, move: Move) -> str | None:
    """What a way holds for after a move more; None for what nobody would want: two conditions at once."""
    each_step = any(formulas.of_step(f) for f in move.numbers.values())
    kind = CONSTANT_LR if move.constant_lr else EACH_STEP if each_step else ALWAYS
    if ALWAYS in (kind, way.kind):
        return way.kind if kind == ALWAYS else kind
    return kind if kind == way.kind else None
