"""Inputs that make conventions visible. Every number is exact in float32, so that no subject rounds it.

What each is for: a rate that rises and falls (inside or outside the velocity), an eps that is not small (its place), a
decay on and off, zero gradients at first and midway, tensors of zeros (zero norms), a burst followed by calm (amsgrad),
large parameters, betas that change midway where the subject lets them (powers or products).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from refopt.spec.declare import Rule

STEPS = 12
RATES = (0.0625, 0.125, 0.25, 0.125, 0.03125, 0.0625, 0.25, 0.5, 0.125, 0.0625, 0.015625, 0.125)
SHAPES = ((), (3,), (5,), (2, 3), (3, 2), (4, 4))
ZERO_STEPS = (1, 6)  # all gradients are zero
QUIET = 2  # the index of the tensor whose parameters start at zero

# What the moving hyper-parameters become from step 8 on, where the subject can change them.
CHANGES = {"beta1": 0.625, "beta2": 0.875, "mu": 0.5}
CHANGE_AT = 8


@dataclass(frozen=True)
class Probe:
    """The input of one trace: arrays in float64 whose values are exact in float32, and numbers per step."""

    params: list[np.ndarray]
    grads: list[list[np.ndarray]]
    hyper: list[dict[str, float]]


def probes(rule: Rule, settable: Collection[str], per_step: Collection[str]) -> list[Probe]:
    """The probes of a rule for a subject with these hyper-parameters, of which `per_step` may change between steps."""
    made: list[Probe] = []
    values = {p.name: p.probes for p in rule.hyper_parameters if p.probes and p.name in settable}
    for number in range(max(len(p.probes) for p in rule.hyper_parameters)):
        params, grads = _arrays(number, first_is_zero="g" in rule.hyper().program.arrays)
        base = {name: options[number % len(options)] for name, options in values.items()}
        hyper = []
        for step in range(1, STEPS + 1):
            now = dict(base)
            if step >= CHANGE_AT:
                now |= {name: value for name, value in CHANGES.items() if name in base and name in per_step}
            if "lr" in settable:
                now["lr"] = RATES[step - 1] if "lr" in per_step else RATES[0]
            hyper.append(now)
        probe = Probe(params, grads, hyper)
        if not any(probe.hyper == other.hyper for other in made):
            made.append(probe)
    return made


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
