"""Which variants of a rule a trace can speak about, given the hyper-parameters that are known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError, given_twice
from refopt.spec.hyper import reads, variants
from refopt.spec.program import Program, program


@dataclass(frozen=True)
class Candidate:
    """One function, and every combination of choices (of the axes in `Candidates.tables`) that is this function."""

    program: Program
    axes: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Candidates:
    """All functions that the trace may be, the choices considered on each axis, and the numbers taken for granted.

    Axes of storage are not among them: no trace shows what state is kept in. `usable` are the numbers that are known or
    assumed.
    """

    rule: Rule
    tables: Mapping[str, tuple[str, ...]]
    programs: tuple[Candidate, ...]
    assumed: Mapping[str, float]
    usable: frozenset[str]


def canonical_hyper(rule: Rule, hyper: Mapping[str, float]) -> dict[str, float]:
    """The numbers by the rule's own names, checked."""
    values: dict[str, float] = {}
    for name, value in hyper.items():
        parameter = rule.hyper_parameter(name)
        if parameter.name in values:
            raise given_twice(rule.name, parameter.name, name)
        values[parameter.name] = parameter.check(rule.name, value)
    return values


def candidates(rule: Rule, known: Sequence[str]) -> Candidates:
    """Every variant that can be computed from the known hyper-parameters.

    A choice that needs a number which is not given is not considered: without a weight decay there is nothing to say
    about where it acts. A number that every variant needs is taken as its neutral 0, and reported, or must be given.
    """
    base, lacking = neutral_axes(rule, known)
    if lacking:
        raise RefoptError(
            f"{rule.name}: the trace needs {lacking} at every step; "
            f"give it in trace.hyper, or as hyper={{'{lacking}': ...}}"
        )
    needed = reads(rule, base)
    assumed = {name: 0.0 for name in needed if name not in known}
    usable = {*known, *assumed}
    tables = {}
    for axis in (axis for axis in rule.axes if not axis.storage):
        tables[axis.name] = tuple(
            choice for choice in axis.choices if set(reads(rule, {**base, axis.name: choice})) <= usable
        )
    found: dict[tuple[object, ...], tuple[Program, list[dict[str, str]]]] = {}
    for axes in variants(rule, tables):
        one = program(rule, axes)
        found.setdefault(one.key, (one, []))[1].append({name: axes[name] for name in tables})
    programs = tuple(Candidate(one, tuple(axes)) for one, axes in found.values())
    return Candidates(rule, tables, programs, assumed, frozenset(usable))


def neutral_axes(rule: Rule, known: Collection[str]) -> tuple[dict[str, str], str | None]:
    """The choices nearest to the canonical ones that read no number but the known, and those that may be taken as 0.

    Also the number that they need nevertheless, or None.
    """
    base = {axis.name: axis.choices[0] for axis in rule.axes}

    def lacking(axes: Mapping[str, str]) -> list[str]:
        return [n for n in reads(rule, axes) if n not in known and rule.hyper_parameter(n).default != 0.0]

    if lacking(base):  # a plain mean needs no decay
        changed = [base | {axis.name: choice} for axis in rule.axes for choice in axis.choices[1:]]
        base = min([base, *changed], key=lambda axes: len(lacking(axes)))
    return base, next(iter(lacking(base)), None)


def rule_name_of(hyper_name: str, *, average: bool = False, rule: Rule | None = None) -> str | None:
    """The canonical name of a hyper-parameter, of optimizers or averages, as any framework spells it; or None.

    Under one rule, what it does not know itself never has one of its own names.
    """
    own = {p.name for p in rule.hyper_parameters} if rule else set()
    for one in (*([rule] if rule else []), *(one for one in RULES.values() if one.average == average)):
        for parameter in one.hyper_parameters:
            if hyper_name == parameter.name or {hyper_name, f"-{hyper_name}"} & {*parameter.aliases}:
                return None if one is not rule and parameter.name in own else parameter.name
    return None


def is_negated(hyper_name: str, ours: str, rule: Rule | None) -> bool:
    """Whether a framework's number has the other sign: the alias of it begins with a minus."""
    every = [p for one in ([rule] if rule else RULES.values()) for p in one.hyper_parameters if p.name == ours]
    return any(f"-{hyper_name}" in parameter.aliases for parameter in every)
