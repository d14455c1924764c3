"""A proposal that was chosen, as code that makes it, with what the runs say of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from refopt.spec.lines import expression, source_of, substitute
from refopt.translating import formulas, states
from refopt.translating.choosing import Proposal
from refopt.translating.proving import Source, hand, prove
from refopt.translating.search import EACH_STEP
from refopt.translating.translation import Carried, Number, Recipe


def recipe(source: Source, found: Proposal, *, changing: bool | None) -> Recipe:
    """The recipe. The state is moved under the rate for which it is claimed; not at all if nothing is (None)."""
    way, values = found.way, source.values
    argument = found.measured.subject.names.argument
    first = {name: _decimal(value) for name, value in way.at(values, values["lr"], values["lr"], 1).items()}
    for name in (name for name in first if formulas.of_step(way.numbers[name])):
        first[name] = values[name]  # until it is set
    code = found.target.recipe(
        {**dict.fromkeys(found.target.names, 0.0), **{argument[name]: value for name, value in first.items()}}
    )
    made = tuple(
        Number(argument[name], first[name], formulas.with_numbers(way.numbers[name], values))
        for name in way.read
        if first[name] != 0 and not way.numbers[name].isidentifier() and not formulas.of_step(way.numbers[name])
    )
    still, moving = (prove(source, found.measured, way, changing=one) for one in (False, True))
    handed = None if changing is None else hand(source, found.measured, way, changing=changing)
    return Recipe(
        code=code,
        numbers=made,
        state=tuple(_state(source, found, handed.named, handed.same)) if handed else (),
        each_step=tuple(_lines(source, found)),
        constant=still,
        changing=moving,
        handed_over=handed.difference if handed else None,
    )


def _lines(source: Source, found: Proposal) -> Iterator[str]:
    """What sets the numbers before a step, in a loop over torch's parameter groups: no other lets us."""
    if found.way.kind != EACH_STEP:
        return
    held = {name: value for name, value in source.values.items() if name != "lr"}
    for name in found.way.read:
        formula = found.way.numbers[name]
        if formula != name and (formulas.of_step(formula) or name == "lr"):
            own = found.measured.subject.names.argument[name]
            yield f'group["{own}"] = {formulas.with_numbers(formula, held)}'


def _state(source: Source, found: Proposal, named: frozenset[str], same: bool) -> Iterator[Carried]:
    """Each slot of the target, from those of the source."""
    way, held = found.way, {name: value for name, value in source.values.items() if name != "lr"}
    for slot in (one for one in way.rule.hyper("paper", **way.axes).program.slots if one.clock == "element"):
        formula = formulas.with_numbers(way.state[slot.name], held)
        reads = formulas.reads(formula) & set(states.SLOTS)
        here = {name: states.name(source.measured.subject, name, source.axes) for name in reads}
        there = states.name(found.measured.subject, slot.name, way.axes)
        known = {name: own for name, own in here.items() if own is not None}
        meanings = {one.name: one.meaning for one in way.rule.hyper("paper", **source.axes).program.slots}
        unnamed = {name: meanings[name] for name in sorted(reads - known.keys())}
        if there is None:
            unnamed[slot.name] = slot.meaning
        checked = same and there is not None and known.keys() <= named
        yield Carried(slot.name, formula, _in_words(slot.name, there, formula, known), checked, unnamed)


def _in_words(slot: str, there: str | None, formula: str, here: Mapping[str, str]) -> str:
    """`momentum_buffer = -momentums/lr`: by the frameworks' names, where there are any."""
    value = substitute(expression(formula), {name: expression(own) for name, own in here.items()})
    if there is not None and there.startswith("-"):
        value = value.operand if isinstance(value, ast.UnaryOp) else ast.UnaryOp(ast.USub(), value)
    return f"{(there or slot).removeprefix('-')} = {source_of(value)}"


def _decimal(value: float) -> float:
    """0.1*(1 - 0.9) as it is written, 0.01: fifteen digits say all that matters."""
    return float(f"{value:.15g}")
