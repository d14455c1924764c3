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
                f"{name} is a {type(array).__name__}, not an array; pass NumPy, JAX or torch arrays, e.g. np.asarray(...)"
            )
    return Leaves(arrays, names, spec)


def dtype_name(array: Any) -> str:
    """`float32` for NumPy, JAX and torch alike."""
    return str(array.dtype).removeprefix("torch.")


def flatten_grads(tree: Any, params: Leaves) -> list[Any]:
    """The leaves of the gradients, which must match the parameters in tree, shape and dtype."""
    if isinstance(tree, Iterator):
        tree = list(tree)
    arrays, spec = optree.tree_flatten(tree)
    if spec != params.spec:
        raise RefoptError(f"grads must have the tree of params, {params.spec}; got {spec}")
    for name, w, g in zip(params.names, params.arrays, arrays, strict=True):
        place = name.replace("params", "grads", 1)
        if not (hasattr(g, "shape") and hasattr(g, "dtype")):
            raise RefoptError(f"{place} is a {type(g).__name__}, not an array; pass an array of shape {tuple(w.shape)}")
        if g.shape != w.shape:
            raise RefoptError(f"{place} must have the shape of its parameter, {tuple(w.shape)}; got {tuple(g.shape)}")
        if g.dtype != w.dtype and dtype_name(g) != dtype_name(w):
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
    """Refuse what cannot be updated in place: read-only arrays, and one array in two places."""
    seen: dict[int, str] = {}
    for name, array in zip(leaves.names, leaves.arrays, strict=True):
        if isinstance(array, np.generic) or (isinstance(array, np.ndarray) and not array.flags.writeable):
            raise RefoptError(f"{name} is read-only and would be updated in place; pass a copy, e.g. np.array(x)")
        if id(array) in seen:
            raise RefoptError(f"{name} and {seen[id(array)]} are one array, which would be updated twice; pass it once")
        seen[id(array)] = name
