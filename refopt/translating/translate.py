"""From one framework's optimizer to another's: measure both, propose what the table of moves offers, and run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from refopt.spec.errors import RefoptError, Unsupported, given_twice
from refopt.translating import formulas, sources, states
from refopt.translating.measuring import Measured, measure, measured
from refopt.translating.proving import Proof, Source, fits, follows, hand, numbers_of, prove
from refopt.translating.search import ALWAYS, CONSTANT_LR, EACH_STEP, Way, start, ways
from refopt.translating.targets import Target, targets
from refopt.translating.translation import Carried, Number, Reason, Recipe, Translation
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.interpreter import Interpreter
from refopt.verifying.subjects.resolve import name_of, resolve

SCHEDULED = "the learning rate of {} cannot change between steps here: only a constant one was run"
ROUNDED = "one of them rounds some of its numbers (Keras its learning rate, to float32): with these the parameters " \
          "come apart by {:.1e} of their way, with numbers of few digits by rounding alone"  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """A line of the table of targets, what it follows, and the way to it."""

    target: Target
    measured: Measured
    way: Way

    @property
    def cost(self) -> tuple[bool, int]:
        return self.target.composed, self.way.moves


def translate(target: Any, *, to: str, **options: Any) -> Translation:
    """The equivalent of an optimizer in another framework: its recipe, and how its state is carried over.

    Args:
        target: `"keras:SGD(momentum=0.9)"`, or whatever `refopt.verify` takes.
        to: the framework: "torch", "optax" or "keras".
        options: the optimizer's own arguments, beside those in brackets. What is not given is its own default.

    Raises:
        RefoptError: an unknown framework, target or argument; a learning rate that is missing.
        Unsupported: the optimizer cannot be run, or follows none of refopt's rules.
    """
    targets(to)
    what, thing, given = _read(target, options)
    subject = resolve(thing, given)
    try:
        return _translate(_source(subject), what, to)
    finally:
        subject.close()


def _read(target: Any, options: Mapping[str, Any]) -> tuple[str, Any, dict[str, Any]]:
    """What the answer calls the target, what is to be resolved, and its arguments."""
    text = target.target if isinstance(target, Interpreter) else target
    if not isinstance(text, str):
        return name_of(target), target, dict(options)
    place, given = sources.parse(text)
    for name in given.keys() & options.keys():
        raise given_twice(place, name, name)
    thing = replace(target, target=place) if isinstance(target, Interpreter) else place
    said = ", ".join(f"{name}={value!r}" for name, value in options.items())
    whole = text if not said else f"{text[:-1]}, {said})" if text.endswith(")") and given else f"{text}({said})"
    return whole, thing, {**given, **options}


def _source(subject: Subject) -> Source:
    """The source with its conventions and its numbers."""
    found = measure(subject)
    names = subject.names
    values = {**{p.name: 0.0 for p in found.rule.hyper_parameters}, **names.defaults, **names.fixed}
    read = found.rule.hyper("paper", **found.axes).read
    for name in read:
        if name not in {**names.defaults, **names.fixed} and found.rule.hyper_parameter(name).default != 0.0:
            raise RefoptError(
                f"{subject.name} has no {found.rule.hyper_parameter(name).meaning} of its own; "
                f"give one, e.g. {names.argument.get(name, name)}={found.rule.hyper_parameter(name).default:g}"
            )
    if values["lr"] == 0:
        raise RefoptError(f"{subject.name}: a learning rate of 0 moves nothing; give a positive one")
    own = frozenset(read) & frozenset(names.argument) & {*names.defaults, *names.fixed}
    source = Source(found, found.axes, {p.name: values[p.name] for p in found.rule.hyper_parameters}, own)
    for combination in [found.axes, *(dict(zip(found.choices, c, strict=True)) for c in product(*found.choices.values()))]:
        if follows(source, combination):
            return replace(source, axes=combination)
    raise Unsupported(f"{subject.name} leaves {found.rule.name} within 100 steps; `refopt verify` says more")


def _translate(source: Source, what: str, to: str) -> Translation:
    rule, names = source.measured.rule, source.measured.subject.names
    offered = [(one, measured(one)) for one in targets(to, rule.name)]
    answer = Translation(
        "none", what, to, rule.name, source.axes,
        defaults={names.argument[n]: source.values[n] for n in sorted(source.own - names.fixed.keys())},
        notes=() if source.schedulable else (SCHEDULED.format(source.measured.subject.name),),
        versions={k: v for one in (source.measured, *(m for _, m in offered[:1]))
                  for k, v in one.subject.interface.versions.items()},
    )  # fmt: skip
    if not offered:
        return replace(answer, notes=(*answer.notes, f"refopt knows no optimizer of {to} that follows {rule.name}"))
    reachable = ways(start(rule, source.axes), source.values)
    plain = _first(source, _matching(reachable, offered, ALWAYS), changing=source.schedulable)
    if plain is not None:
        return replace(answer, status="equivalent", recipe=_recipe(source, plain, changing=source.schedulable))
    constant = _first(source, _matching(reachable, offered, CONSTANT_LR), changing=False)
    stepwise = _first(source, _matching(reachable, offered, EACH_STEP), changing=True)
    exact = _recipe(source, stepwise, changing=True) if stepwise else None
    found = constant or _nearest(source, reachable, offered)
    if found is None:
        return replace(answer, exact=exact)
    recipe = _recipe(source, found, changing=False) if constant else _recipe(source, found, changing=None)
    status = "constant_lr" if constant else "none"
    return replace(answer, status=status, recipe=recipe, exact=exact, reasons=_reasons(source, found, exact=constant is not None))


def _matching(
    reachable: Sequence[Way], offered: Sequence[tuple[Target, Measured]], kind: str
) -> list[Proposal]:
    """The ways that end at what a target does, the simplest first."""
    found = [
        Proposal(target, one, way)
        for target, one in offered
        for way in reachable
        if way.kind == kind and not way.differing(one.choices) and fits(one, way)
    ]
    return sorted(found, key=lambda one: one.cost)


def _first(source: Source, proposals: Sequence[Proposal], *, changing: bool) -> Proposal | None:
    """The first that is the same when it is run."""
    for one in proposals:
        proof = prove(source, one.measured, one.way, changing=changing)
        if proof is not None and proof.same:
            return one
    return None


def _nearest(
    source: Source, reachable: Sequence[Way], offered: Sequence[tuple[Target, Measured]]
) -> Proposal | None:
    """Of all targets, with numbers that come nearest, the one that stays nearest in the run."""
    found: list[tuple[float, Proposal]] = []
    for target, one in offered:
        way = min((w for w in reachable if w.kind == ALWAYS), key=lambda w: (len(w.differing(one.choices)), w.moves))
        there = {axis: there for axis, (_, there) in way.differing(one.choices).items()}
        proposal = Proposal(target, one, replace(way, axes={**way.axes, **there}))
        proof = prove(source, one, proposal.way, changing=source.schedulable)
        if proof is not None:
            found.append((proof.difference.share, proposal))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _reasons(source: Source, found: Proposal, *, exact: bool) -> tuple[Reason, ...]:
    """Where the two disagree: the axes on which the target is not what the source is."""
    rule = source.measured.rule

    def told(axis: str, here: str, there: str) -> Reason:
        table = rule.axis(axis)
        return Reason(axis, here, there, table.choice(here).meaning, table.choice(there).meaning)

    differing = start(rule, source.axes).differing(found.measured.choices)
    mended = {} if exact else _mended(source, found)
    return tuple(told(axis, here, there) for axis, (here, there) in differing.items() if axis not in mended)


def _mended(source: Source, found: Proposal) -> set[str]:
    """The axes whose difference the numbers make up for."""
    plain = [w for w in ways(start(source.measured.rule, source.axes), source.values) if w.kind == ALWAYS]
    nearest = min(plain, key=lambda w: (len(w.differing(found.measured.choices)), w.moves))
    return set(start(source.measured.rule, source.axes).differing(found.measured.choices)) - set(
        nearest.differing(found.measured.choices)
    )


def _recipe(source: Source, found: Proposal, *, changing: bool | None) -> Recipe:
    """The code, and what the runs say of it. The state is handed over under the rate for which it is claimed."""
    way, values = found.way, source.values
    argument = found.measured.subject.names.argument
    first = way.at(values, values["lr"], values["lr"], 1)
    own = {_named(found.target, argument[name]): value for name, value in first.items()}
    own |= {name: 0.0 for name in found.target.names if name not in own}
    numbers = tuple(
        Number(argument[n], first[n], formulas.with_numbers(way.numbers[n], {**values}))
        for n in way.read
        if way.numbers[n] != n
    )
    lines = tuple(_lines(source, found)) if way.kind == EACH_STEP else ()
    proofs = {c: prove(source, found.measured, way, changing=c) for c in (False, True)}
    handed = hand(source, found.measured, way, changing=changing) if changing is not None else None
    return Recipe(
        found.target.recipe(own),
        numbers,
        tuple(_state(source, found, handed.named, handed.difference)) if handed else (),
        lines,
        _of(proofs[False]),
        _of(proofs[True]),
        handed.difference if handed else None,
        rounded=any(p is not None and p.rounded for p in proofs.values()),
    )


def _of(proof: Proof | None) -> Any:
    return proof and proof.difference
