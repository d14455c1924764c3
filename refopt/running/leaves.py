"""Trees and their leaves: flattening (optree walks them), and the checks that come before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from refopt.selection import select
from refopt.spec.backend import Backend
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper


@dataclass(frozen=True)
class Leaves:
    """The arrays of a tree in order, the names of their places, and what puts them back."""

    arrays: list[Any]
    names: tuple[str, ...]
    spec: Any

    def tree(self, arrays: Sequence[Any]) -> Any:
        """The tree with other arrays in its places."""
        return optree.tree_unflatten(self.spec, arrays)


def flatten(tree: Any, what: str = "params") -> Leaves:
    """The leaves of a tree; an iterator such as `model.parameters()` counts as a list."""
    if isinstance(tree, Iterator):
        tree = list(tree)
    paths, arrays, spec = optree.tree_flatten_with_path(tree)
    names = tuple(what + "".join(f"[{part!r}]" for part in path) for path in paths)
    for name, array in zip(names, arrays, strict=True):
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            raise RefoptError(
                f"{name} is a {type(array).__name__}, not an array; "
                f"pass NumPy, JAX or torch arrays, e.g. np.asarray(...)"
            )
    return Leaves(arrays, names, spec)


def dtype_name(array: Any) -> str:
    """`float32` for NumPy and JAX, for torch's `torch.float32`, and for a third party's `library.float32`."""
    return str(array.dtype).rpartition(".")[2]


def flatten_like(tree: Any, params: Leaves, what: str = "grads") -> list[Any]:
    """The leaves of the gradients (or `what` it is), which must match the parameters in tree, shape and dtype."""
    if isinstance(tree, Iterator):
        tree = list(tree)
    arrays, spec = optree.tree_flatten(tree)
    if spec != params.spec:
        raise RefoptError(f"{what} must have the tree of params, {params.spec}; got {spec}; give one array for each")
    for name, w, g in zip(params.names, params.arrays, arrays, strict=True):
        if type(g) is type(w) and g.shape == w.shape and g.dtype is w.dtype:
            continue
        place = name.replace("params", what, 1)
        if not (hasattr(g, "shape") and hasattr(g, "dtype")):
            raise RefoptError(f"{place} is a {type(g).__name__}, not an array; pass an array of shape {tuple(w.shape)}")
        if g.shape != w.shape:
            raise RefoptError(
                f"{place} must have the shape of its parameter, {tuple(w.shape)}; "
                f"got {tuple(g.shape)}; reshape it first"
            )
        if g.dtype is not w.dtype and dtype_name(g) != dtype_name(w):
            raise RefoptError(
                f"{place} must have the dtype of its parameter, {dtype_name(w)}; got {dtype_name(g)}; convert it first"
            )
    return arrays


def choose(backend: str | None, arrays: Sequence[Any]) -> Backend:
    """The selected backend (see refopt.selection.select)."""
    return select(backend, arrays).backend


def adopt(backend: Backend, hyper: Hyper, leaves: Leaves, device: str | None = None) -> list[Any]:
    """The parameters as arrays of the backend, after it said that it supports them."""
    for name, array in zip(leaves.names, leaves.arrays, strict=True):
        if reason := backend.supports(hyper, dtype_name(array), device):
            raise Unsupported(f"{name}: {reason}")
    return [backend.adopt(array, device) for array in leaves.arrays]


def check_writable(leaves: Leaves) -> None:
    """Refuse what cannot be updated in place: read-only arrays, and memory that would be updated twice."""
    seen: dict[int, str] = {}
    for name, array in zip(leaves.names, leaves.arrays, strict=True):
        if isinstance(array, np.generic) or (isinstance(array, np.ndarray) and not array.flags.writeable):
            raise RefoptError(f"{name} is read-only and would be updated in place; pass a copy, e.g. np.array(x)")
        if 0 in array.shape:  # nothing to write, and no address of its own
            continue
        if any(size > 1 and stride == 0 for size, stride in zip(array.shape, _strides(array), strict=True)):
            raise RefoptError(f"{name} has elements that share memory, and would be updated twice; pass a copy of it")
        place = _address(array)
        if place in seen:
            raise RefoptError(f"{name} and {seen[place]} are one array, which would be updated twice; pass it once")
        seen[place] = name


def _strides(array: Any) -> Sequence[int]:
    """The strides of a NumPy array or a torch tensor; ones for what does not tell."""
    strides = array.stride() if hasattr(array, "stride") else getattr(array, "strides", None)
    return tuple(strides) if strides is not None else (1,) * len(array.shape)


def _address(array: Any) -> int:
    """Where an array's first element lies, so that views of one array count as one."""
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0]
    return array.data_ptr() if hasattr(array, "data_ptr") else id(array)
