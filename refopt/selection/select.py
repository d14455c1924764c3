"""Which backend runs: argument > `with refopt.use(...)` > REFOPT_BACKEND > the type of the arrays > numpy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from refopt.selection.registry import get_backend, importable, installed
from refopt.spec.backend import Backend
from refopt.spec.errors import RefoptError

ARGUMENT = "the argument backend="
KNOWN = {"numpy": "numpy", "ml_dtypes": "numpy", "jax": "jax", "jaxlib": "jax", "torch": "torch"}

_used: ContextVar[str | None] = ContextVar("refopt_backend", default=None)


@dataclass(frozen=True)
class Selection:
    """The backend that was chosen, and why."""

    name: str
    reason: str

    @property
    def backend(self) -> Backend:
        """The backend, imported. Raises RefoptError if it does not exist, Unsupported if it does not work."""
        try:
            return get_backend(self.name)
        except RefoptError as error:
            if self.reason == ARGUMENT:
                raise
            raise type(error)(f"{error} (why this backend: {self.reason})") from error


@contextmanager
def use(backend: str) -> Iterator[Backend]:
    """Within the `with` block, run on this backend wherever no `backend=` argument says otherwise."""
    chosen = get_backend(backend)
    token = _used.set(backend)
    try:
        yield chosen
    finally:
        _used.reset(token)


def select(backend: str | None = None, arrays: Sequence[Any] = ()) -> Selection:
    """The backend for these arrays. Raises RefoptError if nothing says which and the arrays disagree."""
    if backend is not None:
        return Selection(backend, ARGUMENT)
    if (used := _used.get()) is not None:
        return Selection(used, f"with refopt.use({used!r})")
    if variable := os.environ.get("REFOPT_BACKEND"):
        return Selection(variable, f"the environment variable REFOPT_BACKEND={variable}")
    return _by_type(arrays)


def _by_type(arrays: Sequence[Any]) -> Selection:
    owners = {name for array in arrays if (name := _owner(array)) is not None}
    if not owners:
        return Selection("numpy", "no array is of a known type; numpy is the default")
    if len(owners) > 1:
        raise RefoptError(
            f"the parameters are arrays of several kinds ({', '.join(sorted(owners))}); "
            f"convert them to one kind, or say which backend to use with backend="
        )
    (name,) = owners
    return Selection(name, f"the arrays are {name}'s")


def _owner(array: Any) -> str | None:
    """The backend whose arrays these are: ours by the module of the class, so that no framework is imported."""
    for ancestor in type(array).__mro__:  # a subclass of a torch tensor is one, wherever it was written
        if (name := KNOWN.get(ancestor.__module__.partition(".")[0])) is not None:
            return name
    if isinstance(array, int | float | complex | list | tuple | str | bytes | type(None)):
        return None
    others = [name for name in installed() if name not in {*KNOWN.values(), "numba"}]
    return next((name for name in others if importable(name) is None and get_backend(name).owns(array)), None)
