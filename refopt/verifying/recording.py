"""Three lines in a training loop that write down what its optimizer does, for `refopt.identify`.

recorder = refopt.record(optimizer)                         # PyTorch: steps are seen by themselves
...                                                         # train
recorder.save("trace.npz")

recorder = refopt.record(params, lr=1e-3, b1=0.9, b2=0.999, eps=1e-8)    # JAX, NumPy, anything
...                                                                      # after each update:
recorder.step(grads, params)                                             # lr=..., if it changed
recorder.save("trace.npz")
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optree

from refopt.spec.errors import RefoptError
from refopt.verifying.candidates import rule_name_of
from refopt.verifying.drivers.base import parts_of
from refopt.verifying.trace import Trace, as_array


class Recorder:
    """What an optimizer was given and what it made of it, step by step, as copies.

    Args:
        params: the parameters before the first step, any tree of arrays.
        hyper: the numbers that hold at every step, by any framework's names.
    """

    def __init__(self, params: Any, **hyper: float) -> None:
        self._params = _copied(params)
        self._held = dict(hyper)
        self._grads: list[Any] = []
        self._hyper: list[Mapping[str, float]] = []
        self._results: list[Any] = []

    def step(self, grads: Any, params: Any, **hyper: float) -> None:
        """After a step: the gradients that it took, the parameters that it left, and the numbers that changed."""
        self._grads.append(_copied(grads))
        self._results.append(_copied(params))
        self._hyper.append({**self._held, **hyper})

    def trace(self) -> Trace:
        """What was recorded. Raises RefoptError if there was no step."""
        return Trace(self._params, list(self._grads), list(self._hyper), list(self._results))

    def save(self, path: str | Path) -> None:
        """Write the trace, to a file ending in `.npz` or `.json`."""
        self.trace().save(path)


class TorchRecorder(Recorder):
    """Sees the steps of a `torch.optim.Optimizer` through its hooks, and reads the numbers from its groups.

    Tensors are named by their places in the groups. `close` takes the hooks away.
    """

    def __init__(self, optimizer: Any, **hyper: float) -> None:
        self._optimizer = optimizer
        super().__init__(self._tensors(), **hyper)
        before = optimizer.register_step_pre_hook(lambda *_: self._before())
        after = optimizer.register_step_post_hook(lambda *_: self._after())
        self._hooks = (before, after)

    def close(self) -> None:
        """Record no more."""
        for hook in self._hooks:
            hook.remove()

    def _tensors(self) -> list[Any]:
        return [tensor for group in self._optimizer.param_groups for tensor in group["params"]]

    def _before(self) -> None:
        tensors, step = self._tensors(), len(self._results) + 1
        if missing := [str(i) for i, tensor in enumerate(tensors) if tensor.grad is None]:
            raise RefoptError(
                f"step {step}: there is no gradient of the parameters {', '.join(missing)}, which the optimizer leaves "
                "alone; give it the others only, and record these"
            )
        numbers = [_numbers(group) for group in self._optimizer.param_groups]
        if any(other != numbers[0] for other in numbers):
            raise RefoptError(
                f"step {step}: the groups of parameters have different numbers; record an optimizer of one group"
            )
        self._now = ([_copied(tensor.grad) for tensor in tensors], numbers[0])

    def _after(self) -> None:
        grads, numbers = self._now
        self.step(grads, self._tensors(), **numbers)


def record(what: Any, **hyper: float) -> Recorder:
    """A recorder: of a `torch.optim.Optimizer`, whose steps it sees by itself; or of parameters, to be told each step.

    Args:
        what: the optimizer, before its first step; or the parameters, any tree of arrays.
        hyper: numbers that hold at every step, by any framework's names. An optimizer's own are read from it.
    """
    if hasattr(what, "param_groups") and hasattr(what, "register_step_pre_hook"):
        return TorchRecorder(what, **hyper)
    return Recorder(what, **hyper)


def _numbers(group: Mapping[str, Any]) -> dict[str, float]:
    """The hyper-parameters of a group: the numbers that any rule knows (not a schedule's `initial_lr`), and betas."""
    if group.get("maximize"):
        raise RefoptError("maximize=True goes up the gradient; give the optimizer the negative of it, and record that")
    found: dict[str, float] = {}
    for name, value in group.items():
        if names := parts_of(name, value):
            found |= {one: float(number) for one, number in zip(names, value, strict=True)}
        elif rule_name_of(name) is not None and not isinstance(value, bool) and _is_number(value):
            found[name] = float(value)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (hasattr(value, "ndim") and value.ndim == 0)


def _copied(tree: Any) -> Any:
    return optree.tree_map(lambda leaf: np.array(as_array(leaf, "a recorded array")), tree)
