"""The brief profile, which runs before every change: does it notice a choice that is not made?"""

from __future__ import annotations

from typing import Any

import pytest

from refopt.engines.numpy_engine import NumpyEngine
from refopt.rules import RULES
from refopt.spec.hyper import Hyper
from refopt_conformance.checks import Check, checks
from refopt_conformance.driver import Driver
from refopt_conformance.judge import Deviation

SINGLE = {check.case.name: check for check in checks("brief") if check.hasty}

NO_NUMBER = "the number that the other choice reads is not there, and at its neutral 0 the two are one"
LATER = "the two differ at a few steps alone, at none of these; fast has chains"
ELSEWHERE = "few tensors have no such gradient; fast has them all"
MISSED = {
    "momentum/torch/gradient_scale:one": NO_NUMBER,
    "adagrad/torch/init:zeros": NO_NUMBER,
    "adagrad/torch/rate:constant": NO_NUMBER,
    "rmsprop/optax/init:zeros": NO_NUMBER,
    "lion/paper/decay:none": NO_NUMBER,
    "adan/paper/decay:none": NO_NUMBER,
    "radam/paper/threshold_at:5": LATER,
    "radam/authors/threshold_at:4": LATER,
    "radam/authors/threshold_at:given": LATER,
    "ema/paper/init:params": "the average starts so, and a single step is compared from a state that is given",
    "prodigy/paper/nan:stays": ELSEWHERE,
    "prodigy/paper/no_gradient:waits": ELSEWHERE,
    "prodigy/prodigyopt/nan:spreads": ELSEWHERE,
    "prodigy/prodigyopt/no_gradient:nan": ELSEWHERE,
    "muon/paper/eps_at:constant": "its 1e-7 is nothing beside such norms; fast has other numbers",
}


class Deaf(NumpyEngine):
    """The reference, in which an axis keeps its dialect's choice whatever is asked for."""

    def __init__(self, axis: str, choice: str) -> None:
        super().__init__()
        self.own = {axis: choice}

    def init(self, hyper: Hyper, params: Any) -> Any:
        return super().init(hyper.replace(**self.own), params)

    def update(self, hyper: Hyper, *arguments: Any, **options: Any) -> Any:
        return super().update(hyper.replace(**self.own), *arguments, **options)

    def average(self, hyper: Hyper, *arguments: Any) -> Any:
        return super().average(hyper.replace(**self.own), *arguments)


def notices(check: Check) -> bool:
    """Whether a check of a single choice deviates, or cannot run, if the choice is not made."""
    rule = check.case.conventions.rule
    _, dialect, move = check.case.name.split("/")
    axis, _, _ = move.partition(":")
    engine = Deaf(axis, rule.hyper(dialect=dialect).axes[axis])
    try:
        check.run(Driver(engine, None))
    except (Deviation, KeyError, ValueError):  # the other choice has other slots
        return True
    return False


@pytest.mark.parametrize("rule", sorted({name.partition("/")[0] for name in SINGLE}))
def test_a_choice_that_is_not_made_is_noticed(rule: str) -> None:
    """But for those in the table, each with its reason."""
    missed = {name for name, check in SINGLE.items() if name.startswith(f"{rule}/") and not notices(check)}
    assert missed == {name for name in MISSED if name.startswith(f"{rule}/")}


@pytest.mark.parametrize("rule", list(RULES))
def test_every_choice_is_run(rule: str) -> None:
    """Once at least, in a dialect of its own or beside one; where slots are kept is for the chains of fast."""
    run = [check.case.conventions.axes for check in checks("brief", RULES[rule])]
    for axis in RULES[rule].axes:
        assert axis.storage or set(axis.choices) == {axes[axis.name] for axes in run}, axis.name
