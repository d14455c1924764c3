"""Under which choices and numbers rules are explained."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from refopt.rules import RULES
from refopt.spec.hyper import conflict, reads, variants

# Not the defaults, so that no term vanishes. What the axes do not read is left out.
NUMBERS = {
    "lr": 0.125, "mu": 0.75, "wd": 0.0625, "beta1": 0.75, "beta2": 0.9, "eps": 0.01, "eps_root": 0.02,
    "dampening": 0.3, "tc": 0.2, "power": 0.5, "inv_gamma": 2.0, "psi": 3.0, "threshold": 4.5, "lambd": 0.5, "t0": 1.0,
    "start": 0.03, "d0": 0.25, "d_coef": 2.0, "max_norm": 0.5, "kappa": 0.7, "eps1": 0.01, "eps2": 0.125, "d": 0.5,
}  # fmt: skip


def single_changes() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Every dialect as it is, then every choice that its rule's canonical source does not take, one at a time."""
    for rule in RULES.values():
        for dialect in rule.dialects:
            yield rule.name, dialect.name, {}
        first = {axis.name: axis.choices[0] for axis in rule.axes}
        for axis in rule.axes:
            for choice in axis.choices[1:]:
                if conflict(rule, {**first, axis.name: choice}) is None:
                    yield rule.name, "paper", {**first, axis.name: choice}


def samples(count: int) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Combinations of choices, `count` of each rule."""
    draw = random.Random(0)
    for rule in RULES.values():
        every = list(variants(rule))
        for axes in draw.sample(every, min(count, len(every))):
            yield rule.name, "paper", axes


CASES = [*single_changes(), *samples(5)]
NAMES = ["-".join([rule, dialect, *axes.values()]) for rule, dialect, axes in CASES]
each_case = pytest.mark.parametrize(("rule", "dialect", "axes"), CASES, ids=NAMES)


def numbers(rule: str, dialect: str, axes: dict[str, str]) -> dict[str, float]:
    read = reads(RULES[rule], {**RULES[rule].hyper(dialect=dialect).axes, **axes})
    return {name: NUMBERS.get(name, RULES[rule].hyper_parameter(name).default) for name in read}
