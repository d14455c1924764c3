"""From one framework's optimizer to another's: measure both, propose what the table of moves offers, and run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from refopt.spec.errors import RefoptError, Unsupported, given_twice
from refopt.translating import sources
from refopt.translating.choosing import Proposal, first_proven, matching, nearest
from refopt.translating.measuring import measure, measured
from refopt.translating.proving import Source, apart
from refopt.translating.recipes import recipe
from refopt.translating.search import ALWAYS, CONSTANT_LR, EACH_STEP, start, ways
from refopt.translating.targets import targets
from refopt.translating.translation import Reason, Status, Translation
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.interpreter import Interpreter
from refopt.verifying.subjects.resolve import name_of, resolve

UNSCHEDULED = "its learning rate cannot change between steps here, so that a constant one was run, and nothing else"
UNKNOWN = "refopt knows no optimizer of {to} that follows {rule} and can be run beside it"


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
    combinations = (dict(zip(found.choices, one, strict=True)) for one in product(*found.choices.values()))
    for axes in (found.axes, *combinations):
        if (by := apart(source, axes)).same:
            return replace(source, axes=axes, narrow=by.rounded)
    raise Unsupported(f"{subject.name} leaves {found.rule.name} within 100 steps; `refopt verify` says more")


def _translate(source: Source, what: str, to: str) -> Translation:
    rule, names = source.measured.rule, source.measured.subject.names
    offered = [(one, measured(one)) for one in targets(to, rule.name)]
    seen = (source.measured, *(one for _, one in offered[:1]))
    answer = Translation(
        status="none",
        source=what,
        to=to,
        rule=rule.name,
        axes=source.axes,
        defaults={names.argument[name]: source.values[name] for name in sorted(source.own - names.fixed.keys())},
        notes=() if source.schedulable else (UNSCHEDULED,),
        versions={k: v for one in seen for k, v in one.subject.interface.versions.items()},
    )
    reachable = ways(start(rule, source.axes), source.values)
    scheduled = source.schedulable
    if plain := first_proven(source, matching(reachable, offered, ALWAYS), changing=scheduled):
        return replace(answer, status="equivalent", recipe=recipe(source, plain, changing=scheduled))
    stepwise = first_proven(source, matching(reachable, offered, EACH_STEP), changing=True) if scheduled else None
    exact = recipe(source, stepwise, changing=True) if stepwise else None
    status: Status
    if constant := first_proven(source, matching(reachable, offered, CONSTANT_LR), changing=False):
        found, status = constant, "constant_lr"
    elif near := nearest(source, offered):
        found, status = near, "none"
    else:
        return replace(answer, exact=exact, notes=(*answer.notes, UNKNOWN.format(to=to, rule=rule.name)))
    made = recipe(source, found, changing=False if constant else None)
    return replace(answer, status=status, recipe=made, exact=exact, reasons=_reasons(source, found))


def _reasons(source: Source, found: Proposal) -> tuple[Reason, ...]:
    """The axes on which the two disagree, whatever the numbers."""
    rule = source.measured.rule
    differing = found.differing or {
        axis: (here, found.way.axes[axis])
        for axis, here in source.axes.items()
        if axis in found.way.steady and found.way.axes[axis] != here
    }
    return tuple(
        Reason(axis, here, there, rule.axis(axis).choice(here).meaning, rule.axis(axis).choice(there).meaning)
        for axis, (here, there) in differing.items()
    )
