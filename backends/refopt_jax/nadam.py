"""Nadam: Adam whose step looks ahead. It moves by the moment as the next step will weigh it, and by today's gradient.

Each of the two is divided by its own correction: one minus the product of the momenta up to the next step, and up to
this one. The product is one number for the whole model, advanced by `advance`; of a constant momentum it is a power.
All that scales them is folded into two numbers: the step is made of ahead*m + now*g.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from refopt_jax._shared import (
    COMPLEX,
    DECAY,
    STATE,
    Axes,
    Scalar,
    Slots,
    carried,
    decay_after,
    decay_before,
    decayed_gradient,
    one_minus_power,
    rounded,
    two_parts,
)
from refopt_jax.pairs import squares

CHOICES = {
    "decay": DECAY,
    "schedule": ("warm_up", "fast_warm_up", "constant"),
    "m_decay": ("momentum", "beta1"),
    "m_correction": ("next", "same"),
    "v_scale": ("beta2", "one"),
    "eps_at": ("outside_hat", "outside_raw", "inside_hat", "both"),
    **STATE,
    **COMPLEX,
}


class Coefficients(NamedTuple):
    lr: Scalar
    decay: Scalar  # of the first moment, in two parts
    decay_rest: Scalar
    one_minus_decay: Scalar
    beta2: Scalar
    beta2_rest: Scalar
    one_minus_beta2: Scalar
    ahead: Scalar  # what the moment and the gradient are multiplied with
    now: Scalar
    over_c2: Scalar  # what v is
    inside: Scalar  # what is added inside the root, and to it
    outside: Scalar
    wd: Scalar
    lr_wd: Scalar


def momentum(axes: Axes, values: Mapping[str, Scalar], t: Scalar) -> Scalar:
    """The momentum of step t, which warms up from half of beta1."""
    if axes["schedule"] == "constant":
        return values["beta1"]
    pace = values["psi"] if axes["schedule"] == "warm_up" else 1.0
    return values["beta1"] * (1 - 0.5 * 0.96 ** (t * pace))


def advance(
    axes: Axes, values: Mapping[str, Scalar], products: Mapping[str, Scalar], t: Scalar, xp: Any
) -> dict[str, Scalar]:
    """The product of the momenta, where it is kept, up to step t."""
    return {name: product * momentum(axes, values, t) for name, product in products.items()}


def coefficients(axes: Axes, values: Mapping[str, Scalar], t: Scalar, xp: Any) -> Coefficients:
    """The scalars of step t. `values` holds the advanced product too, where there is one."""
    lr, eps, wd = values["lr"], values["eps"], values["wd"]
    mu, mu_next = momentum(axes, values, t), momentum(axes, values, t + 1)
    if axes["schedule"] == "constant":
        c1, c1_next = one_minus_power(mu, t), one_minus_power(mu, t + 1)
    else:
        c1, c1_next = 1 - values["p"], 1 - values["p"] * mu_next
    if axes["m_correction"] == "same":
        c1_next = c1
    c2 = one_minus_power(values["beta2"], t)
    inside, outside = {
        "outside_hat": (0.0, eps),
        "outside_raw": (0.0, eps / xp.sqrt(c2)),
        "inside_hat": (eps, 0.0),
        "both": (values["eps_root"], eps),
    }[axes["eps_at"]]
    decay = values["beta1"] if axes["m_decay"] == "beta1" else mu
    head, rest = two_parts(decay) if isinstance(decay, float) else (decay, 0.0)  # inside a trace mu is an array
    beta2, beta2_rest = two_parts(values["beta2"])
    return Coefficients(
        lr=lr,
        decay=head,
        decay_rest=rest,
        one_minus_decay=1 - decay,
        beta2=beta2,
        beta2_rest=beta2_rest,
        one_minus_beta2=1 - values["beta2"],
        ahead=mu_next / c1_next,
        now=(1 - mu) / c1,
        over_c2=(values["beta2"] if axes["v_scale"] == "beta2" else 1.0) / c2,
        inside=inside,
        outside=outside,
        wd=wd,
        lr_wd=lr * wd,
    )


def update(axes: Axes, c: Coefficients, w: jax.Array, g: jax.Array, slots: Slots) -> tuple[jax.Array, Slots]:
    """One step of one parameter."""
    c = rounded(c, w.dtype)
    g = decayed_gradient(axes, c, w, g)
    m = carried(c.decay, c.decay_rest, slots["m"], c.one_minus_decay * g)
    v = carried(c.beta2, c.beta2_rest, slots["v"], squares(axes, c.one_minus_beta2 * g * g))
    d = jnp.sqrt(v * c.over_c2 + c.inside) + c.outside
    w = decay_before(axes, c, w)
    w = w - c.lr * ((c.ahead * m + c.now * g) / d)
    return decay_after(axes, c, w), {"m": m, "v": v}
