"""The pure layer: `init`, `update` and `average` over any tree. Nothing that is passed in is modified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refopt.engines.dtypes import PARAMETER_DTYPES, slot_dtype
from refopt.rules import get_rule
from refopt.running.complex_leaves import as_given, as_seen, dtype_name, is_complex, seen_as, step
from refopt.running.leaves import Leaves, adopt, flatten, flatten_like
from refopt.selection import select
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError
from refopt.spec.hyper import Hyper


@dataclass(frozen=True)
class State:
    """How far an optimizer is: the number of steps taken, and its slots.

    `slots` maps a slot's name to one array per leaf of the parameters, in their order, or to one float.
    """

    step: int
    slots: Mapping[str, Any]


def init(
    rule: str | Rule, params: Any, hyper: Hyper | None = None, *, backend: str | None = None, **options: Any
) -> State:
    """The state before the first step.

    Args:
        rule: a rule or its name.
        params: any tree of arrays.
        hyper: `rule.hyper(...)`; or give what it takes (dialect, axis choices, numbers) by keyword.
        backend: which backend to run on; see `refopt.use` for what decides if None.

    Raises:
        RefoptError: an unknown name, or parameters that cannot be optimised; the message says what to do.
    """
    hyper = resolve(rule, hyper, options)
    leaves = flatten(params)
    chosen = select(backend, leaves.arrays).backend
    return State(0, chosen.init(hyper, adopt(chosen, hyper, leaves)))


def update(
    rule: str | Rule,
    params: Any,
    grads: Any,
    state: State,
    hyper: Hyper | None = None,
    *,
    backend: str | None = None,
    **options: Any,
) -> tuple[Any, State]:
    """One step: the new parameters (same tree) and the new state.

    `grads` has the tree, shapes and dtypes of `params`; it is None for rules that read no gradient (ema). Keywords
    change single numbers of `hyper` for this step, such as `lr=0.1`.
    """
    hyper = resolve(rule, hyper, options)
    leaves = flatten(params)
    check_state(hyper, state, leaves)
    given = None
    if hyper.program.reads_gradient:
        given = flatten_like(grads, leaves)
    elif grads is not None:
        raise RefoptError(f"{hyper.rule.name} reads no gradient; pass None for grads")
    chosen = select(backend, leaves.arrays).backend
    arrays = adopt(chosen, hyper, leaves)
    given = None if given is None else as_seen(chosen, map(chosen.beside, given, arrays))
    places = [*map(is_complex, leaves.arrays)]
    new, slots = step(chosen, hyper, state.step + 1, arrays, given, dict(state.slots), places, in_place=False)
    return leaves.tree(as_given(chosen, new, leaves.arrays)), State(state.step + 1, slots)


def average(
    rule: str | Rule,
    params: Any,
    state: State,
    hyper: Hyper | None = None,
    *,
    backend: str | None = None,
    **options: Any,
) -> Any:
    """What to evaluate with (rules with an average): a tree as `params`."""
    hyper = resolve(rule, hyper, options)
    leaves = flatten(params)
    check_state(hyper, state, leaves)
    chosen = select(backend, leaves.arrays).backend
    arrays = adopt(chosen, hyper, leaves)
    averages = chosen.average(hyper, state.step, arrays, dict(state.slots))
    return leaves.tree(as_given(chosen, averages, leaves.arrays))


def resolve(rule: str | Rule, hyper: Hyper | None, options: Mapping[str, Any]) -> Hyper:
    """The hyper-parameters of a call."""
    rule = get_rule(rule)
    if hyper is None:
        return rule.hyper(**options)
    if hyper.rule is not rule:
        raise RefoptError(
            f"hyper belongs to {hyper.rule.name}, not to {rule.name}; make it with {rule.name}'s rule.hyper()"
        )
    return hyper.replace(**options) if options else hyper


def check_state(hyper: Hyper, state: State, leaves: Leaves) -> None:
    """The state must hold the slots that these axes need, for parameters of these shapes and dtypes."""
    rule = hyper.rule.name
    if not isinstance(state, State):
        raise RefoptError(f"{rule}: the state is a {type(state).__name__}; give what refopt.init or refopt.update made")
    kept = {name: slot_dtype(hyper.axes, dtype).name for name, dtype in PARAMETER_DTYPES.items()}
    needed = [slot.name for slot in hyper.program.slots]
    if sorted(needed) != sorted(state.slots):
        raise RefoptError(
            f"{rule}: with {hyper!r} the state has the slots {needed}; got {sorted(state.slots)}; "
            f"make it with refopt.init and the same axes"
        )
    for slot in hyper.program.slots:
        if slot.clock == "step":
            continue
        arrays = state.slots[slot.name]
        if len(arrays) != len(leaves.arrays):
            raise RefoptError(
                f"{rule}: slot {slot.name!r} holds {len(arrays)} arrays for {len(leaves.arrays)} parameters; "
                f"make the state with refopt.init for these parameters"
            )
        for name, w, array in zip(leaves.names, leaves.arrays, arrays, strict=True):
            shape, dtype = seen_as(w)
            shape, dtype = slot.shape(shape), kept.get(dtype, dtype)
            if tuple(array.shape) != shape or dtype_name(array) != dtype:
                raise RefoptError(
                    f"{rule}: slot {slot.name!r} of {name} must be {dtype} of shape {shape}; "
                    f"got {dtype_name(array)} of shape {tuple(array.shape)}; "
                    f"make the state with refopt.init for these parameters"
                )
