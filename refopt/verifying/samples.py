"""The part of the traces that variants are fitted to: arrays with the axes (step, tensor, element)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from refopt.verifying.distance import rounding
from refopt.verifying.trace import Arrays


@dataclass(frozen=True)
class Sample:
    """Some elements and steps of the traces, in float64."""

    params: np.ndarray  # (tensor, element)
    grads: np.ndarray  # (step, tensor, element)
    results: np.ndarray  # NaN for whatever is not finite
    weights: np.ndarray  # one over what counts as rounding; zero beyond the end of a trace or tensor
    known: Sequence[Mapping[str, np.ndarray]]
    shapes: Sequence[tuple[int, ...]]  # of the tensors
    models: np.ndarray  # (tensor, tensor): 1 where two are of one trace


def sample(
    traces: Sequence[Arrays],
    steps: Sequence[Sequence[Mapping[str, float]]],
    *,
    tensors: bool,
    models: bool = False,
    length: int,
    elements: int,
) -> Sample:
    """The first steps. Of rules that look at tensors, the smallest, or all, whole; else elements of all sizes."""
    length = min(length, max(len(trace.grads) for trace in traces))
    columns: list[tuple[np.ndarray, int, tuple[int, ...]]] = []
    for number, trace in enumerate(traces):
        short = min(length, len(trace.grads))
        with np.errstate(all="ignore"):
            leaves = [
                np.stack([np.asarray(a, np.float64).reshape(-1) for a in (
                    w, *(now[i] for now in trace.grads[:short]), *(now[i] for now in trace.results[:short]))])
                for i, w in enumerate(trace.params)
            ]  # fmt: skip
        shapes = [w.shape for w in trace.params]
        if tensors:
            order = sorted(range(len(leaves)), key=lambda i: leaves[i].shape[1])
            taken: list[int] = []
            total = 0
            for i in order:
                total += leaves[i].shape[1]
                if models or not taken or total <= elements or len(shapes[i]) not in {len(shapes[j]) for j in taken}:
                    taken.append(i)
            columns += [(leaves[i], number, shapes[i]) for i in taken if leaves[i].size]
        else:
            joined = np.concatenate(leaves, axis=1)
            share = max(8, elements // len(traces))
            size = np.where(np.isfinite(joined), np.abs(joined), 0.0)[1 : short + 1].sum(0)
            ranks = np.unique(np.linspace(0, size.size - 1, min(share, size.size)).astype(int))
            columns.append((joined[:, np.argsort(size, kind="stable")[ranks]], number, ()))
    wide = max(block.shape[1] for block, _, _ in columns)
    rows = len(columns)
    params, grads = np.zeros((rows, wide)), np.zeros((length, rows, wide))
    results, weights = np.zeros_like(grads), np.zeros_like(grads)
    for row, (block, number, _) in enumerate(columns):
        trace, short = traces[number], (block.shape[0] - 1) // 2
        here = slice(0, block.shape[1])
        params[row, here], grads[:short, row, here] = block[0], block[1 : short + 1]
        after = block[short + 1 :]
        finite = np.isfinite(after)
        largest = np.maximum.accumulate(np.abs(np.where(finite, after, 0.0)), axis=0)
        largest = np.maximum(largest, np.abs(np.where(np.isfinite(block[0]), block[0], 0.0)))
        typical = largest[-1].max(initial=0.0) or 1.0
        largest = np.where(largest > 0, largest, np.where(largest[-1] > 0, largest[-1], typical))
        unit = float(ml_dtypes.finfo(trace.dtype).eps) * rounding(trace.dtype, len(trace.grads))
        results[:short, row, here] = np.where(finite, after, np.nan)
        weights[:short, row, here] = 1.0 / (unit * largest)
    number_of = np.array([number for _, number, _ in columns])
    together = (number_of[:, None] == number_of).astype(float)
    known = []
    for step in range(length):
        now = [steps[number][min(step, len(steps[number]) - 1)] for _, number, _ in columns]
        names = set.intersection(*map(set, now))
        known.append({name: _together([one[name] for one in now]) for name in names})
    return Sample(params, grads, results, weights, known, [shape for _, _, shape in columns], together)


def _together(values: Sequence[float]) -> np.ndarray:
    same = all(value == values[0] for value in values)
    return np.asarray(np.float64(values[0]) if same else np.array(values)[:, None])
