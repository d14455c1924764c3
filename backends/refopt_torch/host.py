"""Numbers that are the same for all elements: Python floats, which the host computes and torch rounds once.

Only `on_host` may be given a tensor, and only by a rule of which the model's numbers depend on one: to read it the host
waits for the device.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def divide(a: float, b: float) -> float:
    """a / b, where Python would raise: x/0 is infinity, 0/0 is NaN."""
    if b != 0:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def two_parts(beta: float, dtype: torch.dtype) -> tuple[float, float]:
    """beta as a number that the dtype holds, and the rest: positive or zero, so that an infinite slot stays infinite.

    Rounded to float32, 0.999 is 13e-9 too large; one minus it, and with it an average, is then off by 110 ULPs.
    """
    if dtype == torch.float64:
        return beta, 0.0
    head = float(np.float32(beta))
    if head > beta:
        head = float(np.nextafter(np.float32(beta), np.float32(0)))
    return head, beta - head


def in_turns(beta: float, t: int, dtype: torch.dtype) -> float:
    """What a slot decays by at step t: in float32 one of beta's two neighbours, in turns.

    Over many steps their product is that of beta itself, to one ULP. Of `two_parts` this is the cheap half: it costs no
    pass over the slot.
    """
    low, rest = two_parts(beta, dtype)
    if not rest:
        return beta
    high = float(np.nextafter(np.float32(low), np.float32(1)))
    share = rest / (high - low)  # how many of the steps take the higher one
    return high if math.floor(t * share) > math.floor((t - 1) * share) else low


def split_power(rate: float) -> tuple[float, float]:
    """A power of two and what is left of the rate, from 1 to 2. Of zero and infinity there is nothing to split off."""
    if rate == 0 or not math.isfinite(rate):
        return rate, 1.0
    fraction, exponent = math.frexp(rate)
    return math.ldexp(1.0, exponent - 1), 2 * fraction


def on_host(total: Tensor) -> float:
    """What a total is, as a number of the model: the host waits for the device."""
    return float(total)
