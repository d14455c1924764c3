"""The matrix product of `refopt.spec.newton_schulz`, compiled: its sums in the same order, to the same bits."""

from __future__ import annotations

import numba
import numpy as np

from refopt.engines.numba_runtime import jit


@numba.njit(cache=True, **jit)
def product(x, y, lanes):  # type: ignore[no-untyped-def]
    """Of the terms of an element, lane j adds j, j + lanes, j + 2*lanes, ...; the lanes are folded in halves."""
    rows, terms = x.shape
    columns = y.shape[1]
    result = np.empty((rows, columns))
    sums = np.empty((lanes, columns))
    for row in range(rows):
        sums[:] = 0.0
        for term in range(terms):
            lane = term % lanes
            for column in range(columns):
                sums[lane, column] += x[row, term] * y[term, column]
        width = lanes // 2
        while width > 0:
            for lane in range(width):
                for column in range(columns):
                    sums[lane, column] += sums[lane + width, column]
            width //= 2
        result[row] = sums[0]
    return result
