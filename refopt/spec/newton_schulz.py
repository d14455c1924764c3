"""Newton and Schulz's iteration: from a matrix to the nearest orthogonal one, by matrix products alone.

One step replaces X by a*X + b*A X + c*A A X with A = X X^T. It leaves the singular vectors as they are, and takes each
singular value s to a*s + b*s**3 + c*s**5. Begun with a matrix of norm 1 or less, a few steps bring those that are
not tiny near 1. The coefficients of Muon trade exactness for speed: at zero they have the slope `a`, so that five steps
multiply small singular values by a**5 = 485, and leave the large ones anywhere from 0.7 to 1.2.

    1. A tensor is read as the matrix of its first dimension by all others; a vector as one column.
    2. If it has more rows than columns it is transposed, so that A is the smaller of the two products.
    3. For each triple of coefficients: A = X X^T; B = b*A + c*A A; X = a*X + B X.
    4. It is transposed back, and has the shape of the tensor.

All of it is computed in float64, and rounded once to the dtype of what was given. `product` adds in one fixed order, so
that the result is the same on every machine; a library's matrix product is not. Zeros stay zero; a NaN in
one element makes all of them NaN, as does an infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

Triple = tuple[float, float, float]
Product = Callable[[np.ndarray, np.ndarray], np.ndarray]

LANES = 16  # independent accumulators of a product
QUINTIC: tuple[Triple, ...] = ((3.4445, -4.7750, 2.0315),) * 5  # Jordan 2024
DION: tuple[Triple, ...] = (  # one triple for each step, each made for what the step before leaves
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)


def matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """The rows and columns that a tensor has as a matrix: its first dimension, and all others; a number has one."""
    return shape[0] if shape else 1, prod(shape[1:])


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The matrix product, in one order: of the terms of an element, lane j adds j, j + lanes, j + 2*lanes, ...

    They are folded in halves (8, 4, 2, 1). Missing terms count as zeros, which change nothing.
    """
    terms = x.shape[-1]
    lanes = lanes_for(terms)
    left, right = x.swapaxes(-1, -2)[..., None], y[..., None, :]  # (..., terms, rows, 1) and (..., terms, 1, columns)
    sums = np.zeros((*x.shape[:-2], lanes, x.shape[-2], y.shape[-1]))
    for first in range(0, terms, lanes):
        run = left[..., first : first + lanes, :, :] * right[..., first : first + lanes, :, :]
        sums[..., : run.shape[-3], :, :] += run
    while lanes > 1:
        lanes //= 2
        sums = sums[..., :lanes, :, :] + sums[..., lanes:, :, :]
    return sums[..., 0, :, :]


def lanes_for(terms: int) -> int:
    """How many lanes add: `LANES`, or the least power of two that is not below the number of terms."""
    return min(LANES, 1 << max(terms - 1, 0).bit_length())


def newton_schulz(
    x: np.ndarray, shape: tuple[int, ...], steps: Sequence[Triple] = QUINTIC, product: Product = product
) -> np.ndarray:
    """The iteration from tensors of this shape, the last dimensions of `x`; each of the leading ones by itself."""
    rows, columns = matrix(shape)
    lead = x.shape[: x.ndim - len(shape)]
    y = np.asarray(x, np.float64).reshape(*lead, rows, columns)
    turned = rows > columns
    with np.errstate(all="ignore"):
        y = iterated(y.swapaxes(-1, -2) if turned else y, steps, product)
        y = y.swapaxes(-1, -2) if turned else y
        return np.ascontiguousarray(y).reshape(x.shape).astype(x.dtype)


def iterated(x: np.ndarray, steps: Sequence[Triple], product: Product = product) -> np.ndarray:
    """Step 3: the matrices after steps with these coefficients."""
    for a, b, c in steps:
        gram = product(x, x.swapaxes(-1, -2))
        x = a * x + product(b * gram + c * product(gram, gram), x)
    return x
