"""How a step's pieces are shared between threads: each piece once, by threads that keep off the caller's processor."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from refopt.engines.arena import Cut
from refopt.engines.numba_threads import SHARE, Pool, processor, share


@pytest.mark.parametrize("sizes", [[], [0], [1], [0, 3, 0, 2 * SHARE + 5, 7], [100] * 3000, [SHARE] * 9])
def test_every_piece_runs_once(sizes: list[int]) -> None:
    cut = Cut(np.array(sizes, np.int64), 1 << 16)
    times = np.zeros(cut.tensor_of.size, np.int64)

    def kernel(first: int, last: int, *_: object) -> None:
        times[first:last] += 1

    share(cut, kernel, np.zeros(0))
    assert (times == 1).all()
    assert cut.count_of.sum() == sum(sizes)


def test_an_error_in_any_thread_reaches_the_caller() -> None:
    cut = Cut(np.array([8 * SHARE], np.int64), SHARE)
    here = threading.get_ident()

    def kernel(first: int, *_: object) -> None:
        if threading.get_ident() != here:
            raise ValueError("from a helper")
        threading.Event().wait(0.05)  # leave pieces to the helper

    if os.cpu_count() == 1:
        pytest.skip("one processor: no helper threads; run this test on a machine with two")
    with pytest.raises(ValueError, match="from a helper"):
        share(cut, kernel, np.zeros(0))


def test_an_interrupt_waits_for_the_helpers() -> None:
    """What they read and write may be freed as soon as `share` is left."""
    if os.cpu_count() == 1:
        pytest.skip("one processor: no helper threads; run this test on a machine with two")
    cut = Cut(np.array([8 * SHARE], np.int64), SHARE)
    here, begun, ended = threading.get_ident(), threading.Event(), []

    def kernel(first: int, *_: object) -> None:
        if threading.get_ident() == here:
            assert begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        threading.Event().wait(0.1)
        ended.append(first)

    with pytest.raises(KeyboardInterrupt):
        share(cut, kernel, np.zeros(0))
    assert len(ended) == 1


def test_helpers_keep_off_the_callers_processor() -> None:
    if processor() is None or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("threads can be placed on Linux with two processors; run this test there")
    pool = Pool()
    pool.help(lambda: None, 1)[0].result()  # the thread arrives
    allowed = os.sched_getaffinity(0)
    for caller in sorted(allowed)[:2]:
        pool.keep_off(caller)
        assert [os.sched_getaffinity(member) for member in pool.members] == [allowed - {caller}]
    pool.executor.shutdown()
