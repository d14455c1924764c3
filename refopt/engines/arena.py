"""Arrays of one dtype as views of one buffer, and the tables of their pieces: what a kernel works through.

Slots live in arenas, so that the addresses of thousands of them cost nothing per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from refopt.spec.functions import BLOCK

PAGE = 4096  # bytes
RUN = 16 * BLOCK  # long enough that starting a loop costs nothing beside it


@dataclass(frozen=True, eq=False)
class Cut:
    """Tensors of these sizes cut into pieces of at most `length` elements, each of one tensor.

    Piece b is the `count_of[b]` elements of tensor `tensor_of[b]` from its element `start_of[b]`; those of tensor i
    are the `number_of[i]` from `first_of[i]`. All arrays are int64.
    """

    sizes: np.ndarray
    length: int

    @cached_property
    def number_of(self) -> np.ndarray:
        return -(-self.sizes // self.length)

    @cached_property
    def first_of(self) -> np.ndarray:
        return np.cumsum(self.number_of) - self.number_of

    @cached_property
    def tensor_of(self) -> np.ndarray:
        return np.repeat(np.arange(self.sizes.size, dtype=np.int64), self.number_of)

    @cached_property
    def start_of(self) -> np.ndarray:
        return (np.arange(self.tensor_of.size, dtype=np.int64) - self.first_of[self.tensor_of]) * self.length

    @cached_property
    def count_of(self) -> np.ndarray:
        return np.minimum(self.sizes[self.tensor_of] - self.start_of, self.length)

    @cached_property
    def _ranges(self) -> dict[int, list[tuple[int, int]]]:
        return {}

    def ranges(self, parts: int) -> list[tuple[int, int]]:
        """Ranges of pieces with about as many elements each, at most `parts` of them."""
        if parts not in self._ranges:
            self._ranges[parts] = self._divide(parts)
        return self._ranges[parts]

    def _divide(self, parts: int) -> list[tuple[int, int]]:
        done = np.cumsum(self.count_of)
        if done.size == 0:
            return []
        ends = np.searchsorted(done, np.linspace(0, done[-1], parts + 1)[1:], side="left") + 1
        ends[-1] = done.size
        edges = np.unique(np.concatenate([[0], ends]))
        return list(pairwise(edges.tolist()))


@dataclass(frozen=True)
class Layout:
    """Tensors of these shapes, one behind the other, and how kernels cut them."""

    shapes: tuple[tuple[int, ...], ...]

    @cached_property
    def sizes(self) -> np.ndarray:
        return np.array([int(np.prod(shape, dtype=np.int64)) for shape in self.shapes], np.int64)

    @cached_property
    def offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @cached_property
    def ndim_of(self) -> np.ndarray:
        return np.array([len(shape) for shape in self.shapes], np.int64)

    @cached_property
    def blocks(self) -> Cut:
        """For reductions: the blocks of their tree."""
        return Cut(self.sizes, BLOCK)

    @cached_property
    def runs(self) -> Cut:
        """For element work, whose result does not depend on the cut."""
        return Cut(self.sizes, RUN)

    def views(self, buffer: np.ndarray) -> list[np.ndarray]:
        """The tensors in a buffer that holds all of them."""
        edges = pairwise(self.offsets.tolist())
        return [buffer[a:b].reshape(shape) for (a, b), shape in zip(edges, self.shapes, strict=True)]

    def addresses(self, buffer: np.ndarray) -> np.ndarray:
        """Where each tensor begins in a buffer that holds all of them."""
        return address(buffer) + self.offsets[:-1] * buffer.itemsize

    def gather(self, arrays: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
        """A new buffer with copies of the arrays."""
        buffer = aligned(int(self.offsets[-1]), dtype)
        if arrays:
            np.concatenate(arrays, axis=None, out=buffer, casting="unsafe")
        return buffer


@lru_cache(maxsize=256)
def layout(shapes: tuple[tuple[int, ...], ...]) -> Layout:
    """The layout for these shapes; the same object each time, its tables made once."""
    return Layout(shapes)


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """An uninitialised array that begins on a page: no vector of a kernel straddles two, and prefetching is best."""
    raw = np.empty(size * dtype.itemsize + PAGE, np.uint8)
    start = -address(raw) % PAGE
    return raw[start : start + size * dtype.itemsize].view(dtype)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def overlap(ours: np.ndarray, theirs: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether any of our arrays shares memory with any of theirs, which share none among themselves.

    Both lists are contiguous arrays of these sizes in bytes, at these addresses.
    """
    some = sizes > 0
    ours, theirs, sizes = ours[some], theirs[some], sizes[some]
    order = np.argsort(theirs)
    begins, ends = theirs[order], (theirs + sizes)[order]
    nearest = np.searchsorted(ends, ours, side="right")  # the first of theirs that ends behind our beginning
    return bool((np.append(begins, np.iinfo(np.int64).max)[nearest] < ours + sizes).any())


def addresses(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([address(array) for array in arrays], np.int64)
