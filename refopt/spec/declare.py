"""The vocabulary in which a rule is declared: one function as its paper writes it, and a table beside it.

A rule's function is the canonical algorithm. Every axis on which published implementations disagree is a table of
choices; the first choice is the canonical line, each other choice is an edit of named lines (`refopt.spec.edits`).
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Complex, Real
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Literal

from refopt.spec import sets
from refopt.spec.edits import Edit
from refopt.spec.errors import RefoptError, shown, unknown
from refopt.spec.faults import Fault

if TYPE_CHECKING:
    from refopt.spec.hyper import Hyper


INSIDE = 2.0**-17  # from an open end: a beta of 1 - 2**-17 takes a hundred thousand steps to forget its start


SETS = {"dimensions": "set", "rows": "row", "columns": "column", "vectors": "element of a vector"}


@dataclass(frozen=True)
class Slot:
    """One state array per parameter (clock "element"), one number per parameter ("tensor"), or one for all ("step").

    Of clock "set" it has a number for each of the sets that `of` names (`refopt.spec.sets`): for each index along each
    dimension, for each row, for each column; or for each element of a tensor that has no columns. Rows and columns are
    those of the last two dimensions or, from a `least` size on, of the two largest. `init` is "zeros", "params" (a copy
    of the parameter) or a number. A number per parameter is kept as a 0-d array of the dtype that the parameter's other
    slots have.
    """

    name: str
    symbol: str
    meaning: str
    init: Literal["zeros", "params"] | float = "zeros"
    clock: Literal["element", "set", "tensor", "step"] = "element"
    of: Literal["dimensions", "rows", "columns", "vectors"] = field(default="dimensions", repr=False)
    least: int = field(default=0, repr=False)

    def shape(self, param: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the array that it has for a parameter of this shape."""
        return {"element": param, "set": sets.SHAPES[self.of](param, self.least)}.get(self.clock, ())

    @property
    def per(self) -> str:
        """What it has a number for, in a word."""
        return SETS[self.of] if self.clock == "set" else self.clock


@dataclass(frozen=True)
class HyperParameter:
    """A number with a symbol, a default, an interval such as "[0, 1)" and a meaning.

    An alias that begins with a minus is that of a number with the other sign. `probes` are values at which conventions
    become visible, one per probe of the verifier: exact in float32, and far from the values at which a choice changes
    nothing.
    """

    name: str
    symbol: str
    default: float
    interval: str
    meaning: str
    aliases: tuple[str, ...] = ()
    probes: tuple[float, ...] = ()

    @property
    def _bounds(self) -> tuple[float, float]:
        low, high = (float(end) for end in self.interval[1:-1].split(","))
        return low, high

    @property
    def ends(self) -> tuple[float, ...]:
        """The finite ends of the interval; a little inside where an end is not in it."""
        low, high = self._bounds
        least = low if self.interval[0] == "[" else low + INSIDE
        most = high if self.interval[-1] == "]" else high - INSIDE
        return (least, most) if math.isfinite(most) else (least,)

    def holds(self, number: float) -> bool:
        """Whether a finite number is in the interval."""
        low, high = self._bounds
        above = number >= low if self.interval[0] == "[" else number > low
        below = number <= high if self.interval[-1] == "]" else number < high
        return math.isfinite(number) and above and below

    def check(self, rule: str, value: Any) -> float:
        """Return `value` as a float; raise RefoptError if it is no finite number in the interval."""
        what = f"{rule}: {self.name} must be in {self.interval}"
        try:
            if isinstance(value, str | bytes | bool) or (isinstance(value, Complex) and not isinstance(value, Real)):
                raise TypeError  # float() would read the text, and drop the imaginary part of a NumPy number
            number = float(value)
        except (TypeError, ValueError):
            raise RefoptError(f"{what}; got {shown(value)}, which is not a number") from None
        except OverflowError:
            number = math.inf
        if not self.holds(number):
            raise RefoptError(f"{what}; got {value!r}")
        return number


@dataclass(frozen=True)
class Choice:
    """One published convention: its edits of the canonical source, what it means, and where it is found.

    `cancels` if it subtracts what may be as large, or makes what others subtract as small, so that nothing need be left
    but rounding: with numbers at the ends of their intervals its results cannot be compared, nor in long runs.
    """

    name: str
    meaning: str
    source: str = ""
    edits: tuple[Edit, ...] = ()
    slots: tuple[Slot, ...] = ()
    only_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cancels: bool = False


@dataclass(frozen=True)
class Axis:
    """A named point on which published implementations disagree; the first choice is canonical.

    An axis of `storage` says what numbers are kept in, or what numbers they are, not what is computed: no choice of it
    edits the source.
    """

    name: str
    meaning: str
    table: tuple[Choice, ...]
    storage: bool = False

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
    `view_of` names the rule that it is, if it is one by another name, with dialects of its own (`view`).
    """

    name: str
    title: str
    function: Callable[..., Any]
    hyper_parameters: tuple[HyperParameter, ...]
    slots: tuple[Slot, ...]
    axes: tuple[Axis, ...]
    dialects: tuple[Dialect, ...]
    references: tuple[Reference, ...]
    faults: tuple[Fault, ...] = ()
    evaluate: Callable[..., Any] | None = None
    view_of: str = ""

    @property
    def algorithm(self) -> str:
        """The name under which ports have it."""
        return self.view_of or self.name

    def __deepcopy__(self, _memo: Any) -> Rule:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name, as functions are."""
        module = self.function.__module__
        for name, value in vars(sys.modules[module]).items():
            if value is self:
                return resolve_name, (f"{module}:{name}",)
        raise TypeError(f"{self.name}: only a rule that {module} has a name for can be pickled; name it there")

    @property
    def average(self) -> bool:
        """Whether it averages parameters that others change, and takes no gradient."""
        return "g" not in inspect.signature(self.function).parameters

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


def view(rule: Rule, name: str, title: str, dialects: tuple[Dialect, ...], references: tuple[Reference, ...]) -> Rule:
    """A rule under the name that people know some of its conventions by: AdamW is an Adam.

    The source, the axes, the faults and the ports are those of the rule, so that nothing is tested twice.
    """
    return replace(rule, name=name, title=title, dialects=dialects, references=references, view_of=rule.name)
