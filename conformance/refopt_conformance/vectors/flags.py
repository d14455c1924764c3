"""What a vector shows: what happens to its tensors, where its dtype is short, and which faults it catches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refopt.spec.declare import Rule
from refopt.spec.faults import Fault
from refopt_conformance.distance import distance
from refopt_conformance.faults.planting import Planted
from refopt_conformance.reference import State, average, initial
from refopt_conformance.vectors.cases import LONG_INPUTS, Course

ISSUES = "https://github.com/"

# Of tensors and dtypes: what it is, and public reports by people who met it.
NOTES: dict[str, tuple[str, tuple[str, ...]]] = {
    "zero_grads": ("the gradient is zero, of either sign: the sign of a zero is kept, and 0/0 must not arise",
                   ("google-deepmind/optax/issues/1754",)),
    "zero_params": ("the parameters start at zero: of a norm of zero, too", ()),
    "zero_both": ("parameters and gradients are zero", ()),
    "near_eps": ("gradients as small as epsilon: its placement decides the step",
                 ("FluxML/Flux.jl/pull/448", "keras-team/keras/issues/17391", "sail-sg/Adan/issues/8")),
    "huge": ("gradients whose squares are near overflow, or overflow in narrow dtypes", ()),
    "underflow": ("gradients near the smallest normal number, whose squares vanish; who takes subnormal numbers for "
                  "zero may differ here, and may skip these tensors", ()),
    "late": ("the gradient is zero for the first steps: bias corrections go on meanwhile", ()),
    "now_and_then": ("the gradient is zero at every second step", ()),
    "alternating": ("the gradient changes its sign at every step, and nearly cancels in an average", ()),
    "burst": ("one large gradient after small ones: the second moment remembers it", ()),
    "heavy": ("large parameters under small steps, which their rounding hides in narrow dtypes", ()),
    "faint": ("tiny parameters, whose norm is not zero", ()),
    "faint_grads": ("tiny gradients, whose norm is not zero, and whose squares are nothing beside epsilon", ()),
    "vast": ("parameters whose squares are too large for float32: their norm is not infinite", ()),
    "nan_lane": ("one lane becomes NaN at step 3; the others must not", ()),
    "inf_lane": ("one lane becomes infinite at step 3; the others must not", ()),
    "scalar": ("a tensor without dimensions", ()),
    "empty": ("a tensor without elements", ()),
    "half": ("parameters and gradients in 16 bits, state in float32, and one rounding at the end of a step: state in "
             "16 bits stands still, and an epsilon of 1e-8 is zero in float16",
             ("FluxML/Optimisers.jl/issues/215", "google-deepmind/optax/issues/1754")),
    "long": ("2049 steps: a counter in bfloat16 stops at 256, one in float16 at 2048", ("pytorch/ao/issues/4915",)),
}  # fmt: skip


def notes(rule: Rule, names: set[str]) -> dict[str, Any]:
    """The explanation of each flag that is used."""
    found = {name: {"shows": text, "links": [ISSUES + link for link in links]} for name, (text, links) in NOTES.items()}
    for fault in rule.faults:
        found[f"catches {fault.name}"] = {"shows": fault.effect, "links": list(fault.issues)}
    return {name: note for name, note in found.items() if name in names}


def flags(course: Course, tolerance: dict[str, float]) -> list[str]:
    """The flags of a case; faults are planted in float64, where nothing hides them."""
    found = [leaf for leaf in course.case.leaves if leaf in NOTES]
    found += ["half"] if course.case.dtype in ("float16", "bfloat16") else []
    found += ["long"] if course.inputs == LONG_INPUTS else []
    if course.case.dtype == "float64" and not _long_of_a_dialect(course):
        rule = course.case.conventions.rule
        found += [f"catches {fault.name}" for fault in rule.faults if catches(course, fault, tolerance)]
    return found


def _long_of_a_dialect(course: Course) -> bool:
    """Long runs show of every dialect what they show of the first."""
    hyper = course.case.conventions
    return course.inputs == LONG_INPUTS and course.case.name != f"{hyper.rule.name}/{hyper.rule.dialects[0].name}"


def catches(course: Course, fault: Fault, tolerance: dict[str, float]) -> bool:
    """Whether a program with this fault would be told apart by this vector."""
    backend = Planted(course.case.conventions.rule, fault)
    if backend.broken(course.case.conventions) is None:
        return False
    state = initial(course.case)
    params, slots = [np.array(w) for w in state.params], backend.init(course.case.hyper(1), state.params)
    sizes = dict[str, np.ndarray]()
    with np.errstate(all="ignore"):
        for step in course.follow():
            watches = step.grads is None
            params, slots = backend.update(
                step.hyper, step.t, step.before.params if watches else params, step.grads, slots, in_place=False
            )
            if step.t in course.checkpoints and any(
                off > tolerance[kind] for kind, off in _distances(step.after, State(params, slots), sizes)
            ):
                return True
            if watches and step.t in course.checkpoints:
                found = backend.average(step.hyper, step.t, params, slots)
                right = average(step.hyper, step.t, step.after)
                if any((distance(f, r) > tolerance["average"]).any() for f, r in zip(found, right, strict=True)):
                    return True
    return False


def _distances(right: State, found: State, sizes: dict[str, np.ndarray]) -> Iterator[tuple[str, float]]:
    yield "parameter", _far(right.params, found.params, "w", sizes)
    for name, slot in right.slots.items():
        if isinstance(slot, list):
            yield "slot", _far(slot, found.slots[name], name, sizes)


def _far(right: list[np.ndarray], found: list[np.ndarray], name: str, sizes: dict[str, np.ndarray]) -> float:
    expected, got = (np.concatenate([np.ravel(x) for x in arrays]).astype(np.float64) for arrays in (right, found))
    sizes[name] = np.fmax(sizes.get(name, 0.0), np.abs(expected))
    return float(distance(got, expected, sizes[name]).max(initial=0.0))
