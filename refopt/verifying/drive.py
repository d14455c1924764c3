"""Drive anybody's optimizer through a few steps, and see what it makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refopt.engines.dtypes import refuse_dtype
from refopt.spec.errors import RefoptError, Unsupported, given_twice, shown, unknown
from refopt.verifying.drivers.base import is_number
from refopt.verifying.subjects.base import Names
from refopt.verifying.subjects.resolve import resolve
from refopt.verifying.trace import Trace, as_array

Numbers = Mapping[str, float]


def drive(
    target: Any,
    params: Sequence[Any],
    grads: Sequence[Sequence[Any]],
    hyper: Numbers | Sequence[Numbers],
    *,
    average: bool = False,
    **options: Any,
) -> list[list[np.ndarray]]:
    """The parameters after each step of a fresh optimizer; of an average, its value.

    Args:
        target: as `refopt.verify` takes it: `"torch.optim:Adam"`, `"my_file.py:my_adam"`, `"exec:./my_program"`, or
            the thing itself.
        params: a list of arrays. They are given to the optimizer as they are, in their dtype.
        grads: per step, a list of arrays like `params`. For an average: the parameters that it is given.
        hyper: numbers by refopt's names (`lr`, `beta1`, `wd`): one mapping for all steps, or one per step. What is not
            given is at the optimizer's own default.
        average: of an optimizer that keeps an average of the parameters, drive that.
        options: the optimizer's other arguments, as for `refopt.verify`.

    Raises:
        RefoptError: an unknown target, argument or number, or arrays that do not match each other.
        Unsupported: the optimizer cannot be made or run so, or answers with something else than such arrays.
    """
    arrays = _arrays(params, "params")
    steps = [_arrays(now, f"grads of step {step}", arrays) for step, now in enumerate(_list(grads, "grads"), start=1)]
    if not steps:
        raise RefoptError("grads must hold at least one step; got none")
    numbers = [hyper] * len(steps) if isinstance(hyper, Mapping) else _list(hyper, "hyper")
    if len(numbers) != len(steps):
        raise RefoptError(f"hyper must be one mapping, or one for each of the {len(steps)} steps; got {len(numbers)}")
    subject = resolve(target, options, average=average)
    try:
        given = [_numbers(subject.name, subject.names, now, step) for step, now in enumerate(numbers, start=1)]
        for step, now in enumerate(given, start=1):
            _check_change(subject.name, subject.names, given[0], now, step)
        results = subject.drive(arrays, steps, given)
        try:
            return Trace(arrays, steps, given, results).arrays().results
        except RefoptError as problem:
            raise Unsupported(f"{subject.name}: {problem}") from problem
    finally:
        subject.close()


def _numbers(subject: str, names: Names, hyper: Any, step: int) -> dict[str, float]:
    """The numbers of a step, checked, with those among the options."""
    if not isinstance(hyper, Mapping):
        raise RefoptError(f"hyper must map names to numbers; at step {step} it is {shown(hyper)}")
    for name, value in hyper.items():
        if name not in names.argument:
            raise unknown(subject, "number", name, sorted(names.argument), f"(step {step})")
        if name in names.fixed:
            raise given_twice(subject, name, f"{name} in hyper")
        if not is_number(value):
            raise RefoptError(f"{subject}: {name} must be a number; at step {step} it is {shown(value)}")
    return {**{name: float(value) for name, value in hyper.items()}, **names.fixed}


def _check_change(subject: str, names: Names, first: Numbers, now: Numbers, step: int) -> None:
    """A later step has the numbers of the first, and only those changed that can change."""
    if set(now) != set(first):
        raise RefoptError(
            f"{subject}: hyper must have the same names at every step; "
            f"step 1 has {', '.join(first) or 'none'}, step {step} has {', '.join(now) or 'none'}"
        )
    for name in sorted(set(first) - names.per_step):
        if now[name] != first[name]:
            raise RefoptError(f"{subject}: {name} cannot change between steps; give one value for all of them")


def _list(given: Any, what: str) -> list[Any]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence | np.ndarray):
        raise RefoptError(f"{what} must be a list; got {shown(given)}")
    return list(given)


def _arrays(given: Any, what: str, like: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
    """A list of arrays in dtypes that parameters may have; of the number and shapes of `like`, if that is given."""
    arrays = [as_array(one, f"{what}[{i}]") for i, one in enumerate(_list(given, what))]
    if not arrays:
        raise RefoptError(f"{what} must hold at least one array; got none")
    for i, array in enumerate(arrays):
        if reason := refuse_dtype(array.dtype.name):
            raise RefoptError(f"{what}[{i}]: {reason}")
    shapes, expected = [a.shape for a in arrays], [a.shape for a in like or arrays]
    if shapes != expected:
        raise RefoptError(f"{what} must have the shapes of params, {expected}; got {shapes}")
    return arrays
