"""What an explanation starts from: the caller's parameter and gradients, or a small example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refopt.clocks import has_rows, matrix_functions
from refopt.engines.dtypes import PARAMETER_DTYPES, refuse_dtype
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper
from refopt.spec.program import Program

# Repeated as often as needed; of a rule of matrices, two together. Signs change, so that averages and largest values so
# far have something to show.
PARAMS = ((0.5, -1.0, 2.0), (0.4, -0.9, 1.8), (0.6, -0.7, 1.9))
GRADS = ((0.5, -0.25, 0.1), (0.3, 0.2, -0.4), (-0.2, 0.1, 0.6))


def example(program: Program, some: Sequence[tuple[float, ...]], n: int) -> Any:
    """The parameter or the gradient number n: a vector or, for rules of rows and columns or matrices, a matrix."""
    first, second = some[n % len(some)], some[(n + 1) % len(some)]
    return [first[:2], second[:2]] if has_rows(program) or matrix_functions(program) else first


@dataclass(frozen=True)
class Inputs:
    """`params` is the parameter before the first step and, for a rule that leaves it alone, after each."""

    dtype: np.dtype
    params: tuple[np.ndarray, ...]
    grads: tuple[np.ndarray, ...] | None
    coordinate: int


def inputs(hyper: Hyper, steps: int, dtype: str, params: Any, grads: Any, coordinate: int) -> Inputs:
    """The checked inputs of an explanation; what is None comes from the example."""
    name, program = hyper.rule.name, hyper.program
    if reason := refuse_dtype(dtype):
        raise Unsupported(f"{name}: {reason}")
    moves = program.writes_parameter
    if params is None:
        every = [example(program, PARAMS, n) for n in range(steps + 1)]
        params = every[0] if moves else every
    weights = [_array(name, "params", params, dtype)] if moves else _arrays(name, "params", params, dtype, steps + 1)
    shape = weights[0].shape
    gradients = None
    if program.reads_gradient:
        if grads is None:
            grads = [example(program, GRADS, n) for n in range(steps)]
            if shape != np.shape(grads[0]):
                raise RefoptError(
                    f"{name}: the example gradients have shape {np.shape(grads[0])}, params has {shape}; give grads"
                )
        gradients = _arrays(name, "grads", grads, dtype, steps)
    elif grads is not None:
        raise RefoptError(f"{name}: it reads no gradient; leave grads out, and give params before and after each step")
    for what, arrays in (("params", weights), ("grads", gradients or [])):
        for n, array in enumerate(arrays):
            if array.shape != shape:
                raise RefoptError(
                    f"{name}: {what}[{n}] has shape {array.shape}; it must be {shape}, as the parameter's"
                )
    if not 0 <= coordinate < weights[0].size:
        raise RefoptError(
            f"{name}: coordinate must be in [0, {weights[0].size}), an index into the flat array; got {coordinate!r}"
        )
    return Inputs(PARAMETER_DTYPES[dtype], tuple(weights), tuple(gradients) if gradients else None, coordinate)


def check_count(rule: str, what: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RefoptError(f"{rule}: {what} must be a whole number of at least 1; got {value!r}")


def _array(rule: str, what: str, value: Any, dtype: str) -> np.ndarray:
    """A list becomes an array of `dtype`; an array must have it already."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.name != dtype:
        raise RefoptError(
            f"{rule}: {what} is {value.dtype.name}; pass dtype={value.dtype.name!r}, or an array of {dtype}"
        )
    try:
        return np.array(value, PARAMETER_DTYPES[dtype])
    except (TypeError, ValueError):
        raise RefoptError(f"{rule}: {what} must be an array of numbers; got {value!r}") from None


def _arrays(rule: str, what: str, values: Any, dtype: str, count: int) -> list[np.ndarray]:
    if not isinstance(values, Sequence | np.ndarray) or len(values) != count:
        number = len(values) if isinstance(values, Sequence | np.ndarray) else repr(values)
        raise RefoptError(f"{rule}: {what} must be {count} arrays for these steps; got {number}")
    return [_array(rule, f"{what}[{n}]", value, dtype) for n, value in enumerate(values)]
