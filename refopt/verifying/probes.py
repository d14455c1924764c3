"""Inputs that make conventions visible, and mistakes.

What the usual ones are for: a rate that rises and falls (inside or outside the velocity), an eps that is not small (its
place), a decay on and off, zero gradients at first and midway, tensors of zeros (zero norms), a burst followed by calm
(amsgrad), large parameters, betas that change midway where the subject lets them (powers or products). Every number is
exact in bfloat16 or float32, so that no subject rounds it. Then those for what these do not show: numbers that are
rounded, numbers that are zero, steps beyond what a small counter holds, and gradients that are no numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from refopt.spec.declare import Rule

STEPS = 12
RATES = (0.0625, 0.125, 0.25, 0.125, 0.03125, 0.0625, 0.25, 0.5, 0.125, 0.0625, 0.015625, 0.125)
SHAPES = ((), (3,), (5,), (2, 3), (3, 2), (4, 4))
# What is shown to a subject that does not take all shapes: the least and the most dimensions.
KINDS = {"tensors of every shape": (0, 9), "tensors of one dimension or more": (1, 9), "matrices": (2, 2)}
ZERO_STEPS = (1, 6)  # all gradients are zero
QUIET = 2  # the index of the tensor whose parameters start at zero

# What the moving hyper-parameters become from step 8 on, where the subject can change them.
CHANGES = {"beta1": 0.625, "beta2": 0.875, "mu": 0.5, "lr_next": 1.0}
CHANGE_AT = 8

# Numbers that no binary format has: the usual ones and a hundredth more.
DECIMAL = "of decimal numbers"
# Averages that are long enough for steps 257 and 2049 to matter, where counters of 8 and 11 bits have stopped.
LATE, LATE_STEPS = "of many steps", (2072, 300)
SLOW, SLOWER = 1 - 2**-10, {"beta2": 1 - 2**-11}  # of every decay of an average, a number in [0, 1)
ZEROS = "of numbers that are zero"
# Of a trust coefficient or a time scale nothing would be left; and v += (1 - beta2) * (g * g - v), an average as good
# as any, loses g to cancellation where beta2 is 0.
NEVER_ZERO = {"lr", "tc", "inv_gamma", "beta1", "beta2", "beta3", "rho"}
LARGE = "of large matrices"
NO_NUMBERS = "of gradients that are no numbers"


@dataclass(frozen=True)
class Probe:
    """The input of one trace: arrays in float64 whose values are exact in float32, and numbers per step."""

    params: list[np.ndarray]
    grads: list[list[np.ndarray]]
    hyper: list[dict[str, float]]
    name: str = ""


def probes(rule: Rule, settable: Collection[str], per_step: Collection[str]) -> list[Probe]:
    """The usual probes of a rule for a subject with these numbers, of which `per_step` may change between steps."""
    made: list[Probe] = []
    values = {p.name: p.probes for p in rule.hyper_parameters if p.probes and p.name in settable}
    for number in range(max(len(p.probes) for p in rule.hyper_parameters)):
        params, grads = _arrays(number, first_is_zero=not rule.average)
        base = {name: options[number % len(options)] for name, options in values.items()}
        hyper = []
        for step in range(1, STEPS + 1):
            now = dict(base)
            if step >= CHANGE_AT:
                now |= {name: value for name, value in CHANGES.items() if name in base and name in per_step}
            if "lr" in settable:
                now["lr"] = RATES[step - 1] if "lr" in per_step else RATES[0]
            hyper.append(now)
        probe = Probe(params, grads, hyper, f"probe {number + 1}")
        if not any(probe.hyper == other.hyper for other in made):
            made.append(probe)
    return made


def further_probes(rule: Rule, settable: Collection[str], per_step: Collection[str], *, late: int) -> Iterator[Probe]:
    """What the usual ones do not show, with a run of `late` steps, if any. A subject may refuse any of them."""
    first, *others = probes(rule, settable, per_step)
    usual = others[0] if others else first  # its gradients are nowhere all zero, and it has a decay
    constant = replace(
        usual, hyper=[{**usual.hyper[0], **({"lr": now["lr"]} if "lr" in now else {})} for now in usual.hyper]
    )

    def decimal(name: str, value: float) -> float:
        return float(f"{value * 1.01:.3g}")

    def zero(name: str, value: float) -> float:
        return value if name in NEVER_ZERO else 0.0

    if size := max((slot.least for axis in rule.axes for choice in axis.table for slot in choice.slots), default=0):
        yield _large(usual, size)
    yield _with(rule, constant, DECIMAL, decimal)
    yield _with(rule, constant, ZEROS, zero, still=5)
    yield _broken(constant)
    if late:
        yield _late(rule, constant, late)


def _large(probe: Probe, size: int) -> Probe:
    """A few steps of matrices of this size, of which one has a shorter dimension between its rows and its columns."""
    random = np.random.default_rng([20150508, size])
    shapes = ((size, size), (size, 2, size))
    params, *grads = (
        [random.standard_normal(shape, np.float32).astype(np.float64) for shape in shapes] for _ in "0123"
    )
    return Probe(params, grads, probe.hyper[: len(grads)], f"the run {LARGE}")


def of_kind(probe: Probe, kind: str) -> Probe:
    """The probe, of which the tensors are left that are of this kind; if there is none, its vectors become matrices."""
    least, most = KINDS[kind]
    left = [i for i, w in enumerate(probe.params) if least <= w.ndim <= most]
    if left:
        return replace(probe, params=[probe.params[i] for i in left], grads=[[g[i] for i in left] for g in probe.grads])
    return replace(probe, params=[w[None] for w in probe.params], grads=[[g[None] for g in now] for now in probe.grads])


def _with(
    rule: Rule, probe: Probe, name: str, change: Callable[[str, float], float], still: int | None = None
) -> Probe:
    """The probe with other numbers, where these may be; at the step `still`, the rate is zero if it may change."""

    def changed(name: str, value: float) -> float:
        other = change(name, value)
        return other if rule.hyper_parameter(name).holds(other) else value

    hyper = [{n: changed(n, value) for n, value in now.items()} for now in probe.hyper]
    if still is not None and any(now.get("lr") != hyper[0].get("lr") for now in hyper):
        hyper[still - 1] = {**hyper[still - 1], "lr": 0.0}
    return replace(probe, hyper=hyper, name=f"the run {name}")


def _broken(probe: Probe) -> Probe:
    """A NaN among the gradients of three tensors; the others go on. (Infinities: averages are written in two ways,
    which differ there alone.)
    """
    grads = [[g.copy() for g in now] for now in probe.grads]
    grads[2][1][1], grads[4][3][1, 2], grads[5][4][0, 0] = np.nan, np.nan, np.nan
    return replace(probe, grads=grads, name=f"the run {NO_NUMBERS}")


def _late(rule: Rule, probe: Probe, steps: int) -> Probe:
    """A long run of one small tensor."""
    random = np.random.default_rng([20150508, LATE_STEPS[0]])
    params = np.zeros(3) if not rule.average else np.ones(3)
    grads = (random.standard_normal((steps, 3)) + 0.5).astype(np.float32).astype(np.float64)
    decays = {p.name for p in rule.hyper_parameters if p.interval == "[0, 1)"} | ({"mu"} if rule.average else set())
    numbers = {n: SLOWER.get(n, SLOW) if n in decays else value for n, value in probe.hyper[0].items()}
    numbers |= {"wd": 0.0} if "wd" in numbers else {}
    numbers |= {"lr": 2.0**-10} if "lr" in numbers else {}
    return Probe([params], [[g] for g in grads], [numbers] * steps, f"the run {LATE}")


def _arrays(number: int, *, first_is_zero: bool) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    random = np.random.default_rng([20150508, number])

    def draw(shape: tuple[int, ...], size: float) -> np.ndarray:
        return np.asarray(size * random.standard_normal(shape)).astype(np.float32).astype(np.float64)

    params = [draw(shape, 1.0) for shape in SHAPES]
    params[QUIET] = np.zeros(SHAPES[QUIET])
    params[-1] *= 16.0
    grads = []
    for step in range(1, STEPS + 1):
        burst = 8.0 if step == 3 else 1.0
        sizes = (0.5, 0.0625, 0.25, 1.0, 0.03125, 0.5)
        now = [draw(shape, burst * size) for shape, size in zip(SHAPES, sizes, strict=True)]
        if step in ZERO_STEPS and number == 0 and first_is_zero:
            now = [np.zeros_like(g) for g in now]
        if step == 4:
            now[1] = np.zeros_like(now[1])
        grads.append(now)
    return params, grads
