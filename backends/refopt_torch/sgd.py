"""Stochastic gradient descent: w = w - lr*g."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import DECAY, Axes, Port, decay_after_, decayed_gradient, element_slots


def sgd_(w: list[Tensor], g: list[Tensor], slots: dict[str, Any], *, t: int, axes: Axes, lr: float, wd: float) -> None:
    # New tensors before any write: the gradients of w0*w1 are the parameters themselves.
    g = decayed_gradient(axes, g, w, wd)
    kept = torch._foreach_add(w, w, alpha=-wd) if axes["decay"] == "decoupled_no_lr" else w
    torch._foreach_copy_(w, torch._foreach_add(kept, g, alpha=-lr))
    decay_after_(axes, w, lr=lr, wd=wd)


SGD = Port(
    # Decoupled decay before the step is the L2 one here: w - lr*(g + wd*w).
    choices={"decay": tuple(choice for choice in DECAY if choice != "decoupled")},
    slots=element_slots(),
    update=sgd_,
)
