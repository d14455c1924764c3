"""What may be smaller than a case: fewer parameters, steps and elements, zero gradients, plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import numpy as np

from refopt.verifying.smallest_code import Case

Leaves = list[np.ndarray]
DIGITS = (1, 2)
COUNTED = 3  # up to so many steps before the last, nothing is gained where they are all alike


def parameters(case: Case, element: int) -> Iterator[Case]:
    """One element of the parameter that differs; that parameter; with one more; and all of them, an element of each."""
    at, ndim = case.at, case.params[case.at].ndim

    def one(leaves: Leaves, ndim: int) -> Leaves:
        return [leaves[at].reshape(-1)[element : element + 1].reshape((1,) * ndim)]

    yield each(case, lambda leaves: one(leaves, 1))
    if ndim > 1:
        yield each(case, lambda leaves: one(leaves, ndim))
    yield each(case, lambda leaves: [leaves[at]])
    full = [i for i, w in enumerate(case.params) if w.size]
    for some in [*(sorted((at, i)) for i in full if i != at), full]:
        yield each(case, lambda leaves, some=some: [leaves[i].reshape(-1)[:1] for i in some])  # type: ignore[misc]


def elements(case: Case) -> Iterator[Case]:
    """Of one parameter that cannot be one element: two of its elements, and two along each of its dimensions."""
    if len(case.params) == 1 and case.params[0].size > 2:
        yield each(case, lambda leaves: [leaves[0].reshape(-1)[:2]])
        yield each(case, lambda leaves: [leaves[0][(slice(2),) * leaves[0].ndim]])


def lengths(steps: int) -> Iterator[int]:
    """How many steps may be enough: few, more and more, and all but one."""
    powers = (n for k in range(1, steps.bit_length()) for n in (2**k, 3 * 2 ** (k - 1)))
    yield from (n for n in (1, *powers) if n < steps - 1)
    if steps > 1:
        yield steps - 1


def last(case: Case, steps: int) -> Case:
    """The last steps alone, from the same parameters."""
    return replace(case, grads=case.grads[-steps:], hyper=case.hyper[-steps:])


def constant(case: Case, names: Collection[str]) -> Iterator[Case]:
    """The same values of these numbers at every step: those of the last, or of the first."""
    for now in (case.hyper[-1], case.hyper[0]):
        if any(other[name] != now[name] for other in case.hyper for name in names):
            yield replace(case, hyper=[{**other, **{name: now[name] for name in names}} for other in case.hyper])


def quiet(case: Case) -> Iterator[Case]:
    """All gradients before the last zero, the last as it is, or 1 if it is zero; or, of many, all like the last."""
    before = len(case.grads) - 1
    if before:
        yield silent(case, 0, before)
        if not any(g.any() for g in case.grads[-1]):
            ones = [np.ones_like(g) for g in case.grads[-1]]
            yield silent(replace(case, grads=[*case.grads[:-1], ones]), 0, before)
    if before > COUNTED:
        yield replace(case, grads=[case.grads[-1]] * (before + 1))


def parts(length: int) -> Iterator[tuple[int, int]]:
    """Halves of it, halves of those, and so on to single ones."""
    size = length
    while size > 1:
        size = (size + 1) // 2
        yield from ((start, min(start + size, length)) for start in range(0, length, size))


def silent(case: Case, start: int, end: int) -> Case:
    """Zero gradients at these steps."""
    zeros = [[np.zeros_like(g) for g in now] for now in case.grads[start:end]]
    return replace(case, grads=[*case.grads[:start], *zeros, *case.grads[end:]])


def plain_params(case: Case, *, zero: bool) -> Iterator[Case]:
    """Parameters that are 0 if they may be, or 1, or have few digits."""
    for change in ([np.zeros_like] if zero else []) + _plainer():
        yield replace(case, params=[change(w) for w in case.params])


def plain_grads(case: Case) -> Iterator[Case]:
    """Gradients that are 1 where they are not zero, or have few digits."""
    for change in _plainer():
        yield replace(case, grads=[[change(g) for g in now] for now in case.grads])


def plain_hyper(case: Case, name: str) -> Iterator[Case]:
    """A number that is 0, a rate that is 1, or fewer digits of it. Only if it is constant."""
    value = case.hyper[0][name]
    if any(now[name] != value for now in case.hyper):
        return
    plain = 1.0 if name == "lr" else 0.0
    rounded = [_short(value, digits) for digits in DIGITS]
    for other in [plain] * (value != plain) + [r for r in rounded if len(repr(r)) < len(repr(value))]:
        yield replace(case, hyper=[{**now, name: other} for now in case.hyper])


def each(case: Case, part: Callable[[Leaves], Leaves]) -> Case:
    """The same part of the parameters and of all gradients."""
    return replace(case, params=part(case.params), grads=[part(now) for now in case.grads])


def _short(value: float, digits: int) -> float:
    """So many digits of a number; of what is nearly 1, such as a beta, of what it lacks."""
    if 0.9 < value < 1:
        return float(f"{1 - float(f'{1 - value:.{digits}g}'):.12g}")
    return float(f"{value:.{digits}g}")


def _plainer() -> list[Callable[[np.ndarray], np.ndarray]]:
    return [_ones, *((lambda a, digits=digits: _digits(a, digits)) for digits in DIGITS)]  # type: ignore[misc]


def _ones(array: np.ndarray) -> np.ndarray:
    """1 in place of every number but zero; what is no number stays."""
    return np.where(np.isfinite(array) & (array != 0), np.ones_like(array), array)


def _digits(array: np.ndarray, digits: int) -> np.ndarray:
    values = [float(f"{float(x):.{digits}g}") for x in array.reshape(-1)]
    return np.asarray(values, array.dtype).reshape(array.shape)
