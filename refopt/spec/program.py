"""A rule's source, specialised to axis choices: straight-line code that reads as if written by hand.

Specialising is four steps on the syntax tree of the rule's own function: apply the edits of the choices, put constants
and copies in their place (`c2 = 1` makes `v / c2` just `v`), drop the slots that nothing depends on, drop dead lines.
Every step keeps each floating-point operation that is left, in its order, so that the numbers do not change.
"""

from __future__ import annotations

import ast
import linecache
import zlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from refopt.spec.declare import Rule, Slot
from refopt.spec.edits import Edit
from refopt.spec.faults import Fault
from refopt.spec.functions import FUNCTIONS, TOTALS, tree_sum
from refopt.spec.lines import Line, expression, fill, inputs, names_read, parse, propagate, prune, source_of, substitute
from refopt.spec.mistakes import MISTAKES


@dataclass(frozen=True)
class Program:
    """Straight-line code: `lines` read `arrays` (of which slots of clock "set" have a shape of their own), `tensors`
    (slots that are one number for each parameter), `numbers` (slots that are one for all) and `hypers`, and t.

    `outputs` are the names it returns: the parameter first, if the rule changes it, then the slots in order.
    """

    name: str
    arrays: tuple[str, ...]
    tensors: tuple[Slot, ...]
    numbers: tuple[Slot, ...]
    hypers: tuple[str, ...]
    slots: tuple[Slot, ...]
    lines: tuple[Line, ...]
    outputs: tuple[str, ...]
    evaluate: Program | None = None

    @property
    def reads_gradient(self) -> bool:
        return "g" in self.arrays

    @property
    def sets(self) -> tuple[str, ...]:
        """The slots that have a number for each index along each dimension."""
        return tuple(slot.name for slot in self.slots if slot.clock == "set")

    @property
    def writes_parameter(self) -> bool:
        return "w" in self.outputs

    @property
    def averaging(self) -> Program | None:
        """What computes the result of a rule that only averages parameters that others change."""
        return None if self.writes_parameter else self.evaluate

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells one algorithm from another: the source, and what the slots start from."""
        starts = tuple((slot.name, slot.init) for slot in self.slots)
        return self.code, self.evaluate.code if self.evaluate else (), starts

    @property
    def code(self) -> tuple[str, ...]:
        """The lines without a word on where they come from."""
        return tuple(line.text for line in self.lines)

    @cached_property
    def text(self) -> str:
        """The specialised function as Python source."""
        inputs = [*self.arrays, *(slot.name for slot in (*self.tensors, *self.numbers))]
        signature = ", ".join([*inputs, "*", "t", *self.hypers])
        width = max((len(line.text) for line in self.lines), default=0)
        body = [
            f"    {line.text:<{width}}  # {line.origin}" if line.origin else f"    {line.text}" for line in self.lines
        ]
        return "\n".join([f"def {self.name}({signature}):", *body, f"    return {', '.join(self.outputs)}", ""])

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The specialised function, ready to be called in NumPy; debuggers can step through its source."""
        return _defined(self.name, self.text)

    @cached_property
    def totals(self) -> frozenset[str]:
        """The lines that add over the whole model, by their text: `a = total(x)`, and nothing else in the line."""
        found = [line for line in self.lines if is_total(line.value)]
        for line in self.lines:
            parts = [node for node in ast.walk(line.value) if node is not line.value or line not in found]
            if any(is_total(node) for node in parts):
                raise SyntaxError(f"{line.text}: a total stands alone in its line; write `x = total(...)` before it")
        return frozenset(line.text for line in found)

    @cached_property
    def coroutine(self) -> Callable[..., Generator[float, float, Any]]:
        """The specialised function for one of many parameters: it yields what it adds to a total, and is sent that."""
        text = self.text
        for line in self.totals:
            text = text.replace(f"    {line}", "    " + line.replace("= total(", "= yield tree_sum(", 1))
        return _defined(self.name, text, tree_sum=tree_sum)


