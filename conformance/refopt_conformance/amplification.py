"""How parameters are judged that a function of whole matrices moves: `newton_schulz`, of which Muon's steps are made.

Such a function rounds a matrix, not an element. It is begun with one of norm 1, and brings singular values near 1,
those near zero too: there its slope is the product of its first coefficients, 485 in five steps. The elements of its
argument are below 1: half a unit of theirs is a quarter of a unit of 1, which in a singular direction becomes 485 times
that, spread over the elements of the tensor, large and small ones alike. So their unit is that of the largest element
of their tensor, and a quarter of the slope is the budget, in units of the dtype that is computed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import numpy as np

from refopt.clocks import matrix_functions
from refopt.spec.functions import OF_MATRICES
from refopt.spec.lines import inputs, prune
from refopt.spec.program import Program

MATRIX = "matrix"  # the quantity that such parameters are; others are "parameter"
SLOPE = float(round(max(prod(a for a, _, _ in steps) for steps in OF_MATRICES.values())))
AMPLIFIED = SLOPE / 4  # ULPs


def quantity_of(program: Program) -> str:
    """What the parameters that a program moves are judged as."""
    return MATRIX if matrix_functions(program) else "parameter"


@cache
def comes_back(program: Program) -> bool:
    """Whether the parameters that a function of matrices moves get into a slot, and so into its argument."""
    slots = {slot.name for slot in program.slots}
    made = (inputs(prune(program.lines, {name}, slots)[0]) for name in slots)
    return quantity_of(program) == MATRIX and any("w" in names for names in made)


def largest(size: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """For each element of a flat tree, the largest finite size in its tensor; `counts` are the tensors' elements."""
    finite = np.where(np.isfinite(size), size, 0.0)
    return np.repeat([part.max(initial=0.0) for part in np.split(finite, np.cumsum(counts)[:-1])], counts)
