"""What an optimizer did: the input and the output of a number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from refopt.spec.errors import RefoptError


@dataclass(frozen=True)
class Trace:
    """Parameters, then per step the gradients, the hyper-parameters and the parameters after it.

    Args:
        params: the parameters before the first step, any tree of arrays.
        grads: one tree per step, like `params`. For an average (rule ema): the parameters that it was given.
        hyper: one mapping per step, so that a rate may vary; names as the rule's or a framework's ("momentum", "b1").
        results: one tree per step: the parameters after it. For an average: its value after it.
    """

    params: Any
    grads: Sequence[Any]
    hyper: Sequence[Mapping[str, float]]
    results: Sequence[Any]

    def __post_init__(self) -> None:
        steps = len(self.grads)
        if not steps == len(self.hyper) == len(self.results) or steps == 0:
            raise RefoptError(
                f"a trace has one entry of grads, hyper and results per step, and at least one step; "
                f"got {steps}, {len(self.hyper)} and {len(self.results)}"
            )

    def arrays(self) -> Arrays:
        """The leaves as NumPy arrays, checked against each other."""
        leaves, spec = optree.tree_flatten(self.params)
        params = [_array(x) for x in leaves]

        def matching(tree: Any, what: str, step: int) -> list[np.ndarray]:
            found, other = optree.tree_flatten(tree)
            arrays = [_array(x) for x in found]
            if other != spec or [a.shape for a in arrays] != [p.shape for p in params]:
                raise RefoptError(
                    f"{what} of step {step} must have the tree and the shapes of params, {spec}; got {other}"
                )
            return arrays

        grads = [matching(tree, "grads", i + 1) for i, tree in enumerate(self.grads)]
        results = [matching(tree, "results", i + 1) for i, tree in enumerate(self.results)]
        paths = ["".join(f"[{part!r}]" for part in path) for path in optree.tree_paths(self.params)]
        return Arrays(params, grads, list(self.hyper), results, paths)


@dataclass(frozen=True)
class Arrays:
    """A trace as lists of NumPy arrays."""

    params: list[np.ndarray]
    grads: list[list[np.ndarray]]
    hyper: list[Mapping[str, float]]
    results: list[list[np.ndarray]]
    paths: list[str]

    @property
    def dtype(self) -> np.dtype:
        """The narrowest dtype of the results: what their rounding is measured in."""
        return min((a.dtype for a in self.results[0]), key=lambda d: d.itemsize)


def _array(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):  # a torch tensor that may require a gradient
        x = x.detach().cpu().numpy()
    array = np.asarray(x)
    if array.dtype.kind == "O" or array.dtype.kind == "c":
        raise RefoptError(f"a trace holds real arrays; got one of dtype {array.dtype}")
    return array