def is_total(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and source_of(node.func) in TOTALS


def _defined(name: str, text: str, **more: Any) -> Callable[..., Any]:
    """The function of that name in a source."""
    filename = f"<refopt {name} {zlib.crc32(text.encode()):08x}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = FUNCTIONS | MISTAKES | more
    exec(compile(text, filename, "exec"), namespace)
    return namespace[name]


def program(rule: Rule, axes: Mapping[str, str], fault: Fault | None = None) -> Program:
    """The rule's source specialised to these choices (complete and free of conflicts; see `hyper.py`).

    With a fault planted in it, it also has the numbers that the fault hides, as its last slots; it lacks the slots that
    the fault neither reads nor writes.
    """
    names = tuple(axes[axis.name] for axis in rule.axes)
    if fault is None:
        return _program(rule, names)
    return _planted(rule, names, tuple(fault.axes.get(axis.name, axes[axis.name]) for axis in rule.axes), fault)


@cache
def _program(rule: Rule, names: tuple[str, ...]) -> Program:
    slots = _slots(rule, names)
    evaluate = propagate(_chosen(rule, names, rule.evaluate), keep={"a"}) if rule.evaluate else []
    update = propagate(_chosen(rule, names, rule.function), keep={"w", *slots})
    writes_parameter = any(line.target == "w" for line in update)
    wanted = names_read(line.value for line in evaluate) | ({"w"} if writes_parameter else set())
    update, alive = prune(update, wanted, set(slots))
    return _both(rule, update, evaluate, tuple(slot for slot in slots.values() if slot.name in alive))


def _planted(rule: Rule, asked: tuple[str, ...], names: tuple[str, ...], fault: Fault) -> Program:
    hidden = tuple(Slot(name, name, "remembered", start, "step") for name, start in fault.hidden.items())
    slots = (*_program(rule, asked).slots, *hidden)
    kept = {slot.name for slot in slots}
    evaluate = propagate(_mistaken(rule, names, rule.evaluate, fault), {"a"}) if rule.evaluate else []
    begin = [Line(target, value, inserted=True) for text in fault.begin for target, value in parse(text)]
    update = propagate([*begin, *_mistaken(rule, names, rule.function, fault)], {"w", *kept})
    update, _ = prune(update, {"w", *kept}, kept)
    used = inputs(update) | {line.target for line in update}
    begun = [replace(slot, init=fault.starts.get(slot.name, slot.init)) for slot in slots if slot.name in used]
    return _both(rule, update, evaluate, tuple(begun))


def _slots(rule: Rule, names: tuple[str, ...]) -> dict[str, Slot]:
    """The slots that these choices have."""
    slots = {slot.name: slot for slot in rule.slots}
    for axis, name in zip(rule.axes, names, strict=True):
        slots |= {slot.name: slot for slot in axis.choice(name).slots}
    return slots


@cache
def _chosen(rule: Rule, names: tuple[str, ...], function: Callable[..., Any]) -> tuple[Line, ...]:
    """The lines of one of the rule's functions after the edits of all choices, which name what they wrote."""
    lines = [Line(target, value) for target, value in parse(function)]
    for axis, name in zip(rule.axes, names, strict=True):
        for edit in axis.choice(name).edits:
            lines = _apply(edit, lines, f"{axis.name}={name}")
    return tuple(lines)


def _mistaken(rule: Rule, names: tuple[str, ...], function: Callable[..., Any], fault: Fault) -> list[Line]:
    """The same with a fault planted."""
    lines = list(_chosen(rule, names, function))
    for edit in fault.edits:
        lines = _apply(edit, lines, f"fault={fault.name}")
    readings = {name: expression(text) for name, text in fault.reads.items()}
    return [replace(one, value=substitute(one.value, readings)) for one in lines]


def _both(rule: Rule, update: Sequence[Line], evaluate: Sequence[Line], slots: tuple[Slot, ...]) -> Program:
    """The program of the update, with that of the average if the rule has one."""
    writes = [line.target for line in update if line.target == "w"][:1]
    outputs = (*writes, *(slot.name for slot in slots))
    average = None
    if rule.evaluate:
        read = tuple(slot for slot in slots if slot.name in inputs(evaluate))
        average = _assemble(rule, rule.evaluate.__name__, evaluate, read, ("a",))
    return _assemble(rule, rule.name, update, slots, outputs, average)


def _assemble(
    rule: Rule,
    name: str,
    lines: Sequence[Line],
    slots: tuple[Slot, ...],
    outputs: tuple[str, ...],
    average: Program | None = None,
) -> Program:
    read = inputs(lines)
    arrays: list[str] = [name for name in ("w", "g") if name in read or name in outputs]
    arrays += [slot.name for slot in slots if slot.clock in ("element", "set")]
    tensors, numbers = (tuple(slot for slot in slots if slot.clock == clock) for clock in ("tensor", "step"))
    hypers = tuple(p.name for p in rule.hyper_parameters if p.name in read)
    return Program(name, tuple(arrays), tensors, numbers, hypers, slots, tuple(lines), outputs, average)


def _apply(edit: Edit, lines: list[Line], origin: str) -> list[Line]:
    """One edit. An edit whose line stands in the rule's other function (update, evaluate) changes nothing."""
    written = [Line(target, value, origin, inserted=True) for text in edit.text for target, value in parse(text)]
    target = edit.target or written[0].target
    named = sorted((line.inserted, i) for i, line in enumerate(lines) if line.target == target)
    if not named:
        return lines
    at = named[0][1]
    old = lines[at]
    if edit.kind == "before":
        new = [*written, old]
    elif edit.kind == "after":
        new = [old, *written]
    elif edit.kind == "drop":
        new = []
    elif edit.kind == "line":
        new = [Line(target, fill(written[0].value, old.value), origin, old.inserted)]
    else:
        readings = {name: expression(text) for name, text in edit.names}
        if readings.keys().isdisjoint(names_read([old.value])):
            return lines  # it reads none of them under these axes
        both = f"{old.origin}, {origin}" if old.origin else origin
        new = [Line(old.target, substitute(old.value, readings), both, old.inserted)]
    return [*lines[:at], *new, *lines[at + 1 :]]
