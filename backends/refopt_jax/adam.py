"""Adam: w = w - lr*m_hat/(sqrt(v_hat) + eps), with running averages m of g and v of g*g, corrected for their start.

`power="product"` corrects by the product of the betas so far: two numbers for the whole model, kept in float64 on the
host and advanced by `advance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import (
    DECAY,
    Axes,
    Scalar,
    Slots,
    decay_after,
    decay_before,
    decayed_gradient,
    one_minus_power,
    rounded,
)

CHOICES = {
    "decay": DECAY,
    "power": ("power", "product"),
    "first_t": ("1", "0", "2"),
    "bias": ("both", "none", "m_only", "v_only"),
    "eps_at": ("outside_hat", "outside_raw", "inside_hat", "inside_raw", "both"),
    "amsgrad": ("no", "raw", "corrected"),
}


class Coefficients(NamedTuple):
    lr: Scalar
    beta1: Scalar
    one_minus_beta1: Scalar
    beta2: Scalar
    one_minus_beta2: Scalar
    c1: Scalar  # the bias corrections; 1 where there is none
    c2: Scalar
    eps: Scalar  # as it meets the corrected moment
    eps_root: Scalar
    wd: Scalar
    lr_wd: Scalar


def advance(values: Mapping[str, float], products: Mapping[str, float]) -> dict[str, float]:
    """The products of the betas (slots p1 and p2, where the axes keep them) after one more step."""
    betas = {"p1": values["beta1"], "p2": values["beta2"]}
    return {name: product * betas[name] for name, product in products.items()}


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t. `values` holds the advanced products too, where the axes keep them."""
    lr, beta1, beta2, eps, wd = (values[name] for name in ("lr", "beta1", "beta2", "eps", "wd"))
    c1 = _correction(axes, values, "p1", beta1, t) if axes["bias"] in ("both", "m_only") else 1.0
    c2 = _correction(axes, values, "p2", beta2, t) if axes["bias"] in ("both", "v_only") else 1.0
    # "raw" adds eps to the uncorrected moment: seen from the corrected one, eps is divided by the correction.
    if axes["eps_at"] == "outside_raw":
        eps = eps / xp.sqrt(c2)
    elif axes["eps_at"] == "inside_raw":
        eps = eps / c2
    return Coefficients(
        lr=lr,
        beta1=beta1,
        one_minus_beta1=1 - beta1,
        beta2=beta2,
        one_minus_beta2=1 - beta2,
        c1=c1,
        c2=c2,
        eps=eps,
        eps_root=values["eps_root"],
        wd=wd,
        lr_wd=lr * wd,
    )


def _correction(axes: Axes, values: Mapping[str, Scalar], product: str, beta: float, t: Scalar) -> Scalar:
    if axes["power"] == "product":
        return 1 - values[product]
    first = {"0": -1, "1": 0, "2": 1}[axes["first_t"]]  # t counts from 1
    return one_minus_power(beta, t + first)


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    m = c.beta1 * slots["m"] + c.one_minus_beta1 * g
    v = c.beta2 * slots["v"] + c.one_minus_beta2 * g * g
    new = {"m": m, "v": v}
    m_hat = m / c.c1
    v_hat = v / c.c2
    if axes["amsgrad"] == "raw":
        new["v_max"] = jnp.maximum(slots["v_max"], v)
        v_hat = new["v_max"] / c.c2
    elif axes["amsgrad"] == "corrected":
        new["v_max"] = v_hat = jnp.maximum(slots["v_max"], v_hat)
    if axes["eps_at"] in ("inside_hat", "inside_raw"):
        d = jnp.sqrt(v_hat + c.eps)
    elif axes["eps_at"] == "both":
        d = jnp.sqrt(v_hat + c.eps_root) + c.eps
    else:
        d = jnp.sqrt(v_hat) + c.eps
    w = decay_before(axes, c, w)
    w = w - c.lr * m_hat / d
    return decay_after(axes, c, w), new
