"""Hyper-parameters and axis choices, validated together against a rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from types import MappingProxyType
from typing import Any

from refopt.spec.declare import Axis, Rule
from refopt.spec.errors import RefoptError, given_twice, unknown
from refopt.spec.faults import Fault
from refopt.spec.program import Program, program


@dataclass(frozen=True)
class Hyper:
    """A rule's numbers (`values`, by name) and conventions (`axes`, by name), both complete and valid."""

    rule: Rule
    dialect: str
    axes: Mapping[str, str]
    values: Mapping[str, float]

    def __post_init__(self) -> None:
        for name in ("axes", "values"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        """What copies and pickles are made from: read-only mappings can be neither copied nor pickled."""
        return Hyper, (self.rule, self.dialect, dict(self.axes), dict(self.values))

    @cached_property
    def program(self) -> Program:
        """The rule's source, specialised to these axes."""
        return program(self.rule, self.axes)

    @cached_property
    def read(self) -> tuple[str, ...]:
        """The hyper-parameters that the specialised source reads, in the rule's order."""
        return reads(self.rule, self.axes)

    @cached_property
    def refuses_complex(self) -> str | None:
        """Why complex parameters have no update by these conventions, or None."""
        from refopt.spec.complex_numbers import refused  # which needs Hyper: imported when first used

        return refused(self)

    @property
    def by_modulus(self) -> bool:
        """Whether a backend is given these for pairs of numbers, the complex ones, that it steps by their modulus."""
        from refopt.spec.complex_numbers import is_meant  # which needs Hyper: imported when first used

        return is_meant(self)

    def replace(self, **options: Any) -> Hyper:
        """The same conventions and numbers but for those given."""
        if options.keys() & self.axes.keys():
            return _build(self.rule, self.dialect, {**self.axes}, {**self.values}, options)
        new = Hyper(self.rule, self.dialect, self.axes, _numbers(self, options))
        new.__dict__.update(program=self.program, read=self.read)  # a step changes lr: what follows from axes stays
        return new

    def planted(self, fault: Fault) -> Hyper | None:
        """The same numbers and conventions, but with a fault in the program; None where it changes nothing."""
        if any(self.axes[axis] not in choices for axis, choices in fault.only_with.items()):
            return None
        if conflict(self.rule, {**self.axes, **fault.axes}):
            return None
        broken = program(self.rule, self.axes, fault)
        if broken.key == self.program.key:
            return None
        return self.running(broken)

    def running(self, program: Program) -> Hyper:
        """The same numbers and conventions, and another program in place of the rule's source."""
        new = Hyper(self.rule, self.dialect, self.axes, self.values)
        new.__dict__.update(program=program, read=self.read)
        return new

    def __repr__(self) -> str:
        numbers = [f"{name}={self.values[name]!r}" for name in self.read]
        axes = [f"{name}={choice!r}" for name, choice in self.axes.items() if choice != self.rule.axis(name).choices[0]]
        return f"{self.rule.name}({', '.join([f'dialect={self.dialect!r}', *axes, *numbers])})"


def make_hyper(rule: Rule, dialect: str | None, options: Mapping[str, Any]) -> Hyper:
    """`Rule.hyper`: the dialect's choices and defaults (the paper's if None), overridden by `options`."""
    bundle = rule.dialect("paper" if dialect is None else dialect)
    axes = {axis.name: bundle.axes.get(axis.name, axis.choices[0]) for axis in rule.axes}
    values = {p.name: float(bundle.defaults.get(p.name, p.default)) for p in rule.hyper_parameters}
    return _build(rule, bundle.name, axes, values, options)


def _build(
    rule: Rule, dialect: str, axes: dict[str, str], values: dict[str, float], options: Mapping[str, Any]
) -> Hyper:
    for name, value in options.items():
        if name in axes:
            axes[name] = _choice(rule, rule.axis(name), value)
    if problem := conflict(rule, axes):
        raise RefoptError(problem)
    chosen = Hyper(rule, dialect, axes, values)
    numbers = {name: value for name, value in options.items() if name not in axes}
    return Hyper(rule, dialect, chosen.axes, _numbers(chosen, numbers))


def _numbers(hyper: Hyper, options: Mapping[str, Any]) -> Mapping[str, float]:
    """The values of all hyper-parameters after these are set by name or alias."""
    rule = hyper.rule
    given: dict[str, float] = {}
    for name, value in options.items():
        try:
            parameter = rule.hyper_parameter(name)
        except RefoptError:
            names = [p.name for p in rule.hyper_parameters] + [axis.name for axis in rule.axes]
            raise unknown(rule.name, "hyper-parameter or axis", name, names) from None
        if parameter.name in given:
            raise given_twice(rule.name, parameter.name, name)
        given[parameter.name] = parameter.check(rule.name, value)
    for name, value in given.items():
        if name not in hyper.read and value != hyper.values[name]:
            raise RefoptError(_unread(rule, name, hyper.axes))
    return {**hyper.values, **given}


def _choice(rule: Rule, axis: Axis, value: Any) -> str:
    if isinstance(value, bool):  # nesterov=True, as the frameworks spell it
        value = "yes" if value else "no"
    if str(value) not in axis.choices:
        raise unknown(rule.name, f"choice of axis {axis.name!r}:", value, axis.choices)
    return str(value)


def complete(rule: Rule, axes: Mapping[str, str]) -> dict[str, str]:
    """These choices, and for all other axes the canonical ones."""
    return {axis.name: axes.get(axis.name, axis.choices[0]) for axis in rule.axes}


def conflict(rule: Rule, axes: Mapping[str, str]) -> str | None:
    """Why these choices cannot be combined, or None."""
    for axis in rule.axes:
        for other, allowed in axis.choice(axes[axis.name]).only_with.items():
            if axes[other] not in allowed:
                return (f"{rule.name}: {axis.name}={axes[axis.name]!r} goes only with {other}="
                        f"{' or '.join(map(repr, allowed))}; got {other}={axes[other]!r}")  # fmt: skip
    return None


def reads(rule: Rule, axes: Mapping[str, str]) -> tuple[str, ...]:
    """The hyper-parameters that the rule reads under these axes, in its order."""
    source = program(rule, axes)
    names = {*source.hypers, *(source.evaluate.hypers if source.evaluate else ())}
    return tuple(p.name for p in rule.hyper_parameters if p.name in names)


def _unread(rule: Rule, name: str, axes: Mapping[str, str]) -> str:
    """Which single change of an axis would make the hyper-parameter count."""
    remedies = [
        f"{axis.name}={choice!r}"
        for axis in rule.axes
        for choice in axis.choices
        if not conflict(rule, {**axes, axis.name: choice}) and name in reads(rule, {**axes, axis.name: choice})
    ]
    chosen = ", ".join(f"{k}={v!r}" for k, v in axes.items())
    hint = f"; choose {' or '.join(remedies)}, or leave {name} out" if remedies else f"; leave {name} out"
    return f"{rule.name}: {name} has no effect with {chosen}{hint}"


def variants(rule: Rule, axes: Mapping[str, tuple[str, ...]] | None = None) -> Iterator[dict[str, str]]:
    """Every valid combination of axis choices (of `axes`, where given), the canonical one first.

    Axes of storage stay at their first choice: they make no other algorithm.
    """
    tables = [(axes or {}).get(axis.name, axis.choices[:1] if axis.storage else axis.choices) for axis in rule.axes]
    for combination in product(*tables):
        chosen = {axis.name: choice for axis, choice in zip(rule.axes, combination, strict=True)}
        if conflict(rule, chosen) is None:
            yield chosen
