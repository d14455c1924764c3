"""Adam: m and v average the gradient and its square, w = w - lr * m_hat / (sqrt(v_hat) + eps).

The step is one addcdiv, and few roundings are on the way to it. The first correction is folded into the learning rate,
lr / c1, on the host. Of that only the power of two multiplies the step, which is exact; the rest, between 1 and 2,
divides the denominator, and does so before the root, which halves its rounding, together with the second correction.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from refopt_torch._shared import COMPLEX, DECAY, STATE, Axes, Port, decay_after_, decay_before_, decayed_gradient
from refopt_torch.host import divide, in_turns, split_power
from refopt_torch.pairs import add_squares_


def adam_(
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
    wd: float,
) -> None:
    m, v = slots["m"], slots["v"]
    g = decayed_gradient(axes, g, w, wd)
    # Not lerp_: m + (1 - beta1)*(g - m) is NaN where m and g are the same infinity.
    torch._foreach_mul_(m, in_turns(beta1, t, m[0].dtype))
    torch._foreach_add_(m, g, alpha=1 - beta1)
    torch._foreach_mul_(v, in_turns(beta2, t, v[0].dtype))
    add_squares_(axes, v, g, 1 - beta2)

    c1 = correction(axes, slots, "p1", beta1, t) if corrects_first(axes) else 1.0
    c2 = correction(axes, slots, "p2", beta2, t) if corrects_second(axes) else 1.0
    power, rest = split_power(divide(lr, c1))
    d = corrected_second_moment(axes, slots, c2, rest)
    denominator_(axes, d, c2, rest, eps=eps, eps_root=eps_root)

    decay_before_(axes, w, lr=lr, wd=wd)
    torch._foreach_addcdiv_(w, m, d, value=-power)
    decay_after_(axes, w, lr=lr, wd=wd)


def corrects_first(axes: Axes) -> bool:
    return axes["bias"] in ("both", "m_only")


def corrects_second(axes: Axes) -> bool:
    return axes["bias"] in ("both", "v_only")


def correction(axes: Axes, slots: dict[str, Any], product: str, beta: float, t: int) -> float:
    """1 - beta**t, t as the implementation counts it, or one minus the product of the betas so far."""
    if axes["power"] == "product":
        slots[product] *= beta
        return 1 - slots[product]
    return 1 - beta ** (t - 1 + int(axes["first_t"]))


def corrected_second_moment(axes: Axes, slots: dict[str, Any], c2: float, rest: float) -> list[Tensor]:
    """A new list v / c2, or the largest so far: raw takes it of v, corrected of v / c2. All is divided by rest**2."""
    if axes["amsgrad"] == "raw":
        torch._foreach_maximum_(slots["v_max"], slots["v"])
        return list(torch._foreach_div(slots["v_max"], c2 * rest**2))
    if axes["amsgrad"] == "corrected":
        torch._foreach_maximum_(slots["v_max"], torch._foreach_div(slots["v"], c2))
        return list(torch._foreach_div(slots["v_max"], rest**2))
    return list(torch._foreach_div(slots["v"], c2 * rest**2))


def denominator_(axes: Axes, d: list[Tensor], c2: float, rest: float, *, eps: float, eps_root: float) -> None:
    """From v_hat / rest**2 to what divides the step. An eps that joins the raw moment is divided by c2, as v is."""
    inside, outside = {
        "outside_hat": (0.0, eps),
        "outside_raw": (0.0, divide(eps, math.sqrt(c2))),
        "inside_hat": (eps, 0.0),
        "inside_raw": (divide(eps, c2), 0.0),
        "both": (eps_root, eps),
    }[axes["eps_at"]]
    if inside:  # adding a zero to a square, or to its root, changes nothing
        torch._foreach_add_(d, inside / rest**2)
    torch._foreach_sqrt_(d)
    if outside:
        torch._foreach_add_(d, outside / rest)


def slots(axes: Axes) -> dict[str, str | float]:
    found: dict[str, str | float] = {"m": "zeros", "v": "zeros"}
    if axes["power"] == "product":
        found |= {"p1": 1.0} if corrects_first(axes) else {}
        found |= {"p2": 1.0} if corrects_second(axes) else {}
    return found | ({"v_max": "zeros"} if axes["amsgrad"] != "no" else {})


ADAM = Port(
    choices={
        "decay": DECAY,
        "power": ("power", "product"),
        "first_t": ("1", "0", "2"),
        "bias": ("both", "none", "m_only", "v_only"),
        "eps_at": ("outside_hat", "outside_raw", "inside_hat", "inside_raw", "both"),
        "amsgrad": ("no", "raw", "corrected"),
        **STATE,
        **COMPLEX,
    },
    slots=slots,
    update=adam_,
)
