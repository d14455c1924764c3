"""The threads that share a step's pieces between them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from refopt.engines.arena import Cut

SERIAL = 1 << 15  # below this many elements a second thread costs more than it saves
SHARE = 1 << 19  # elements that a thread takes at once: one that is held up leaves the rest to the others


def share(cut: Cut, kernel: Any, table: np.ndarray, *arguments: Any) -> None:
    """Run a kernel over all pieces of a cut, divided between threads when there is enough to do."""
    total = int(cut.sizes.sum())
    count = 1 if total < SERIAL else threads()
    ranges = deque(cut.ranges(1 if count == 1 else max(count, total // SHARE)))

    def work() -> None:
        while ranges:
            try:
                first, last = ranges.popleft()
            except IndexError:  # another thread took the last one
                return
            kernel(first, last, table, cut.tensor_of, cut.start_of, cut.count_of, *arguments)

    helpers = min(count, len(ranges)) - 1
    waiting = pool(os.getpid()).help(work, helpers) if helpers > 0 else []
    try:
        work()
    finally:  # an interrupt comes between two ranges: the arrays stay alive until the helpers have left them
        ranges.clear()
        wait(waiting)
    for future in waiting:
        future.result()


def threads() -> int:
    """How many threads a step uses: NUMBA_NUM_THREADS, which is the number of processors unless set."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # set when numba reads its settings


class Pool:
    """Threads that help the one that calls."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(threads(), "refopt", initializer=self.arrive)
        self.members: set[int] = set()
        self.avoided: int | None = None

    def arrive(self) -> None:
        """Called by a new thread."""
        self.members.add(threading.get_native_id())
        self.avoided = None

    def help(self, work: Any, helpers: int) -> list[Any]:
        """Start `work` in so many threads."""
        self.keep_off(processor())
        return [self.executor.submit(work) for _ in range(helpers)]

    def keep_off(self, caller: int | None) -> None:
        """Let the threads run on any processor but the caller's, which is about to be busy.

        Linux, in a hurry, wakes a thread where it last ran, even if the caller now computes there and another
        processor idles; the two then take turns of 4 ms, which doubles the time of a step.
        """
        if caller is None or caller == self.avoided:
            return
        self.avoided = caller
        with suppress(OSError):  # a system that forbids it is slower, no more
            if others := os.sched_getaffinity(0) - {caller}:
                for member in list(self.members):
                    os.sched_setaffinity(member, others)


def _processor() -> Any:
    """The C library's `sched_getcpu`, where there is one and threads can be placed."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


_sched_getcpu = _processor()


def processor() -> int | None:
    """The processor that this thread runs on, or None if the system does not tell."""
    return None if _sched_getcpu is None else int(_sched_getcpu())


@lru_cache(maxsize=1)
def pool(_process: int) -> Pool:
    """The threads of this process (a forked child makes its own)."""
    return Pool()
