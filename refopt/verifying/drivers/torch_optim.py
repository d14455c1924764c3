"""`torch.optim.Optimizer`: classes, functions that make one from parameters, and optimizers that somebody has made."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .base import (
    DTYPES,
    NEEDED,
    PAIRS,
    Arrays,
    Refusal,
    ancestors,
    arguments,
    is_number,
    names_of,
    paired,
    pairs_in,
    takes_any,
    with_parts,
)
from .torch_places import default_dtype, dtypes_on, version_of

OPTIMIZER = "torch.optim.optimizer.Optimizer"


class TorchDriver:
    """Driven on the CPU, or where it is put.

    Numbers change between steps through the parameter groups; so are those set that a function keeps to itself.
    """

    framework = "torch"
    average = False
    device = "cpu"
    widen = True
    dtypes: Sequence[str] = DTYPES

    def __init__(self, target: Any) -> None:
        self.torch = importlib.import_module("torch")
        made = OPTIMIZER in ancestors(target) and not isinstance(target, type)
        self.make = type(target) if made else target
        self.any_argument = takes_any(self.make)
        taken = arguments(self.make, *names_of(self.make)[:1])
        if made:  # what it was made with stands in place of the class's defaults
            taken |= {name: value for name, value in target.defaults.items() if name in taken}
        self.kept = dict(taken) if made else {}
        self.own = frozenset(taken)
        groups = self._groups()
        taken = {**{name: value for name, value in groups.items() if _is_hyper(name, value)}, **taken}
        self.pairs = pairs_in(taken)
        self.arguments = dict(with_parts(taken, self.pairs))
        self.per_step = self._in_groups(groups)
        self.versions = {"torch": self.torch.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        """A function makes optimizers if its first argument is called `params`, and none `grads` or `state`."""
        if OPTIMIZER in ancestors(target):
            return True
        names = [] if isinstance(target, type) or "torch" not in sys.modules else names_of(target)
        return names[:1] == ["params"] and not {"grads", "state"} & set(names)

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        own = {name: value for name, value in {**numbers, **self._named(numbers)}.items() if self._takes(name)}
        given = {**self.kept, **own, **options}
        if given.get("maximize"):
            raise Refusal("with maximize=True it climbs, and every rule here descends; leave that out")
        leaf = not given.get("differentiable")  # what autograd follows may not change a leaf in place
        self.tensors = [self.torch.tensor(w, device=self.device, requires_grad=leaf) for w in params]
        with default_dtype(self.torch, self.tensors if self.widen else ()):
            self.optimizer = self.make(self.tensors, **given)
        if OPTIMIZER not in ancestors(self.optimizer):
            raise Refusal(f"it must return a torch.optim.Optimizer; got a {type(self.optimizer).__name__}")
        if arguments(type(self.optimizer).step, "self").get("closure") is NEEDED:
            raise Refusal("its step needs a closure that computes the loss anew, and a probe has gradients alone")

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        now = self._named(numbers)
        for group in self.optimizer.param_groups:
            group.update({name: value for name, value in now.items() if name in group})
        for tensor, g in zip(self.tensors, grads, strict=True):
            tensor.grad = self.torch.tensor(g, device=self.device)
        with default_dtype(self.torch, self.tensors if self.widen else ()):
            self.optimizer.step()
        return [tensor.detach().cpu().numpy().copy() for tensor in self.tensors]

    def put_on(self, device: str) -> None:
        self.device, self.dtypes = device, dtypes_on(self.torch, device)
        self.versions = {**self.versions, **version_of(self.torch, device)}

    def _named(self, numbers: Mapping[str, float]) -> dict[str, Any]:
        """The numbers under torch's names."""
        return paired(numbers, self.pairs, self.arguments)

    def _takes(self, name: str) -> bool:
        return name in self.own or (self.any_argument and not any(name in two for two in self.pairs.values()))

    def _groups(self) -> Mapping[str, Any]:
        """A parameter group of an optimizer made of the defaults alone; nothing if it cannot be."""
        try:
            return dict(self.make([self.torch.zeros(1, requires_grad=True)], **self.kept).param_groups[0])
        except Exception:  # a stranger's: it may need an argument, or refuse whatever it likes
            return {}

    def _in_groups(self, groups: Mapping[str, Any]) -> frozenset[str] | None:
        """The arguments that its parameter groups hold; None if it cannot be made of its defaults alone."""
        if not groups:
            return None
        return frozenset(groups).union(*pairs_in(groups).values())


def _is_hyper(name: str, value: Any) -> bool:
    return is_number(value) or name in PAIRS
