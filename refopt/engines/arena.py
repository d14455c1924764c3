"""Arrays of one dtype as views of one buffer, and the table of their blocks: what a kernel works through.

Slots live in arenas, so that the addresses of thousands of them cost nothing per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from refopt.spec.functions import BLOCK

CACHE_LINE = 64  # bytes


@dataclass(frozen=True)
class Layout:
    """Tensors of these shapes, one behind the other, cut into blocks that belong to one tensor each."""

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
    def blocks_of(self) -> np.ndarray:
        return -(-self.sizes // BLOCK)

    @cached_property
    def first_of(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.blocks_of)[:-1]]).astype(np.int64)

    @cached_property
    def tensor_of(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.shapes), dtype=np.int64), self.blocks_of)

    @cached_property
    def start_of(self) -> np.ndarray:
        return (np.arange(self.tensor_of.size, dtype=np.int64) - self.first_of[self.tensor_of]) * BLOCK

    @cached_property
    def count_of(self) -> np.ndarray:
        return np.minimum(self.sizes[self.tensor_of] - self.start_of, BLOCK)

    @cached_property
    def _cuts(self) -> dict[int, list[tuple[int, int]]]:
        return {}

    def cuts(self, parts: int) -> list[tuple[int, int]]:
        """Ranges of blocks with about as many elements each, at most `parts` of them."""
        if parts not in self._cuts:
            self._cuts[parts] = self._cut(parts)
        return self._cuts[parts]

    def _cut(self, parts: int) -> list[tuple[int, int]]:
        done = np.cumsum(self.count_of)
        if done.size == 0:
            return []
        ends = np.searchsorted(done, np.linspace(0, done[-1], parts + 1)[1:], side="left") + 1
        ends[-1] = done.size
        edges = np.unique(np.concatenate([[0], ends]))
        return list(pairwise(edges.tolist()))

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
    """An uninitialised array that begins on a cache line, so that no vector of a kernel straddles two."""
    raw = np.empty(size * dtype.itemsize + CACHE_LINE, np.uint8)
    start = -address(raw) % CACHE_LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def addresses(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([address(array) for array in arrays], np.int64)
