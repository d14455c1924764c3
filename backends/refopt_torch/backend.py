"""The torch backend: refopt's hooks on top of the port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refopt.spec.backend import REAL_OF, Slots
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper
from refopt_torch import arrays, sharded
from refopt_torch.pairs import refused_complex, seen
from refopt_torch.step import (
    Call,
    check_step,
    check_whole,
    get_port,
    initial_slot,
    refused,
    run_step_,
    working_dtype,
)


class TorchBackend:
    """Runs every rule on dense floating-point tensors, sharded or not. See `refopt.spec.backend.Backend`."""

    name = "torch"
    in_place = True

    def version(self) -> str:
        return f"torch {torch.__version__}"

    def devices(self) -> tuple[str, ...]:
        return arrays.devices()

    def owns(self, array: Any) -> bool:
        return isinstance(array, Tensor)

    def supports(self, hyper: Hyper, dtype: str, device: str | None = None) -> str | None:
        try:
            get_port(hyper.rule.algorithm, hyper.axes)
        except Unsupported as reason:
            return str(reason)
        return (refused_complex(hyper) if dtype in REAL_OF else refused(dtype)) or arrays.absent(device)

    def adopt(self, array: Any, device: str | None = None) -> Tensor:
        return arrays.adopt(array, device)

    def beside(self, array: Any, other: Tensor) -> Tensor:
        return array if self.owns(array) else sharded.placed(arrays.adopt(array, None), other)

    def to_numpy(self, array: Tensor) -> np.ndarray:
        return arrays.to_numpy(array)

    def as_pairs(self, array: Tensor) -> Tensor:
        return seen(array)

    def as_complex(self, pairs: Tensor) -> Tensor:
        return torch.view_as_complex(pairs)

    def init(self, hyper: Hyper, params: Sequence[Tensor]) -> Slots:
        port = get_port(hyper.rule.algorithm, hyper.axes)
        check_whole(port, hyper.axes, params)
        return {
            name: [initial_slot(hyper.axes, p, init) for p in params] if isinstance(init, str) else init
            for name, init in port.slots(hyper.axes).items()
        }

    def update(
        self,
        hyper: Hyper,
        t: int,
        params: Sequence[Tensor],
        grads: Sequence[Tensor] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> tuple[list[Tensor], Slots]:
        """Step number t. Without `in_place` the new parameters are detached clones."""
        rule, axes, new = hyper.rule.algorithm, hyper.axes, dict(slots)
        check_step(rule, axes, params, grads, slots)
        if not in_place:
            params = [p.detach().clone() for p in params]
            new = {name: [x.clone() for x in slot] if isinstance(slot, list) else slot for name, slot in new.items()}
        run_step_(rule, axes, [Call(hyper.values, t, params, grads, new, [hyper.by_modulus] * len(params))])
        return list(params), new

    @torch.no_grad()
    def assign(self, params: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        for p, value in zip(params, values, strict=True):
            p.copy_(value)

    @torch.no_grad()
    def average(self, hyper: Hyper, t: int, params: Sequence[Tensor], slots: Slots) -> list[Tensor]:
        compute = get_port(hyper.rule.algorithm, hyper.axes).average
        if compute is None:
            raise RefoptError(f"torch: {hyper.rule.name} has no average; evaluate with the parameters themselves")
        dtypes = [working_dtype(p) for p in params]
        shards = {
            name: [sharded.shard(x).to(dtype) for x, dtype in zip(slot, dtypes, strict=True)]
            if isinstance(slot, list)
            else slot
            for name, slot in slots.items()
        }
        averages = compute(shards, t=t, axes=hyper.axes, **hyper.values) if params else []
        return [sharded.like(a.to(p.dtype), p) for a, p in zip(averages, params, strict=True)]


BACKEND = TorchBackend()
