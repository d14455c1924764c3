"""`torch.optim.Optimizer` classes, driven on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.subjects.base import arguments, hyper_names, signature

OPTIMIZER = "torch.optim.optimizer.Optimizer"
BETAS = ("beta1", "beta2")  # torch has them as one argument, betas


class TorchSubject:
    """A torch optimizer class."""

    framework = "torch"

    def __init__(self, name: str, target: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.name, self.target = name, target
        self.torch = importlib.import_module("torch")
        betas: Any = arguments(target)["betas"].default if "betas" in arguments(target) else None
        self.betas = isinstance(betas, tuple) and len(betas) == len(BETAS)  # some have three, which mean other things
        names = hyper_names(target) | ({beta: beta for beta in BETAS} if self.betas else {})
        options = dict(options)
        if self.betas and isinstance(given := options.get("betas"), tuple | list):
            if len(given) != len(BETAS):
                raise RefoptError(f"{name}: betas must be two numbers; got {options['betas']!r}")
            options |= dict(zip(BETAS, options.pop("betas"), strict=True))
        self.signature = signature(name, target, options, names)
        self.fixed, self.defaults = self.signature.fixed, dict(self.signature.defaults)
        if self.betas:
            self.defaults |= dict(zip(BETAS, betas, strict=True))
        self.settable = self.per_step = frozenset(names.values())
        self.versions = {"torch": self.torch.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        return any(f"{c.__module__}.{c.__qualname__}" == OPTIMIZER for c in getattr(target, "__mro__", ()))

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        torch = self.torch
        tensors = [torch.tensor(w).requires_grad_() for w in params]
        try:
            optimizer = self.target(tensors, **self._arguments(hyper[0]), **self.signature.others)
        except (TypeError, ValueError, RuntimeError) as error:
            raise Unsupported(f"{self.name} cannot be made with {hyper[0]}: {error}") from error
        results = []
        for now, gradients in zip(hyper, grads, strict=True):
            for group in optimizer.param_groups:
                group.update(self._arguments(now))
            for tensor, g in zip(tensors, gradients, strict=True):
                tensor.grad = torch.tensor(g)
            optimizer.step()
            results.append([tensor.detach().numpy().copy() for tensor in tensors])
        return results

    def _arguments(self, hyper: Mapping[str, float]) -> dict[str, Any]:
        """The numbers under torch's names."""
        given: dict[str, Any] = {self.signature.argument[name]: value for name, value in hyper.items()}
        if self.betas and BETAS[0] in given:
            given["betas"] = tuple(given.pop(beta) for beta in BETAS)
        return given
