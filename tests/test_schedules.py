"""Learning rates against values by hand; what objax's schedulers say is what its class computes, step by step."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import refopt
from refopt.schedules import linear_annealing, polynomial, step_decay
from refopt.spec.errors import RefoptError

# A schedule, and its rates at these steps.
TABLE: dict[str, tuple[Callable[[float], float], Sequence[tuple[float, float]]]] = {
    "polynomial, LARS's": (polynomial(0.5, 4), [(0, 0.5), (1, 0.28125), (2, 0.125), (3, 0.03125), (4, 0), (5, 0)]),
    "polynomial, straight": (polynomial(2.0, steps=8, power=1), [(0, 2), (2, 1.5), (7, 0.25), (8, 0), (100, 0)]),
    "polynomial, constant": (polynomial(2.0, steps=8, power=0), [(0, 2), (4, 2), (8, 2)]),
    "polynomial, between steps": (polynomial(1.0, 4), [(0.5, 0.765625), (2.5, 0.140625)]),
    "linear, in cycles": (linear_annealing(max_step=4), [(0, 1), (1, 0.75), (3, 0.25), (4, 1), (5, 0.75), (8, 1)]),
    "linear, once": (
        linear_annealing(max_step=4, is_cycle=False),
        [(0, 1), (1, 0.75), (3, 0.25), (4, 0), (5, 0), (100, 0)],
    ),
    "linear, not to zero": (
        linear_annealing(2.0, max_step=4, is_cycle=False, min_lr=1.0),
        [(0, 2), (1, 1.75), (2, 1.5), (4, 1), (9, 1)],
    ),
    "linear, cycles not to zero": (linear_annealing(2.0, max_step=4, min_lr=1.0), [(3, 1.25), (4, 2), (7, 1.25)]),
    "linear, before its start": (linear_annealing(max_step=4), [(-1, 0.25)]),  # the remainder is never negative
    "linear, a level": (linear_annealing(0.5, max_step=4, min_lr=0.5), [(0, 0.5), (3, 0.5)]),
    "steps, evenly": (
        step_decay(step_size=3, gamma=0.5),
        [(0, 1), (2, 1), (3, 0.5), (5, 0.5), (6, 0.25), (30, 2**-10)],
    ),
    "steps, of a fraction": (step_decay(4.0, step_size=1.5, gamma=0.5), [(1, 4), (1.5, 2), (2, 2), (3, 1)]),
    "steps, where told": (
        step_decay(8.0, step_size=[2, 5], gamma=0.5),
        [(0, 8), (1, 8), (2, 4), (4, 4), (5, 2), (100, 2)],
    ),
    "steps, told in any order": (step_decay(8.0, step_size=(5, 2, 5), gamma=0.5), [(1, 8), (2, 4), (5, 1)]),
    "steps, in an array": (step_decay(8.0, step_size=np.array([2, 5]), gamma=0.5), [(1, 8), (2, 4), (5, 2)]),
    "steps, never": (step_decay(8.0, step_size=[]), [(0, 8), (1000, 8)]),
}


@pytest.mark.parametrize("name", TABLE)
def test_rates_by_hand(name: str) -> None:
    """All numbers are dyadic, so that they are exact."""
    schedule, rates = TABLE[name]
    assert [(t, schedule(t)) for t, _ in rates] == list(rates)


def test_the_default_decay_is_a_tenth() -> None:
    assert step_decay(step_size=1)(2) == 0.1**2


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no steps": (lambda: polynomial(0.1, 0), "polynomial: steps must be positive; got 0"),
    "steps backwards": (lambda: polynomial(0.1, steps=-5), "polynomial: steps must be positive; got -5"),
    "NaN steps": (lambda: polynomial(0.1, float("nan")), "steps must be positive; got nan"),
    "a rising power": (lambda: polynomial(0.1, 4, power=-1), "polynomial: power must be at least 0; got -1"),
    "an empty line": (lambda: linear_annealing(max_step=0), "linear_annealing: max_step must be positive; got 0"),
    "a line upwards": (
        lambda: linear_annealing(0.1, max_step=3, min_lr=0.2),
        "min_lr must be at most base_lr=0.1; got 0.2",
    ),
    "empty steps": (lambda: step_decay(step_size=0), "step_decay: step_size must be positive; got 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_schedule(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(RefoptError, match=message):
        call()


def test_a_schedule_drives_an_optimizer() -> None:
    w, lr = np.array([1.0]), polynomial(0.5, 4)
    opt = refopt.SGD([w])
    for t in range(5):
        opt(lr(t), [np.array([1.0])])
    assert w.tolist() == [1 - (0.5 + 0.28125 + 0.125 + 0.03125)]
