"""What `explain` answers with: steps of lines, to be read, printed in a terminal, or parsed."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from refopt.clocks import Clock
from refopt.explaining.facts import convention
from refopt.explaining.layout import WIDTH
from refopt.spec.hyper import Hyper

if TYPE_CHECKING:
    from rich.console import Group

STYLES = dict(zip(Clock, ("cyan", "yellow", "magenta", "blue", "green"), strict=True))


@dataclass(frozen=True)
class TracedLine:
    """`symbol = symbols`, in numbers `substituted`, which is `shown`, exactly `value`.

    `value` is a list where there is one for each dimension. `target` is the name in the source. `rounded`: some digits
    were left out, and = is ≈.
    """

    target: str
    symbol: str
    symbols: str
    substituted: str
    shown: str
    value: float | list[float]
    rounded: bool
    clock: Clock
    origin: str

    @property
    def stages(self) -> list[str]:
        """The right-hand sides, one after the other, with their relation signs."""
        sign = "≈" if self.rounded else "="
        last = [] if self.substituted == self.shown else [f"{sign} {self.substituted}"]
        return [f"= {self.symbols}", *last, f"{sign} {self.shown}"]


class Given(NamedTuple):
    """What a step starts from: `symbol`, and the number as `shown`."""

    symbol: str
    shown: str
    rounded: bool

    def __str__(self) -> str:
        return f"{self.symbol} {'≈' if self.rounded else '='} {self.shown}"


@dataclass(frozen=True)
class Step:
    """Step number `t`: what was given to it, and its lines."""

    t: int
    given: tuple[Given, ...]
    lines: tuple[TracedLine, ...]

    @property
    def heading(self) -> str:
        return f"Step {self.t} from " + ", ".join(map(str, self.given))


@dataclass(frozen=True)
class Explanation:
    """`steps` steps of a rule on one tensor of this dtype and shape, seen at one coordinate."""

    hyper: Hyper
    dtype: str
    shape: tuple[int, ...]
    coordinate: int
    steps: tuple[Step, ...]

    @property
    def heading(self) -> str:
        rule, values = self.hyper.rule, self.hyper.values
        numbers = [f"{rule.hyper_parameter(n).symbol} = {values[n]!r} ({n})" for n in self.hyper.read]
        place = f"Element {self.coordinate} of a {self.dtype} tensor of shape {self.shape}"
        if self.dtype != "float64":
            place += "\nValues per step and per tensor are float64, rounded to float32 where they meet an element"
        return f"{rule.title}, {convention(self.hyper)}\n{place}\n{', '.join(numbers)}"

    def __str__(self) -> str:
        """Plain text: every line in symbols, with its numbers, its value and its clock."""
        from rich.console import Console  # here: most callers need no terminal

        console = Console(file=io.StringIO(), width=WIDTH, no_color=True, highlight=False)
        console.print(self.render())
        return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]

    def render(self) -> Group:
        """A table per step for a rich console."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[Text | Table] = [Text(self.heading)]
        for step in self.steps:
            table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
            table.add_column(no_wrap=True)
            for line in step.lines:
                stages = Text("\n").join(map(Text, line.stages))
                stages.stylize("bold", len(stages) - len(line.shown))
                clock, origin = Text(f" {line.clock}", STYLES[line.clock]), Text(f" {line.origin}", "dim")
                table.add_row(line.symbol, stages, clock, origin)
            parts += [Text(f"\n{step.heading}", "bold"), table]
        return Group(*parts)

    def json(self) -> str:
        """For programs. A value that is not finite, which JSON cannot write, is "nan", "inf" or "-inf"."""
        return json.dumps(self._record(), ensure_ascii=False, indent=2)

    def _record(self) -> dict[str, Any]:
        return {
            "rule": self.hyper.rule.name,
            "dialect": self.hyper.dialect,
            "axes": dict(self.hyper.axes),
            "hyper_parameters": {name: self.hyper.values[name] for name in self.hyper.read},
            "dtype": self.dtype,
            "shape": list(self.shape),
            "coordinate": self.coordinate,
            "steps": [
                {"t": step.t, "given": [x._asdict() for x in step.given], "lines": [_line(line) for line in step.lines]}
                for step in self.steps
            ],
        }


def _written(value: float | list[float]) -> Any:
    if isinstance(value, list):
        return [_written(x) for x in value]
    return value if math.isfinite(value) else str(value)


def _line(line: TracedLine) -> dict[str, Any]:
    return {**vars(line), "value": _written(line.value), "clock": str(line.clock)}
