"""RAdam: Adam's step times a rectification, and the step of momentum as long as the second moment is too young.

The host decides which of them it is. All that scales the step is one number there.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import (
    COMPLEX,
    DECAY,
    STATE,
    Axes,
    Port,
    decay_after_,
    decay_before_,
    decayed_gradient,
    element_slots,
)
from refopt_torch.host import in_turns
from refopt_torch.pairs import add_squares_


def radam_(
    w: list[Tensor],
    g: list[Tensor],
    slots: dict[str, Any],
    *,
    t: int,
    axes: Axes,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    eps_root: float,
    threshold: float,
    wd: float,
) -> None:
    m, v = slots["m"], slots["v"]
    g = decayed_gradient(axes, g, w, wd)
    torch._foreach_mul_(m, in_turns(beta1, t, m[0].dtype))
    torch._foreach_add_(m, g, alpha=1 - beta1)
    torch._foreach_mul_(v, in_turns(beta2, t, v[0].dtype))
    add_squares_(axes, v, g, 1 - beta2)

    t += int(axes["first_t"]) - 1  # as the implementation counts it
    scale = rectification(axes, t, beta2, threshold)
    if scale is None and axes["warm_up"] == "skip":
        return
    step, rate = corrected(axes, m, g, t, beta1)
    decay_before_(axes, w, lr=lr, wd=wd)
    if scale is None:
        torch._foreach_add_(w, step, alpha=-lr * rate)
    else:
        d = denominator(axes, v, 1 - beta2**t, eps=eps, eps_root=eps_root)
        torch._foreach_add_(w, torch._foreach_div(step, d), alpha=-lr * rate * scale)
    decay_after_(axes, w, lr=lr, wd=wd)


def rectification(axes: Axes, t: int, beta2: float, threshold: float) -> float | None:
    """What the adaptive step of step t is multiplied with; None where it is too early for one."""
    remaining = beta2**t
    limit = 2 / (1 - beta2) - 1
    length = limit - 2 * t * remaining / (1 - remaining)
    if not length > (threshold if axes["threshold_at"] == "given" else int(axes["threshold_at"])):
        return None
    return math.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))


def corrected(axes: Axes, m: list[Tensor], g: list[Tensor], t: int, beta1: float) -> tuple[list[Tensor], float]:
    """The corrected first moment as tensors and a number that they are to be multiplied with.

    Looking ahead, it is made of the moment as the next step will weigh it, and of the gradient.
    """
    c1 = 1 - beta1**t
    if axes["nesterov"] == "no":
        return m, 1 / c1
    step = list(torch._foreach_mul(m, beta1 / (1 - beta1 ** (t + 1))))
    torch._foreach_add_(step, g, alpha=(1 - beta1) / c1)
    return step, 1.0


def denominator(axes: Axes, v: list[Tensor], c2: float, *, eps: float, eps_root: float) -> list[Tensor]:
    """The root of the corrected second moment, and epsilon: new tensors."""
    outside = eps / math.sqrt(c2) if axes["eps_at"] == "outside_raw" else eps
    d = list(torch._foreach_div(v, c2))
    if axes["eps_at"] == "both" and eps_root:  # adding a zero to a square, or to its root, changes nothing
        torch._foreach_add_(d, eps_root)
    torch._foreach_sqrt_(d)
    if outside:
        torch._foreach_add_(d, outside)
    return d


RADAM = Port(
    choices={
        "warm_up": ("sgd", "skip"),
        "decay": DECAY,
        "threshold_at": ("4", "5", "given"),
        "eps_at": ("outside_hat", "outside_raw", "both"),
        "nesterov": ("no", "yes"),
        "first_t": ("1", "2"),
        **STATE,
        **COMPLEX,
    },
    slots=element_slots("m", "v"),
    update=radam_,
)
