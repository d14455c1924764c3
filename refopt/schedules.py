"""Learning rates as plain functions of the step: `lr = schedule(t)`. They know nothing of optimizers.

lr = polynomial(0.1, steps=1000)
opt(lr(t), grads)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from refopt.spec.errors import RefoptError

Schedule = Callable[[float], float]


def polynomial(base_lr: float, steps: float, power: float = 2.0) -> Schedule:
    """`lr0 * (1 - t/T)**power`, zero from T on. LARS uses power 2 (You et al. 2017, Algorithm 1)."""
    _positive("polynomial", "steps", steps)
    if not power >= 0:
        raise RefoptError(f"polynomial: power must be at least 0; got {power}")

    def schedule(t: float) -> float:
        return base_lr * (1 - min(t, steps) / steps) ** power

    return schedule


def linear_annealing(base_lr: float = 1.0, *, max_step: float, is_cycle: bool = True, min_lr: float = 0.0) -> Schedule:
    """A straight line from `base_lr` at 0 to `min_lr` at `max_step`; then again (`is_cycle`), or `min_lr` for ever.

    objax.optimizer.scheduler.LinearAnnealing. In a cycle the line never reaches its end: step `max_step` is step 0.
    """
    _positive("linear_annealing", "max_step", max_step)
    if not base_lr >= min_lr:
        raise RefoptError(f"linear_annealing: min_lr must be at most base_lr={base_lr}; got {min_lr}")

    def schedule(t: float) -> float:
        place = t % max_step if is_cycle else min(t, max_step)
        return base_lr - (base_lr - min_lr) * (place / max_step)

    return schedule


def step_decay(base_lr: float = 1.0, *, step_size: float | Iterable[float], gamma: float = 0.1) -> Schedule:
    """`base_lr * gamma**n`, n counting the whole `step_size`s in t, or the given steps that t has reached.

    objax.optimizer.scheduler.StepDecay.
    """
    if isinstance(step_size, Iterable):
        edges = sorted(step_size)
        return lambda t: base_lr * gamma ** bisect_right(edges, t)
    _positive("step_decay", "step_size", step_size)
    return lambda t: base_lr * gamma ** (t // step_size)


def _positive(schedule: str, name: str, value: float) -> None:
    if not value > 0:
        raise RefoptError(f"{schedule}: {name} must be positive; got {value}")
