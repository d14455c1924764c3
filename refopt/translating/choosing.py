"""Of all that a framework offers, what comes first: the simplest that is the same, or the one that stays nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from refopt.spec.hyper import conflict
from refopt.translating.measuring import Measured
from refopt.translating.proving import Source, compare, fits, prove
from refopt.translating.search import ALWAYS, CONSTANT_LR, Way, start, ways
from refopt.translating.targets import Target

Offered = Sequence[tuple[Target, Measured]]


@dataclass(frozen=True)
class Proposal:
    """A line of the table of targets, what it follows, and the way to it."""

    target: Target
    measured: Measured
    way: Way
    differing: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # the axes on which it is something else


def matching(reachable: Sequence[Way], offered: Offered, kind: str) -> list[Proposal]:
    """The ways that end at what a target does, the simplest first."""
    found = [
        Proposal(target, one, way)
        for target, one in offered
        for way in reachable
        if way.kind == kind and not way.differing(one.choices) and fits(one, way, changing=False)
    ]
    return sorted(found, key=lambda one: one.target.composed)  # else in the order of the table, by few moves


def first_proven(source: Source, proposals: Sequence[Proposal], *, changing: bool) -> Proposal | None:
    """The first that is the same when it is run."""
    for one in proposals:
        proof = prove(source, one.measured, one.way, changing=changing)
        if proof is not None and proof.same:
            return one
    return None


def nearest(source: Source, offered: Offered) -> Proposal | None:
    """Of all targets the one that stays nearest in the run, of those that differ on the fewest axes."""
    for proposals in (_but_for_an_axis(source, offered), _as_it_is(source, offered)):
        found: dict[tuple[object, ...], tuple[tuple[int, float], Proposal]] = {}
        for one in proposals:
            key = (one.target, *one.way.axes.items(), *((name, one.way.numbers[name]) for name in one.way.read))
            if key not in found:
                apart = compare(source, one.measured, one.way, changing=source.schedulable)
                found[key] = (len(one.differing), np.inf if apart is None else apart.share), one
        best = min(found.values(), key=lambda pair: pair[0], default=None)
        if best is not None and best[0][1] < np.inf:
            return best[1]
    return None


def _but_for_an_axis(source: Source, offered: Offered) -> Iterator[Proposal]:
    """What would be the same, at least under a constant rate, if the source had another choice on one axis."""
    rule = source.measured.rule
    for axis in (axis for axis in rule.axes if not axis.storage):
        here = source.axes[axis.name]
        for there in axis.choices:
            axes = {**source.axes, axis.name: there}
            if there == here or conflict(rule, {**start(rule, source.axes).axes, **axes}):
                continue
            reachable = ways(start(rule, axes), source.values)
            for kind in (ALWAYS, CONSTANT_LR):
                for one in matching(reachable, offered, kind):
                    steady = {name: (source.axes[name], one.way.axes[name]) for name in one.way.steady}
                    yield replace(one, differing={axis.name: (here, there), **steady})


def _as_it_is(source: Source, offered: Offered) -> Iterator[Proposal]:
    """Each target with the numbers that bring it nearest to the source as it is, on however many axes it differs."""
    reachable = [way for way in ways(start(source.measured.rule, source.axes), source.values) if way.kind == ALWAYS]
    for target, one in offered:
        way = min(reachable, key=lambda way: (len(way.differing(one.choices)), way.moves))
        differing = way.differing(one.choices)
        axes = {**way.axes, **{axis: there for axis, (_, there) in differing.items()}}
        yield Proposal(target, one, replace(way, axes=axes), differing)
