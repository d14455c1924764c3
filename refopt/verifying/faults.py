"""Which fault of the catalogue explains a trace that no variant fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from refopt.spec.declare import Rule
from refopt.spec.faults import Fault
from refopt.spec.hyper import complete, conflict
from refopt.spec.program import Program, program
from refopt.verifying.candidates import Candidate, Candidates
from refopt.verifying.distance import Fit

NEAREST = 24  # of the variants that the trace leaves last: under each of these all faults are tried
FEWER = 8  # and where nothing says that this rule is meant


@dataclass(frozen=True)
class Explanation:
    """A fault that fits: its name, what it does to training, where people met it, and the choices it is planted under.

    `distance` is that of the trace from the faulty program, in ULPs. Of an implementation that conforms, `dialects` are
    those of which it would be a fault, if one of them was meant.
    """

    name: str
    effect: str
    issues: tuple[str, ...]
    axes: dict[str, str]
    distance: float
    dialects: tuple[str, ...] = ()


def explanations(
    rule: Rule,
    ranked: Sequence[tuple[Candidate, Fit]],
    known: Collection[str],
    fit: Callable[[Program], Fit],
    nearest: int = NEAREST,
) -> tuple[Explanation, ...]:
    """The faults that fit under the first variant for which any does; nothing if none does.

    Variants are those nearest to the trace, the dialects' own among them first: a mistake is a small departure from
    what somebody meant to write.
    """
    for candidate in _likely(rule, ranked, nearest):
        tried = [(fault, fit(broken)) for fault, broken in _planted(rule, candidate, known)]
        axes = dict(candidate.axes[0])
        found = [Explanation(f.name, f.effect, f.issues, axes, fit.distance) for f, fit in tried if fit.first is None]
        if found:
            return tuple(found)
    return ()


def if_meant(found: Candidates, exact: Collection[str], fit: Callable[[Program], Fit]) -> tuple[Explanation, ...]:
    """The faults that an implementation which conforms would have, were another dialect than those in `exact` meant.

    One man's rule is another's fault. Each is said once, with the dialects of which it would be one.
    """
    meant: dict[str, Explanation] = {}
    for dialect in found.rule.dialects:
        axes = {name: table[0] for name, table in found.tables.items()}
        axes |= {axis: choice for axis, choice in dialect.axes.items() if choice in found.tables.get(axis, ())}
        if dialect.name in exact or conflict(found.rule, complete(found.rule, axes)) is not None:
            continue
        candidate = Candidate(program(found.rule, complete(found.rule, axes)), (axes,))
        if fit(candidate.program).first is None:
            continue  # what keeps it from being exact is no choice but a number that is not there
        for fault, broken in _planted(found.rule, candidate, found.usable):
            if fault.name in meant:
                known = meant[fault.name]
                if known.axes == axes or fit(broken).first is None:
                    meant[fault.name] = replace(known, dialects=(*known.dialects, dialect.name))
            elif (seen := fit(broken)).first is None:
                meant[fault.name] = Explanation(
                    fault.name, fault.effect, fault.issues, axes, seen.distance, (dialect.name,)
                )
    return tuple(meant.values())


def _likely(rule: Rule, ranked: Sequence[tuple[Candidate, Fit]], nearest: int) -> Iterator[Candidate]:
    last = sorted(ranked, key=lambda pair: (*(-n for n in pair[1].reached), pair[1].share))
    dialects = [{axis.name: d.axes.get(axis.name, axis.choices[0]) for axis in rule.axes} for d in rule.dialects]

    def is_dialects(candidate: Candidate) -> bool:
        return any(axes.items() <= dialect.items() for axes in candidate.axes for dialect in dialects)

    yield from (candidate for candidate, _ in last if is_dialects(candidate))
    yield from (candidate for candidate, _ in last[:nearest] if not is_dialects(candidate))


def _planted(rule: Rule, candidate: Candidate, known: Collection[str]) -> Iterator[tuple[Fault, Program]]:
    """Every fault in a variant, where it changes something and reads nothing that is not known."""
    axes = complete(rule, candidate.axes[0])
    for fault in rule.faults:
        if any(axes[axis] not in choices for axis, choices in fault.only_with.items()):
            continue
        if conflict(rule, {**axes, **fault.axes}) is not None:
            continue
        broken = program(rule, axes, fault)
        reads = {*broken.hypers, *(broken.evaluate.hypers if broken.evaluate else ())}
        if broken.key != candidate.program.key and reads <= {*known}:
            yield fault, broken
