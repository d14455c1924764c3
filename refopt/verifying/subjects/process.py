"""Programs in any language, driven as child processes by the protocol of docs/protocol.md."""

from __future__ import annotations

import json
import math
import shlex
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np

from refopt.spec.errors import RefoptError, Unsupported, shown
from refopt.verifying.subjects.base import Interface, names, timed
from refopt.verifying.subjects.child import Child, Late
from refopt.verifying.subjects.protocol import VERSION, declaration, decode_all, encode

PREFIX = "exec:"
DEADLINE = 10.0


@dataclass(frozen=True)
class Command:
    """A program to verify: `refopt.verify(Command(["./my_optimizer"]))`. As a string, it is `exec:./my_optimizer`.

    Args:
        words: the command and its arguments. No shell reads them.
        deadline: the seconds that it has for each answer.
    """

    words: Sequence[str]
    deadline: float = DEADLINE

    restarts = False  # nothing of one run is left for the next

    def __post_init__(self) -> None:
        if isinstance(self.words, str) or not self.words or not all(isinstance(word, str) for word in self.words):
            raise RefoptError(
                f"a Command takes a list of words, such as ['./my_optimizer', '--fast']; got {shown(self.words)}"
            )
        if not (self.deadline > 0 and math.isfinite(self.deadline)):
            raise RefoptError(f"a deadline is a number of seconds above 0; got {self.deadline!r}")

    @classmethod
    def parse(cls, text: str, deadline: float = DEADLINE) -> Command:
        """A command as it is typed, with or without `exec:`."""
        try:
            return cls(tuple(shlex.split(text.removeprefix(PREFIX))), deadline)
        except ValueError as error:
            if isinstance(error, RefoptError):
                raise
            raise RefoptError(f"{text!r} is no command: {error}; close what is open") from error

    def __str__(self) -> str:
        return PREFIX + shlex.join(self.words)

    def __call__(self) -> Child:
        """Start it."""
        return Child(str(self), self.words, self.deadline)


@dataclass(frozen=True)
class Step:
    """What a program has after a step: the parameters, and the slots by name if it shows them."""

    params: list[np.ndarray]
    slots: dict[str, list[np.ndarray]]


class Program(Protocol):
    """What starts a process that speaks the protocol; if it `restarts`, one process makes all that is asked for."""

    @property
    def restarts(self) -> bool: ...

    def __call__(self) -> Child: ...


class ProcessSubject:
    """A program. A fresh process is driven each time, so that nothing of one run is left; unless one `restarts`."""

    def __init__(self, name: str, target: Program, options: Mapping[str, Any]) -> None:
        self.name, self.target, self.options = name, target, options
        self.late: list[Late] = []  # the first, if any: shared by those who name its numbers otherwise
        self.step_seconds: list[float] = []
        self.kept: Child | None = None
        try:
            with self._child() as child:
                self.declared = declared = child.ask(START, declaration)
            self.interface = Interface(
                {**declared.defaults, **dict.fromkeys(declared.options, "")},
                declared.per_step,
                stated=declared.stated,
                average=declared.average,
                dtypes=declared.dtypes,
                framework=declared.name,
                versions={declared.name: declared.version},
            )
            self.names = names(name, self.interface, options)
            for option, value in self.names.others.items():
                _refuse_what_json_lacks(name, option, value)
        except BaseException:
            self.close()
            raise

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        return [step.params for step in self.follow(params, grads, hyper)]

    def follow(
        self,
        params: list[np.ndarray],
        grads: list[list[np.ndarray]],
        hyper: list[dict[str, float]],
        *,
        state: bool = False,
    ) -> list[Step]:
        """Drive it, and ask for its state after each step as well. Raises Unsupported if it shows none."""
        for dtype in {w.dtype.name for w in params} - set(self.declared.dtypes):
            raise Unsupported(f"{self.name} takes {' and '.join(self.declared.dtypes)}, not {dtype}")
        if state and not self.declared.slots:
            raise Unsupported(f"{self.name} declares no slots, so its state cannot be seen")
        if self.late:  # another rule would wait for it as long
            raise self.late[0]
        try:
            with self._child() as child:
                self.step_seconds = []
                steps = list(timed(self._steps(child, params, grads, hyper, state), self.step_seconds))
        except Late as late:
            self.late.append(late)
            raise
        return steps

    def close(self) -> None:
        """End the process that is kept, if one is."""
        if self.kept is not None:
            self.kept.__exit__(None, None, None)
            self.kept = None

    @contextmanager
    def _child(self) -> Iterator[Child]:
        """A fresh process, which is told to stop at the end; or the one that is kept."""
        if self.target.restarts:
            if self.kept is None:
                self.kept = self.target()
                weakref.finalize(self, self.kept.kill)
            yield self.kept
        else:
            with self.target() as child:
                yield child
                child.stop()

    def _steps(
        self,
        child: Child,
        params: list[np.ndarray],
        grads: list[list[np.ndarray]],
        hyper: list[dict[str, float]],
        state: bool,
    ) -> Iterator[Step]:
        if not self.target.restarts:
            child.ask(START, declaration)
        made = {"message": "init", "params": self._arrays(params), "hyper": self.names.own(hyper[0])}
        child.ask({**made, "options": dict(self.names.others)}, lambda answer: None)
        for t, (gradients, now) in enumerate(zip(grads, hyper, strict=True), start=1):
            request = {"message": "step", "t": t, "hyper": self.names.own(now), "grads": self._arrays(gradients)}
            new = child.ask(request, lambda answer: decode_all(answer.get("params"), "params", params))
            slots = child.ask({"message": "state"}, lambda answer: self._slots(answer, params)) if state else {}
            yield Step(new, slots)

    def _arrays(self, arrays: list[np.ndarray]) -> list[dict[str, Any]]:
        return [encode(array, self.declared.arrays) for array in arrays]

    def _slots(self, answer: dict[str, Any], params: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
        slots = answer.get("slots")
        if not isinstance(slots, dict) or set(slots) != set(self.declared.slots):
            raise Unsupported(f"slots must be an object of {', '.join(self.declared.slots)}; got {shown(slots)}")
        return {name: decode_all(arrays, f"slots.{name}", params, same_shape=False) for name, arrays in slots.items()}


START = {"message": "start", "protocol": VERSION, "refopt": version("refopt")}


def _refuse_what_json_lacks(subject: str, option: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RefoptError(
            f"{subject}: {option} must be what JSON has, a number, a text, a list; got {shown(value)}"
        ) from error
