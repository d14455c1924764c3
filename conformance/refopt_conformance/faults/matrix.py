"""The kill matrix: every fault of every rule against every check of its rule, and which of them catch it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
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

SCHEMA = "refopt-kill-matrix/1"
ENGINES = (*STRUCTURAL, *EXTENT, *HALVES, *COMPILED)
CONTROL = "no fault"  # the engine as it is: whatever catches it is wrong itself


@dataclass
class Kill:
    """What became of one fault: the checks on which it changes something, and those that caught it."""

    rule: str
    fault: str
    effect: str
    issues: tuple[str, ...]
    tried: int = 0
    caught: list[str] = field(default_factory=list)
    message: str = ""  # the first

    @property
    def kinds(self) -> dict[str, int]:
        """How many checks of each kind caught it."""
        return dict(Counter(name.partition("/")[0] for name in self.caught))


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


def matrix(profile: str = "fast", rules: Iterable[Rule] | None = None, *, first: bool = False) -> list[Kill]:
    """Runs the faults of the rules through a profile; with `first`, each only until it is caught."""
    kills: list[Kill] = []
    everything = checks(profile)
    if first:  # laws are cheap, and alone in catching some
        everything.sort(key=lambda check: check.law is None)
    for rule in rules if rules is not None else RULES.values():
        accused = list(suspects(rule))
        kills += [suspect.kill for suspect in accused]
        for check in (check for check in everything if check.case.conventions.rule is rule):
            for suspect in accused:
                if not (first and suspect.kill.caught) and suspect.concerns(check):
                    _try(suspect, check)
            gc.collect(0)
    return [kill for kill in kills if kill.tried]  # what a rule has no place for is no fault of it


def _try(suspect: Suspect, check: Check) -> None:
    suspect.kill.tried += 1
    try:
        check.run(Driver(suspect.engine, None))
    except Inapplicable:
        suspect.kill.tried -= 1
    except Deviation as deviation:
        suspect.kill.message = suspect.kill.message or str(deviation)
        suspect.kill.caught.append(str(check))


def as_dict(kills: list[Kill], profile: str) -> dict[str, Any]:
    """The matrix for JSON: the checks by number, and for each fault the numbers of those that caught it."""
    names = [str(check) for check in checks(profile)]
    number = {name: i for i, name in enumerate(names)}
    rows = [
        {
            "rule": kill.rule,
            "fault": kill.fault,
            "effect": kill.effect,
            "issues": list(kill.issues),
            "tried": kill.tried,
            "kinds": kill.kinds,
            "message": kill.message,
            "caught": [number[name] for name in kill.caught],
        }
        for kill in kills
    ]
    return {"schema": SCHEMA, "profile": profile, "checks": names, "faults": rows}
