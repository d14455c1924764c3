"""The kill matrix: every fault of every rule, and the check of the fast profile that catches it.

It is kept as one file for each rule in the folder `matrices`, so that a rule's is made anew alone, and tests need not
search: they run the checks that are named there, and the faults must be caught by them.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

from refopt.engines.numpy_engine import NumpyEngine
from refopt.rules import RULES
from refopt.spec.declare import Rule
from refopt.spec.hyper import Hyper
from refopt_conformance.checks import Check, checks
from refopt_conformance.driver import Driver
from refopt_conformance.faults.compiled import COMPILED
from refopt_conformance.faults.extent import EXTENT
from refopt_conformance.faults.half import HALVES
from refopt_conformance.faults.planting import Planted
from refopt_conformance.faults.structural import STRUCTURAL, Structural
from refopt_conformance.judge import Deviation
from refopt_conformance.laws import Inapplicable

SCHEMA = "refopt-kill-matrix/2"
ENGINES = (*STRUCTURAL, *EXTENT, *HALVES, *COMPILED)
CONTROL = "no fault"  # the engine as it is: whatever catches it is wrong itself


@dataclass
class Kill:
    """What became of one fault: the check that caught it, after how many that it concerned, and what that said."""

    rule: str
    fault: str
    effect: str
    issues: tuple[str, ...]
    tried: int = 0
    caught: str = ""
    message: str = ""


@dataclass(frozen=True)
class Suspect:
    """A wrong engine, the book kept on it, under which conventions it does anything wrong, and whether in numbers."""

    kill: Kill
    engine: NumpyEngine
    shows: Callable[[Hyper], bool]
    computes: bool = True

    def concerns(self, check: Check) -> bool:
        return (self.computes or check.law is not None) and self.shows(check.case.conventions)


def suspects(rule: Rule) -> Iterator[Suspect]:
    """The engine as it is; a wrong one for each fault of a rule, and for each of what runs it."""
    yield Suspect(Kill(rule.name, CONTROL, "the reference engine itself", ()), NumpyEngine(), lambda hyper: True)
    for fault in rule.faults:
        engine = Planted(rule, fault)
        kill = Kill(rule.name, fault.name, fault.effect, fault.issues)
        yield Suspect(kill, engine, lambda hyper, engine=engine: engine.broken(hyper) is not None)  # type: ignore[misc]
    for one in ENGINES:
        kill = Kill(rule.name, one.name, one.effect, one.issues)
        shows = partial(_shows_in, one)
        yield Suspect(kill, one.engine(), shows, one.computes)


def _shows_in(one: Structural, hyper: Hyper) -> bool:
    return one.shows_in(hyper.program)


def matrix(rule: Rule) -> list[Kill]:
    """Runs each fault of a rule, and of what runs it, through the fast profile until it is caught."""
    accused = list(suspects(rule))
    for check in sorted(
        checks("fast", rule), key=lambda check: check.law is None
    ):  # laws are cheap, and alone in catching some
        for suspect in accused:
            if not suspect.kill.caught and suspect.concerns(check):
                attempt(suspect, check)
        gc.collect(0)
    return [suspect.kill for suspect in accused if suspect.kill.tried]  # what a rule has no place for is no fault of it


def attempt(suspect: Suspect, check: Check) -> None:
    """Run one check on a suspect, and note what came of it."""
    kill = suspect.kill
    try:
        check.run(Driver(suspect.engine, None))
    except Inapplicable:
        return
    except Deviation as deviation:
        kill.caught, kill.message = str(check), str(deviation)
    kill.tried += 1


def as_dict(rule: Rule, kills: list[Kill]) -> dict[str, Any]:
    """A rule's matrix for JSON."""
    rows = [
        {
            "fault": kill.fault,
            "effect": kill.effect,
            "issues": list(kill.issues),
            "tried": kill.tried,
            "caught": kill.caught,
            "message": kill.message,
        }
        for kill in kills
    ]
    return {"schema": SCHEMA, "rule": rule.name, "faults": rows}


def published() -> dict[str, list[dict[str, Any]]]:
    """The faults of every rule that has a file, as they were caught when it was written."""
    found = {}
    for name in RULES:
        file = files("refopt_conformance.faults").joinpath("matrices", f"{name}.json")
        if file.is_file():
            found[name] = json.loads(file.read_text(encoding="utf-8"))["faults"]
    return found
