"""`torch.optim.Optimizer` classes and factories, driven in float64 on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refopt.spec.errors import Unsupported
from refopt.verifying.subjects.base import arguments, check_options, hyper_names, numeric_defaults, split_options


class TorchSubject:
    """A class or function that takes parameters and returns a torch optimizer."""

    framework = "torch"

    def __init__(
        self, name: str, target: Callable[..., Any], options: Mapping[str, Any], dtype: str = "float64"
    ) -> None:
        self.name, self.target, self.dtype = name, target, dtype
        self.torch = importlib.import_module("torch")
        names = hyper_names(target)
        taken = arguments(target)
        self.betas = "betas" in taken
        known = {**names, **({"beta1": "beta1", "beta2": "beta2"} if self.betas else {})}
        options = dict(options)
        if isinstance(options.get("betas"), tuple | list):
            options["beta1"], options["beta2"] = options.pop("betas")
        self.argument = {ours: theirs for theirs, ours in names.items()}
        self.fixed, self.others = split_options(name, options, known)
        check_options(name, self.others, target)
        self.defaults = numeric_defaults(target, names)
        if self.betas and isinstance(taken["betas"].default, tuple):
            self.defaults |= dict(zip(("beta1", "beta2"), taken["betas"].default, strict=True))
        self.settable = frozenset(known.values())
        self.per_step = self.settable
        self.versions = {"torch": self.torch.__version__}
        self.notes: tuple[str, ...] = ()

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        torch = self.torch
        dtype = getattr(torch, self.dtype)
        tensors = [torch.tensor(w, dtype=dtype).requires_grad_() for w in params]
        try:
            optimizer = self.target(tensors, **self._arguments(hyper[0]), **self.others)
        except (TypeError, ValueError, RuntimeError) as error:
            raise Unsupported(f"{self.name} cannot be made with {hyper[0]}: {error}") from error
        results = []
        for now, gradients in zip(hyper, grads, strict=True):
            for group in optimizer.param_groups:
                group.update(self._arguments(now))
            for tensor, g in zip(tensors, gradients, strict=True):
                tensor.grad = torch.tensor(g, dtype=dtype)
            optimizer.step()
            results.append([tensor.detach().numpy().copy() for tensor in tensors])
        return results

    def _arguments(self, hyper: Mapping[str, float]) -> dict[str, Any]:
        """The numbers under torch's names."""
        given: dict[str, Any] = {self.argument[name]: value for name, value in hyper.items() if name in self.argument}
        if self.betas and "beta1" in hyper:
            given["betas"] = (hyper["beta1"], hyper["beta2"])
        return given
