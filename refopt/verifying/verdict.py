"""What a trace shows about an implementation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from refopt.verifying.distance import Deviation
from refopt.verifying.faults import Explanation


@dataclass(frozen=True)
class AxisVerdict:
    """What the data says of one axis.

    `choices` are those that fit; one means pinned. `considered` are those that could be computed at all. `why` says of
    one that is open why nobody can tell, or what would; of one that is assumed, what it lacks.
    """

    name: str
    choices: tuple[str, ...]
    considered: tuple[str, ...]
    why: str = ""

    @property
    def status(self) -> Literal["pinned", "open", "assumed"]:
        """pinned: the data excludes all other choices; open: several fit; assumed: only one could be considered."""
        if len(self.considered) == 1:
            return "assumed"
        return "pinned" if len(self.choices) == 1 else "open"


@dataclass(frozen=True)
class FittedNumber:
    """A hyper-parameter that was read off the traces.

    From `low` to `high` all values fit, the others held: the same number where the traces determine it. What it is
    `tied` to can make up for it: the traces show only what they come to together.
    """

    value: float
    low: float
    high: float
    tied: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.value:.6g}"
        if self.tied:
            return f"{text} (only together with {' and '.join(self.tied)})"
        return text if self.low == self.high else f"{text} ({self.low:.3g} to {self.high:.3g} fit as well)"


@dataclass(frozen=True)
class Verdict:
    """The answer of `verify` and `identify`. docs/verdicts.md explains every field."""

    status: Literal["conforms", "deviates", "unsupported"]
    subject: str
    rule: str | None = None
    dialect: str | None = None
    departures: Mapping[str, str] = field(default_factory=dict)
    dialects: tuple[str, ...] = ()
    axes: Mapping[str, AxisVerdict] = field(default_factory=dict)
    distance: float | None = None
    next_distance: float | None = None
    next_axes: Mapping[str, str] = field(default_factory=dict)
    allowed: float | None = None
    dtype: str | None = None
    steps: int = 0
    runs: int = 1
    assumed: Mapping[str, float] = field(default_factory=dict)
    fitted: Mapping[str, FittedNumber] = field(default_factory=dict)
    complex_numbers: str = ""
    complex_reason: str = ""
    first: Deviation | None = None
    nearest: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Explanation, ...] = ()
    case: str = ""
    defaults: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    tried: tuple[str, ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def conforms(self) -> bool:
        return self.status == "conforms"

    @property
    def pinned(self) -> dict[str, str]:
        """The axes that the data decides, with their choices."""
        return {name: axis.choices[0] for name, axis in self.axes.items() if axis.status == "pinned"}

    @property
    def open(self) -> dict[str, tuple[str, ...]]:
        """The axes that the data leaves open, with the choices that fit."""
        return {name: axis.choices for name, axis in self.axes.items() if axis.status == "open"}

    @property
    def exit_status(self) -> int:
        return {"conforms": 0, "deviates": 1, "unsupported": 2}[self.status]

    def as_dict(self) -> dict[str, Any]:
        """The verdict as plain data, for JSON."""
        data = dataclasses.asdict(dataclasses.replace(self, axes={}))
        data["axes"] = {
            name: {
                "status": axis.status,
                "choices": list(axis.choices),
                "considered": list(axis.considered),
                "why": axis.why,
            }
            for name, axis in self.axes.items()
        }
        return data

    def __str__(self) -> str:
        from refopt.verifying.report import text

        return text(self)
