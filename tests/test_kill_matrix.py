"""The suite is itself tested: every fault is caught, the reference is not, and choices are far apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest

from refopt.clocks import of_model
from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.hyper import Hyper
from refopt_conformance.amplification import MATRIX, quantity_of
from refopt_conformance.budgets import BUDGETS, CHAIN
from refopt_conformance.cases import Case, conventions, of_dimensions
from refopt_conformance.checks import checks
from refopt_conformance.distance import distance
from refopt_conformance.faults.matrix import CONTROL, ENGINES, attempt, published, suspects
from refopt_conformance.inputs import OF_MODELS, TREE
from refopt_conformance.reference import SHORT, State, Step, average, chain

RULE = pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)


@RULE
def test_every_fault_is_caught(rule: Rule) -> None:
    """`python -m refopt_conformance.faults --rule <name> --write` searches; here each fault meets what caught it."""
    rows = {row["fault"]: row for row in published()[rule.name]}
    accused = {suspect.kill.fault: suspect for suspect in suspects(rule)}
    by_name = {str(check): check for check in checks("fast", rule)}
    assert rows.keys() - {one.name for one in ENGINES} == {CONTROL, *(fault.name for fault in rule.faults)}
    assert rows.keys() <= accused.keys()
    wrong = []
    for name, row in rows.items():
        suspect = accused[name]
        assert (row["effect"], tuple(row["issues"])) == (suspect.kill.effect, suspect.kill.issues), name
        if name == CONTROL:
            continue
        check = by_name.get(row["caught"])
        if check is None or not suspect.concerns(check):
            wrong.append(f"{name}: there is no check {row['caught']!r} that it concerns")
            continue
        # A fault that remembers what it was run on before may need more than the check that caught it there.
        for one in (check, *(by_name.values())):
            if not suspect.kill.caught and suspect.concerns(one):
                attempt(suspect, one)
        if not suspect.kill.caught:
            wrong.append(f"{name} survives {row['caught']}: {suspect.kill.effect}")
    assert wrong == [], f"python -m refopt_conformance.faults --rule {rule.name} --write"


@RULE
def test_no_check_that_catches_a_fault_catches_the_reference(rule: Rule) -> None:
    by_name = {str(check): check for check in checks("fast", rule)}
    innocent = next(suspects(rule))
    assert innocent.kill.fault == CONTROL
    for name in {row["caught"] for row in published()[rule.name]} - {""}:
        attempt(innocent, by_name[name])
    assert innocent.kill.tried > 10
    assert not innocent.kill.caught, innocent.kill.message


@RULE
def test_faults_say_what_they_do(rule: Rule) -> None:
    names = [fault.name for fault in rule.faults]
    assert len(names) == len(set(names))
    for fault in rule.faults:
        assert len(fault.effect.split()) > 3
        assert all(link.startswith("https://") for link in fault.issues)


def _pairs(rule: Rule) -> list[tuple[Hyper, Hyper]]:
    """Every two choices of an axis, under the conventions of some case that may have both."""
    found: dict[tuple[str, str, str], tuple[Hyper, Hyper]] = {}
    mine = list(conventions(rule).values())
    for hyper in mine:
        for axis in rule.axes:
            for other in axis.choices:
                pair = (axis.name, *sorted((hyper.axes[axis.name], other)))
                wanted = _computed({**hyper.axes, axis.name: other}, rule)
                twin = next((h for h in mine if _computed(h.axes, rule) == wanted), None)
                if pair not in found and twin is not None and twin.program.key != hyper.program.key:
                    found[pair[0], pair[1], pair[2]] = (hyper, twin)
    return list(found.values())


def _computed(axes: Mapping[str, str], rule: Rule) -> dict[str, str]:
    """The choices that make a difference to real numbers of a wide dtype."""
    return {axis.name: axes[axis.name] for axis in rule.axes if not axis.storage}


@RULE
def test_choices_are_ten_budgets_apart(rule: Rule) -> None:
    """Power: whoever has the other choice of an axis is told from it by ten times what is allowed."""
    pairs = _pairs(rule)
    computing = [axis for axis in rule.axes if not axis.storage]  # others show in the dtype of the slots alone
    wanted = {(axis.name, *sorted(pair)) for axis in computing for pair in combinations(axis.choices, 2)}
    shown = {
        (axis, *sorted((one.axes[axis], other.axes[axis])))
        for one, other in pairs
        for axis in _computed(one.axes, rule)
        if one.axes[axis] != other.axes[axis]
    }
    assert wanted - shown == set(), "these pairs of choices never meet under the same other choices"
    for one, other in pairs:
        if (rule.name, next(axis for axis in one.axes if one.axes[axis] != other.axes[axis])) in SHOWN_BY_FAULTS:
            continue
        apart = max(_apart(one, other, numbers) for numbers in ("mixed", "usual"))
        assert apart > 10, f"{one} and {other} are only {apart:.3g} budgets apart"


# What shows only where all gradients are zero, or one is NaN, as none is here: the matrix has a fault for each.
SHOWN_BY_FAULTS = {("prodigy", "no_gradient"), ("prodigy", "nan")}


def _apart(one: Hyper, other: Hyper, numbers: str) -> float:
    """The largest distance between two choices over a short chain, in budgets."""
    both = (one.program, other.program)
    more = dict.fromkeys(leaf for program in both for leaf in of_dimensions(program))
    leaves = OF_MODELS if any(map(of_model, both)) else (*TREE, *more)
    cases = [Case(f"{one.rule.name}/power", hyper, "float32", leaves, numbers) for hyper in (one, other)]
    largest = 0.0
    for mine, its in zip(*(_states(case) for case in cases), strict=True):
        for quantity, a, b in ((quantity_of(one.program), mine.params, its.params), *_slots(mine, its)):
            narrow = [x.astype(np.float32) for x in a]
            for x, y in zip(narrow, b, strict=True):
                if x.size and x.shape == y.shape:  # what is kept for rows has no distance from what is for elements
                    ulps = distance(x, y, _largest_of(y) if quantity == MATRIX else np.abs(y))
                    largest = max(largest, float(np.max(ulps)) / BUDGETS[quantity, "float32", CHAIN].ulps)
    return largest


def _largest_of(x: np.ndarray) -> float:
    return float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0))


def _states(case: Case) -> list[State]:
    """What the reference makes of the case, with averages where there are such."""
    steps = {step.t: step for step in chain(case, SHORT)}
    return [
        State(
            [*steps[t].after.params, *(_average(steps[t]) if steps[t].hyper.program.evaluate else [])],
            steps[t].after.slots,
        )
        for t in range(2, SHORT + 1)
    ]


def _average(step: Step) -> list[np.ndarray]:
    return average(step.hyper, step.t, State(step.before.params, step.after.slots))


def _slots(mine: State, its: State) -> list[tuple[str, list[np.ndarray], list[np.ndarray]]]:
    return [
        ("slot", slot, its.slots[name])
        for name, slot in mine.slots.items()
        if isinstance(slot, list) and name in its.slots
    ]
