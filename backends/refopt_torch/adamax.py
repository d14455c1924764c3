"""AdaMax: m averages the gradient, u is the largest of beta2*u and |g|, w = w - lr/(1 - beta1**t) * m / u."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, DECAY, STATE, Axes, Port, decay_after_, decay_before_, decayed_gradient
from refopt_torch.host import divide, in_turns
from refopt_torch.pairs import sizes


def adamax_(
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
    wd: float,
) -> None:
    m, u = slots["m"], slots["u"]
    g = decayed_gradient(axes, g, w, wd)
    # Not lerp_: m + (1 - beta1)*(g - m) is NaN where m and g are the same infinity.
    torch._foreach_mul_(m, in_turns(beta1, t, m[0].dtype))
    torch._foreach_add_(m, g, alpha=1 - beta1)

    size = sizes(axes, g)
    torch._foreach_mul_(u, in_turns(beta2, t, u[0].dtype))
    if axes["eps_at"] in ("gradient", "norm"):
        torch._foreach_add_(size if axes["eps_at"] == "gradient" else u, eps)
    torch._foreach_maximum_(u, size)
    d = torch._foreach_add(u, eps) if axes["eps_at"] == "denominator" else u

    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_addcdiv_(w, m, d, value=-divide(lr, correction(axes, slots, beta1, t)))
    decay_after_(axes, w, lr=lr, wd=wd)


def correction(axes: Axes, slots: dict[str, Any], beta1: float, t: int) -> float:
    """What the first moment lacks for its start at zero: 1 - beta1**t, or one minus the product of the beta1 so far."""
    if axes["bias"] == "none":
        return 1.0
    if axes["power"] == "product":
        slots["p1"] *= beta1
        return 1 - slots["p1"]
    return 1 - beta1**t


def slots(axes: Axes) -> dict[str, str | float]:
    found: dict[str, str | float] = {"m": "zeros", "u": "zeros"}
    return found | ({"p1": 1.0} if axes["power"] == "product" and axes["bias"] == "m" else {})


ADAMAX = Port(
    choices={
        "decay": DECAY,
        "power": ("power", "product"),
        "bias": ("m", "none"),
        "eps_at": ("none", "gradient", "norm", "denominator"),
        **STATE,
        **COMPLEX,
    },
    slots=slots,
    update=adamax_,
)
