"""What an optimizer did: the input and the output of a number of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import optree

from refopt.engines.dtypes import PARAMETER_DTYPES, refuse_dtype
from refopt.selection import get_backend
from refopt.spec.errors import RefoptError


@dataclass(frozen=True)
class Trace:
    """Parameters, then per step the gradients, the hyper-parameters and the parameters after it.

    Args:
        params: the parameters before the first step, any tree of arrays.
        grads: one tree per step, like `params`. For an average (rule ema): the parameters that it was given.
        hyper: one mapping per step, so that a rate may vary; names as the rule's or a framework's ("momentum", "b1").
        results: one tree per step: the parameters after it. For an average: its value after it.
        name: what a verdict calls it.
    """

    params: Any
    grads: Sequence[Any]
    hyper: Sequence[Mapping[str, float]]
    results: Sequence[Any]
    name: str = ""

    def __post_init__(self) -> None:
        steps = len(self.grads)
        if not steps == len(self.hyper) == len(self.results) or steps == 0:
            raise RefoptError(
                f"a trace has one entry of grads, hyper and results per step, and at least one step; "
                f"got {steps}, {len(self.hyper)} and {len(self.results)}"
            )

    @staticmethod
    def load(path: str | Path) -> Trace:
        """The trace in a `.npz` or `.json` file, its trees flat: {name: array}. RefoptError if there is none."""
        from refopt.verifying.trace_files import load  # which is made of traces

        return load(path)

    def save(self, path: str | Path) -> None:
        """Write it at once or not at all, to a file ending in `.npz` or `.json`; RefoptError if that cannot be."""
        from refopt.verifying.trace_files import save

        save(path, self)

    def arrays(self) -> Arrays:
        """The leaves as NumPy arrays, checked against each other."""
        paths, leaves, spec = optree.tree_flatten_with_path(self.params)
        if not leaves:
            raise RefoptError("a trace's params must hold at least one array; got an empty tree")
        places = ["".join(f"[{part!r}]" for part in path) for path in paths]
        params = [as_array(leaf, f"params{place}") for leaf, place in zip(leaves, places, strict=True)]

        def matching(tree: Any, what: str) -> list[np.ndarray]:
            found, other = optree.tree_flatten(tree)
            if other != spec:
                raise RefoptError(f"{what} must have the tree of params, {spec}; got {other}")
            arrays = [as_array(leaf, f"{what}{place}") for leaf, place in zip(found, places, strict=True)]
            for array, place, like in zip(arrays, places, params, strict=True):
                if array.shape != like.shape:
                    raise RefoptError(f"{what}{place} must have the shape of params, {like.shape}; got {array.shape}")
            return arrays

        grads = [matching(tree, f"step {step}: grads") for step, tree in enumerate(self.grads, start=1)]
        results = [matching(tree, f"step {step}: results") for step, tree in enumerate(self.results, start=1)]
        for step, arrays in enumerate(results, start=1):
            for array, place, first in zip(arrays, places, results[0], strict=True):
                what = f"step {step}: results{place}"
                if reason := refuse_dtype(array.dtype.name):
                    raise RefoptError(f"{what}: {reason}")
                if array.dtype != first.dtype:
                    raise RefoptError(f"{what} must have the dtype of step 1, {first.dtype}; got {array.dtype}")
        return Arrays(params, grads, list(self.hyper), results, places, self.name)


@dataclass(frozen=True)
class Arrays:
    """A trace as lists of NumPy arrays."""

    params: list[np.ndarray]
    grads: list[list[np.ndarray]]
    hyper: list[Mapping[str, float]]
    results: list[list[np.ndarray]]
    paths: list[str]
    name: str = ""

    @property
    def dtype(self) -> np.dtype:
        """The narrowest dtype of the results: what their rounding is measured in."""
        return narrowest(a.real.dtype for a in self.results[0])


def narrowest(dtypes: Iterable[np.dtype]) -> np.dtype:
    """The dtype with the coarsest rounding."""
    return max(dtypes, key=lambda dtype: float(ml_dtypes.finfo(dtype).eps))


def as_array(x: Any, what: str) -> np.ndarray:
    """Whatever an array is, as NumPy has it. `what` names it in a refusal."""
    if hasattr(x, "detach"):  # a torch tensor may require a gradient, live on a device, or be a bfloat16
        x = get_backend("torch").to_numpy(x)
    array = np.asarray(x)
    if array.dtype.kind not in "biuf" and array.dtype.name not in PARAMETER_DTYPES:
        raise RefoptError(f"{what} must be an array of real numbers; got dtype {array.dtype}")
    return array
