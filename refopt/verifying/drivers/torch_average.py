"""Averages of parameters from `torch.optim.swa_utils`: `AveragedModel`, and the functions that make its `avg_fn`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .base import DTYPES, Arrays, arguments
from .torch_places import default_dtype, dtypes_on, version_of

MODULE = "torch.optim.swa_utils"
MODEL = f"{MODULE}.AveragedModel"
MAKERS = {"get_ema_avg_fn": "avg_fn", "get_swa_avg_fn": "avg_fn",
          "get_ema_multi_avg_fn": "multi_avg_fn", "get_swa_multi_avg_fn": "multi_avg_fn"}  # fmt: skip


class TorchAverageDriver:
    """An `AveragedModel` of a module that has nothing but parameters."""

    framework = "torch"
    average = True
    any_argument = False
    per_step: frozenset[str] = frozenset()
    device = "cpu"
    widen = True
    dtypes: Sequence[str] = DTYPES

    def __init__(self, target: Any) -> None:
        self.torch = importlib.import_module("torch")
        self.averaged = importlib.import_module(MODULE).AveragedModel
        self.target = target
        self.argument = MAKERS.get(getattr(target, "__name__", ""))  # None: the target is the model itself
        self.arguments = arguments(target, "model")
        self.versions = {"torch": self.torch.__version__}

    @staticmethod
    def takes(target: Any) -> bool:
        place = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"
        return place == MODEL or place in (f"{MODULE}.{maker}" for maker in MAKERS)

    def start(self, params: Arrays, numbers: Mapping[str, float], options: Mapping[str, Any]) -> None:
        torch = self.torch
        made = (torch.tensor(w, device=self.device) for w in params)
        self.tensors = torch.nn.ParameterList([torch.nn.Parameter(w) for w in made])
        if self.argument is None:
            self.model = self.averaged(self.tensors, **numbers, **options)
        else:
            self.model = self.averaged(self.tensors, **{self.argument: self.target(**numbers, **options)})

    def step(self, grads: Arrays, numbers: Mapping[str, float]) -> list[np.ndarray]:
        with self.torch.no_grad():
            for tensor, value in zip(self.tensors, grads, strict=True):
                tensor.copy_(self.torch.tensor(value))
        with default_dtype(self.torch, list(self.tensors) if self.widen else ()):
            self.model.update_parameters(self.tensors)
        return [tensor.detach().cpu().numpy().copy() for tensor in self.model.module.parameters()]

    def put_on(self, device: str) -> None:
        self.device, self.dtypes = device, dtypes_on(self.torch, device)
        self.versions = {**self.versions, **version_of(self.torch, device)}
