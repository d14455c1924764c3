"""How fast is one Adam step? refopt on Numba beside torch.optim.Adam, interleaved: `python docs/examples/speed.py`.

Every round times each peer once, in an order drawn anew, so that a machine that slows down slows all of them and no
peer always comes after the same other. Where arrays happen to lie in memory counts for a tenth and more, so they are
made anew several times. The medians and the median of the ratios pair by pair are printed. float32, on as many threads
as there are processors.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from itertools import chain

import numpy as np
import torch

import refopt

PAUSE = 0.02  # seconds: the threads of the peer before may still be spinning, on processors that are not theirs now
WORKLOADS = {"one tensor of 16M": (1, 1 << 24), "2000 tensors of 256": (2000, 256)}


def peers(count: int, size: int) -> dict[str, Callable[[], object]]:
    """One step of each peer, on arrays of its own."""
    normal = np.random.default_rng(0).standard_normal
    params = [normal(size).astype(np.float32) for _ in range(count)]
    grads = [normal(size).astype(np.float32) for _ in range(count)]
    ours = refopt.Adam([w.copy() for w in params], dialect="torch", backend="numba")
    steps: dict[str, Callable[[], object]] = {"refopt numba": lambda: ours(1e-3, grads)}
    for name, options in {"torch fused": {"fused": True}, "torch foreach": {"foreach": True}, "torch": {}}.items():
        tensors = [torch.from_numpy(w.copy()).requires_grad_() for w in params]
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = torch.from_numpy(g.copy())
        steps[name] = torch.optim.Adam(tensors, lr=1e-3, **options).step
    return steps


def measure(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds per step of each peer, one entry per round, after two rounds that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = random.Random(0)
    for _ in range(rounds + 2):
        for name in order.sample(list(steps), len(steps)):
            time.sleep(PAUSE)
            start = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: values[2:] for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrays", type=int, default=5, help="how often the arrays are made anew (default 5)")
    parser.add_argument("--rounds", type=int, default=11, help="counted rounds on each (default 11)")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; ", end="")
    print(f"median of {options.rounds} interleaved rounds on each of {options.arrays} sets of arrays\n")
    for workload, (count, size) in WORKLOADS.items():
        sets = [measure(peers(count, size), options.rounds) for _ in range(options.arrays)]
        seconds = {name: list(chain.from_iterable(s[name] for s in sets)) for name in sets[0]}
        ours = seconds["refopt numba"]
        print(workload)
        for name, values in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(ours, values, strict=True))
            print(f"  {name:<14} {1e3 * statistics.median(values):8.2f} ms   refopt takes {ratio:5.2f} of it")


if __name__ == "__main__":
    main()
