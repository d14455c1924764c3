"""Trees and their leaves: flattening (optree walks them), and the checks that come before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import optree
from numpy.lib.array_utils import byte_bounds

from refopt.running.complex_leaves import as_seen, check_complex, dtype_name
from refopt.spec.backend import Backend
from refopt.spec.errors import RefoptError, Unsupported, shown
from refopt.spec.hyper import Hyper

EFFORT = 10_000  # candidates that NumPy tries before it takes interleaved arrays for overlapping ones


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
    names = tuple(what + _subscripts(path) for path in paths)
    for name, array in zip(names, arrays, strict=True):
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            raise RefoptError(
                f"{name} is a {type(array).__name__}, not an array; "
                f"pass NumPy, JAX or torch arrays, e.g. np.asarray(...)"
            )
    return Leaves(arrays, names, spec)


def _subscripts(path: Sequence[Any]) -> str:
    return "".join(f"[{part!r}]" for part in path)


def _odd_place(params: Leaves, spec: Any, what: str) -> str:
    """Where a tree first differs from that of the parameters, if it has other places: `, which lacks grads['b']`."""
    ours, theirs = ([_subscripts(path) for path in s.paths()] for s in (params.spec, spec))
    for verb, has, lacks in (("lacks", ours, set(theirs)), ("has", theirs, set(ours))):
        for place in has:
            if place not in lacks:
                return f", which {verb} {what}{place}"
    return ""


def flatten_like(tree: Any, params: Leaves, what: str = "grads") -> list[Any]:
    """The leaves of the gradients (or `what` it is), which must match the parameters in tree, shape and dtype."""
    if isinstance(tree, Iterator):
        tree = list(tree)
    arrays, spec = optree.tree_flatten(tree)
    if spec != params.spec:
        theirs = f"{shown(spec)}{_odd_place(params, spec, what)}"
        raise RefoptError(
            f"{what} must have the tree of params, {shown(params.spec)}; got {theirs}; give one array for each"
        )
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


def adopt(backend: Backend, hyper: Hyper, leaves: Leaves, device: str | None = None) -> list[Any]:
    """The parameters as arrays of the backend, complex ones as pairs, after it said that it supports them."""
    for name, array in zip(leaves.names, leaves.arrays, strict=True):
        if reason := backend.supports(hyper, dtype_name(array), device):
            raise Unsupported(f"{name}: {reason}")
    check_complex(backend, hyper, leaves.arrays)
    return as_seen(backend, (backend.adopt(array, device) for array in leaves.arrays))


def check_writable(leaves: Leaves) -> None:
    """Refuse what cannot be updated in place: read-only arrays, and memory that would be updated twice."""
    places = []
    for i, (name, array) in enumerate(zip(leaves.names, leaves.arrays, strict=True)):
        if isinstance(array, np.generic) or (isinstance(array, np.ndarray) and not array.flags.writeable):
            raise RefoptError(f"{name} is read-only and would be updated in place; pass a copy, e.g. np.array(x)")
        if 0 in array.shape:  # nothing to write
            continue
        memory = _memory(array)
        if _overlaps_itself(memory):
            raise RefoptError(f"{name} has elements that share memory, and would be updated twice; pass a copy of it")
        places.append((*byte_bounds(memory), i, memory))
    reaching: list[tuple[int, int, int, np.ndarray]] = []  # of those that begin earlier, what ends later
    for place in sorted(places, key=itemgetter(0)):
        reaching = [earlier for earlier in reaching if earlier[1] > place[0]]
        for other in reaching:
            if np.may_share_memory(place[3], other[3], max_work=EFFORT):  # type: ignore[arg-type]  # its stub is narrow
                first, second = sorted([place[2], other[2]])
                raise RefoptError(
                    f"{leaves.names[second]} and {leaves.names[first]} share memory, which would be updated twice; "
                    f"pass it once, or a copy"
                )
        reaching.append(place)


def _memory(array: Any) -> np.ndarray:
    """What of the memory is this array's, as an array that must not be read: a GPU's memory is none of NumPy's.

    An array that does not tell counts as the one byte where its Python object is.
    """
    if isinstance(array, np.ndarray):
        return array
    begin, shape, strides, size = id(array), (1,), None, 1
    if hasattr(array, "stride") and (pointer := array.data_ptr()):  # a torch tensor, which has memory
        begin, shape, size = pointer, tuple(array.shape), array.element_size()
        strides = tuple(size * stride for stride in array.stride())
    place = {"version": 3, "data": (begin, False), "shape": shape, "strides": strides, "typestr": f"|V{size}"}
    return np.asarray(SimpleNamespace(__array_interface__=place))


def _overlaps_itself(memory: np.ndarray) -> bool:
    """Whether elements may share memory: a step along an axis is shorter than what the axes within it span."""
    if memory.flags.forc:
        return False
    span = memory.itemsize
    for stride, size in sorted((abs(stride), size) for stride, size in zip(memory.strides, memory.shape, strict=True)):
        if size > 1 and stride < span:
            return True
        span += stride * (size - 1)
    return False
