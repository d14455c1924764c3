"""The vocabulary in which a rule is declared: one function as its paper writes it, and a table beside it.

A rule's function is the canonical algorithm. Every axis on which published implementations disagree is a table of
choices; the first choice is the canonical line, each other choice is an *edit* of named lines:

    line("d = sqrt(v + eps)")          replace the line that assigns d (`...` stands for its old right-hand side)
    before("m", "g = g + wd * w")      insert before the line that assigns m
    after("w", "w = w - lr * wd * w")  insert after the line that assigns w
    within("c1", t="t - 1")            in the line that assigns c1, read `t - 1` wherever it says t
    drop("u")                          remove the line that assigns u

A line is named by what it assigns. Choices apply in the order in which the axes are declared, so a later axis edits
what an earlier one wrote. `refopt.spec.program` does the editing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from refopt.spec.errors import RefoptError, unknown

if TYPE_CHECKING:
    from refopt.spec.hyper import Hyper


@dataclass(frozen=True)
class Edit:
    kind: Literal["line", "before", "after", "within", "drop"]
    target: str | None
    text: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()


def line(text: str) -> Edit:
    """Replace the line that assigns the same name; `...` in it stands for the old right-hand side."""
    return Edit("line", None, (text,))


def before(target: str, *text: str) -> Edit:
    """Insert lines before the line that assigns `target`."""
    return Edit("before", target, text)


def after(target: str, *text: str) -> Edit:
    """Insert lines after the line that assigns `target`."""
    return Edit("after", target, text)


def within(target: str, **names: str) -> Edit:
    """In the line that assigns `target`, read an expression in place of a name."""
    return Edit("within", target, (), tuple(names.items()))


def drop(target: str) -> Edit:
    """Remove the line that assigns `target`."""
    return Edit("drop", target)


@dataclass(frozen=True)
class Slot:
    """One state array per parameter (clock "element"), or one number per step (clock "step").

    `init` is "zeros", "params" (a copy of the parameter) or a number.
    """

    name: str
    symbol: str
    meaning: str
    init: Literal["zeros", "params"] | float = "zeros"
    clock: Literal["element", "step"] = "element"


@dataclass(frozen=True)
class HyperParameter:
    """A number with a symbol, a default, an interval such as "[0, 1)" and a meaning.

    `probes` are values at which conventions become visible, one per probe of the verifier: exact in float32, and far
    from the values at which a choice changes nothing.
    """

    name: str
    symbol: str
    default: float
    interval: str
    meaning: str
    aliases: tuple[str, ...] = ()
    probes: tuple[float, ...] = ()

    def check(self, rule: str, value: Any) -> float:
        """Return `value` as a float; raise RefoptError if it is no finite number in the interval."""
        what = f"{rule}: {self.name} must be in {self.interval}"
        try:
            if isinstance(value, str | bytes | bool):
                raise TypeError
            number = float(value)
        except (TypeError, ValueError):
            raise RefoptError(f"{what}; got {value!r}, which is not a number") from None
        except OverflowError:
            number = math.inf
        low, high = (float(end) for end in self.interval[1:-1].split(","))
        above = number >= low if self.interval[0] == "[" else number > low
        below = number <= high if self.interval[-1] == "]" else number < high
        if not (math.isfinite(number) and above and below):
            raise RefoptError(f"{what}; got {value!r}")
        return number


@dataclass(frozen=True)
class Choice:
    """One published convention: its edits of the canonical source, what it means, and where it is found."""

    name: str
    meaning: str
    source: str = ""
    edits: tuple[Edit, ...] = ()
    slots: tuple[Slot, ...] = ()
    only_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """A named point on which published implementations disagree; the first choice is canonical."""

    name: str
    meaning: str
    table: tuple[Choice, ...]

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(choice.name for choice in self.table)

    def choice(self, name: str) -> Choice:
        return next(choice for choice in self.table if choice.name == name)


@dataclass(frozen=True)
class Dialect:
    """A named bundle of axis choices and hyper-parameter defaults, and the implementation that it describes."""

    name: str
    describes: str
    axes: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """Where an equation stands: the work, the place in it, and its address."""

    work: str
    where: str
    url: str


@dataclass(frozen=True, eq=False)  # a rule is itself: compared and hashed by identity
class Rule:
    """An update rule. `function(w, g, *slots, *, t, <hyper-parameters>)` returns the new w and the new slots.

    `evaluate`, if there is one, computes from the slots what to evaluate the model with. Steps `t` count from 1.
    """

    name: str
    title: str
    function: Callable[..., Any]
    hyper_parameters: tuple[HyperParameter, ...]
    slots: tuple[Slot, ...]
    axes: tuple[Axis, ...]
    dialects: tuple[Dialect, ...]
    references: tuple[Reference, ...]
    evaluate: Callable[..., Any] | None = None

    def axis(self, name: str) -> Axis:
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise unknown(self.name, "axis", name, [axis.name for axis in self.axes])

    def dialect(self, name: str) -> Dialect:
        for dialect in self.dialects:
            if dialect.name == name:
                return dialect
        raise unknown(self.name, "dialect", name, [dialect.name for dialect in self.dialects])

    def hyper_parameter(self, name: str) -> HyperParameter:
        for parameter in self.hyper_parameters:
            if name == parameter.name or name in parameter.aliases:
                return parameter
        raise unknown(self.name, "hyper-parameter", name, [p.name for p in self.hyper_parameters])

    def hyper(self, dialect: str | None = None, **options: Any) -> Hyper:
        """Validate hyper-parameters and axis choices together; what is not given comes from the dialect.

        Raises RefoptError for an unknown name, a number outside its interval, a choice that does not exist, and for
        a hyper-parameter that the chosen axes do not read.
        """
        from refopt.spec.hyper import make_hyper  # hyper.py needs Rule: imported when first used

        return make_hyper(self, dialect, options)
