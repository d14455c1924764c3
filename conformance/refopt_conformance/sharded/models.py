"""The models: a few leaves of every way to be cut, with the suite's own cases and numbers on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np

from refopt.clocks import looks_along, of_elements
from refopt.engines.numpy_engine import BACKEND as REFERENCE
from refopt.rules import RULES
from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper
from refopt_conformance.cases import DTYPES, HALF_DTYPES, PRECISIONS, Case, canonical, conventions, in_precision
from refopt_conformance.inputs import gradients, parameters
from refopt_conformance.reference import State, Step, take
from refopt_conformance.sharded.results import Result

STEPS = 7  # at the sixth all gradients are zero, and with them their norms
SOURCE = "33x17"  # whose values the leaves take as many of as they need


class Leaf(NamedTuple):
    """A tensor, and the axis of the mesh over which each of its dimensions is cut; None: it is not."""

    name: str
    shape: tuple[int, ...]
    cut: tuple[str | tuple[str, ...] | None, ...]


def takes_norms(hyper: Hyper) -> bool:
    """Whether values of whole tensors are in it, which have to be reduced over the shards."""
    return not of_elements(hyper.program)


@cache
def _firsts() -> frozenset[str]:
    return frozenset(f"{rule.name}/{rule.dialects[0].name}" for rule in RULES.values())


def first(case: Case) -> bool:
    """Whether it is of the first dialect of its rule."""
    return case.name in _firsts()


def cases(profile: str) -> Iterator[Case]:
    """In the fast profile the dialects' own choices, and of rules with norms every single choice; in full all choices.

    In brief one dialect of each rule in float32; of rules with norms in float64 too.

    The numbers are the first probes: they stay, but for lr, and show every term.
    """
    for name, hyper in _cut_ones():
        for precision in {"brief": _brief, "fast": _fast, "full": _full}[profile](name, hyper):
            if found := in_precision(hyper, precision):
                yield Case(name, *found, (SOURCE,), "probe")


def along_dimensions() -> Iterator[Case]:
    """The first dialect of each rule that looks along the dimensions of a parameter, of which a shard has a part."""
    for rule in RULES.values():
        hyper = rule.hyper(rule.dialects[0].name)
        if looks_along(hyper.program):
            yield Case(f"{rule.name}/{rule.dialects[0].name}", hyper, "float32", (SOURCE,), "probe")


def refusal(name: str, step: Callable[[], object]) -> Result:
    """Skipped for the reason that the backend gives; failed if it takes what it cannot update."""
    try:
        step()
    except Unsupported as reason:
        return Result(name, "skipped", str(reason))
    return Result(name, "failed", "it takes shards, along whose dimensions it cannot look")


def _cut_ones() -> Iterator[tuple[str, Hyper]]:
    return ((name, hyper) for name, hyper in conventions().items() if not looks_along(hyper.program))


def _brief(name: str, hyper: Hyper) -> tuple[str, ...]:
    return () if name not in _firsts() else DTYPES if takes_norms(hyper) else ("float32",)


def _fast(name: str, hyper: Hyper) -> tuple[str, ...]:
    """The dtypes in which a set of choices is run."""
    first, norms = f"{hyper.rule.name}/{hyper.rule.dialects[0].name}/", takes_norms(hyper)
    if name in canonical():  # of norms, bfloat16 shows no more than eight bits
        return DTYPES if norms else (*DTYPES, "bfloat16")
    return ("float32",) if norms and name.startswith(first) and "," not in name else ()


def _full(name: str, hyper: Hyper) -> tuple[str, ...]:
    """As above. With norms only the dialects have a budget for chains of half precision: see `checks`."""
    if name not in canonical():
        return DTYPES if takes_norms(hyper) else (*DTYPES, *HALF_DTYPES)
    return (*DTYPES, *HALF_DTYPES) if takes_norms(hyper) else PRECISIONS


@cache
def dealt() -> dict[str, str]:
    """For each set of choices one dtype of the full profile, dealt round: for where each case is dear."""
    dtypes: dict[str, list[str]] = {}
    for case in cases("full"):
        dtypes.setdefault(case.name, []).append(case.precision)
    return {name: mine[number % len(mine)] for number, (name, mine) in enumerate(dtypes.items())}


def exchanging(profile: str) -> Iterator[Case]:
    """Of which it is counted what they exchange: the first dialect of every rule, or all choices."""
    for name, hyper in _cut_ones():
        if profile == "full" or name in _firsts():
            yield Case(name, hyper, "float32", (SOURCE,), "probe")


def chain(case: Case, leaves: Sequence[Leaf]) -> Iterator[Step]:
    """Steps of a model of these leaves, the reference carrying its own float64 state."""
    params = [_cut(parameters(f"{case.name}/{leaf.name}", (SOURCE,), case.dtype)[0], leaf) for leaf in leaves]
    state = State(params, REFERENCE.init(case.hyper(1), params))
    for t in range(1, STEPS + 1):
        arriving = [_cut(gradients(f"{case.name}/{leaf.name}", (SOURCE,), t, case.dtype)[0], leaf) for leaf in leaves]
        step = take(case, t, state, arriving)
        yield step
        state = step.after


def _cut(values: np.ndarray, leaf: Leaf) -> np.ndarray:
    return values.reshape(-1)[: prod(leaf.shape)].reshape(leaf.shape).copy()
