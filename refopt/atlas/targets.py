"""Which implementations there are: asked of each interpreter, and the settings in which each is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refopt.spec.errors import RefoptError
from refopt.verifying import drivers

# Switches that say how something is computed, or do nothing to what is computed here: every rule descends.
NO_CONVENTION = {"capturable", "differentiable", "maximize", "use_ema", "use_buffers", "verbose", "adaptive"}
NEEDS_MOMENTUM = {"nesterov"}
MOMENTUM = 0.9
AVERAGES = ("Average", "avg_fn", "optax:ema")  # words in the names of what averages parameters
EMA_OF_KERAS = "keras.optimizers:SGD"  # every optimizer of Keras can keep an average: one shows what it is
LISTING_SECONDS = 300


@dataclass(frozen=True)
class Target:
    """An implementation with arguments, the framework that has it, its version, and the interpreter (None: this one).

    `environment` are variables that the framework has to find when it is imported.
    """

    target: str
    options: Mapping[str, Any]
    framework: str
    version: str
    python: str | None = None
    average: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """torch.optim:Adam(amsgrad=True)"""
        given = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{self.target}({given})" if given else self.target


def listed(pythons: Sequence[Path], only: str = "") -> tuple[list[Target], list[str]]:
    """All targets of this interpreter and of others whose name begins with `only`; and why some are not here.

    A framework that several have is taken from the first.
    """
    found: dict[str, list[Target]] = {}
    reasons = []
    for python in (None, *pythons):
        for framework, answer in _asked(python).items():
            if "reason" in answer:
                reasons.append(f"{framework} cannot be imported by {python or sys.executable}: {answer['reason']}")
            elif framework not in found:
                found[framework] = list(_targets(framework, answer, python))
    wanted = [target for some in found.values() for target in some if target.name.startswith(only)]
    if only and not wanted:
        raise RefoptError(
            f"nothing that is installed has a name that begins with {only!r}; there are {', '.join(found)}"
        )
    return wanted, reasons


def _asked(python: Path | None) -> Mapping[str, Any]:
    """What the listing says, run by an interpreter, this one included: what it imports stays there."""
    script = Path(drivers.__file__).with_name("listing.py")
    command = [str(python or sys.executable), str(script)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LISTING_SECONDS, env=os.environ)
        return json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError, IndexError) as error:
        raise RefoptError(
            f"{command[0]} did not list its optimizers ({error}); is that a Python interpreter of 3.10 or later?"
        ) from error


def _targets(framework: str, answer: Mapping[str, Any], python: Path | None) -> Iterator[Target]:
    where = None if python is None else str(python)
    known = (framework, answer["version"], where)
    for target, switches in answer["targets"].items():
        average = any(word in target for word in AVERAGES)
        for options in _settings(switches):
            yield Target(target, options, *known, average, answer["environment"])
        if target == EMA_OF_KERAS:
            yield Target(target, {"use_ema": True}, *known, True, answer["environment"])


def _settings(switches: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The defaults, then each switch for itself."""
    yield {}
    momentum = {"momentum": MOMENTUM} if "momentum" in switches else {}
    if momentum:
        yield momentum
    for name, default in switches.items():
        if name not in NO_CONVENTION | momentum.keys():
            yield {**(momentum if name in NEEDS_MOMENTUM else {}), name: not default}
