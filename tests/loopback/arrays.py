"""Arrays that refuse everything but what docs/backends.md asks of an array; `device` is for the backend alone."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np


class Wrapped:
    """A NumPy array behind a wall. Only the loop-back backend looks behind it."""

    __slots__ = ("_behind", "device", "dtype", "shape")

    def __init__(self, behind: np.ndarray, device: str) -> None:
        self._behind = behind
        self.shape = behind.shape
        self.dtype = Name(behind.dtype.name)
        self.device = device

    def __repr__(self) -> str:
        return f"Wrapped({self._behind!r}, {self.device!r})"


class Name:
    """A dtype as frameworks print theirs: `loopback.float32`. It equals nothing but itself."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"loopback.{self.name}"


def _refuse(method: str) -> Any:
    def refuse(self: Wrapped, *args: object, **kwargs: object) -> NoReturn:
        raise AssertionError(f"an array of the loop-back backend was touched by {method}, not by the protocol")

    return refuse


REFUSED = (
    "array", "array_ufunc", "array_function", "dlpack", "buffer", "copy", "deepcopy", "reduce_ex", "getstate", "iter",
    "len", "getitem", "setitem", "contains", "bool", "float", "int", "index", "eq", "ne", "lt", "le", "gt", "ge", "neg",
    "abs", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "matmul",
)  # fmt: skip
for _name in REFUSED:
    setattr(Wrapped, f"__{_name}__", _refuse(f"__{_name}__"))
