"""What generated kernels call: arrays at an address, and the two levels of the reduction tree."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from refopt.spec.functions import BLOCK, LANES

__all__ = ["BLOCK", "LANES", "at", "fold", "sign", "total"]

# No fastmath and no FMA contraction: a kernel rounds exactly where NumPy does. error_model: 1/0 is infinity.
jit: dict[str, Any] = {"error_model": "numpy", "nogil": True}


@intrinsic
def _pointer(_context: Any, address: Any) -> Any:
    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), build


@numba.njit(inline="always", **jit)
def at(address, count, dtype):  # type: ignore[no-untyped-def]
    """The array of `count` elements at `address`."""
    return numba.carray(_pointer(address), (count,), dtype)  # type: ignore[call-arg]  # numba adds the context


@numba.njit(inline="always", **jit)
def sign(x):  # type: ignore[no-untyped-def]
    """NumPy's sign: of -0.0 it is 0.0, where Numba's own is -0.0."""
    one = np.sign(x)
    return abs(one) if one == 0 else one


@numba.njit(inline="always", **jit)
def fold(lanes):  # type: ignore[no-untyped-def]
    """The sum of a block's lanes, folded in halves. Changes `lanes`."""
    width = LANES // 2
    while width > 0:
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
        width //= 2
    return lanes[0]


@numba.njit(inline="always", **jit)
def total(partial, first, count):  # type: ignore[no-untyped-def]
    """The sum of the `count` block sums from `first`, one after the other."""
    value = 0.0
    for block in range(first, first + count):
        value += partial[block]
    return value
