"""A backend for refopt in one module: sgd, momentum and adam on the arrays of array-api-strict.

array-api-strict offers what the Python array API standard demands, and nothing more. So this module runs on any library
that follows the standard; it is the import below that decides.

The rules are written here a second time, from their pages and not from refopt's source. That makes the backend a
witness: `refopt conform strict` compares two programs that have nothing in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import array_api_strict as xp
import numpy as np

from refopt.spec.backend import Slots
from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper

Array = Any  # xp has a class of arrays, but the standard gives it no name
Axes = Mapping[str, str]
Numbers = Mapping[str, float]
State = dict[str, Array]  # the slots of one parameter

DTYPES = ("float32", "float64")  # the standard has no float16 and no bfloat16
DEVICE = "cpu"

# The choices that the functions below know, per axis. An axis that is not named here must stay at its first choice:
# when refopt gains an axis, this backend refuses it, rather than ignore it.
KNOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "sgd": {"decay": ("none", "l2")},
    "momentum": {
        "decay": ("none", "l2", "decoupled"),
        "gradient_scale": ("one", "dampening", "ema"),
        "lr_at": ("outside", "inside"),
        "first_step": ("zeros", "copy_gradient"),
        "nesterov": ("no", "yes"),
    },
    "adam": {
        "decay": ("none", "l2", "decoupled"),
        "eps_at": ("outside_hat", "outside_raw", "inside_hat", "inside_raw"),
        "complex": ("refuse", "parts", "modulus"),  # any: it takes real parameters alone, of which this says nothing
    },
}


def sgd(axes: Axes, k: Numbers, t: int, w: Array, g: Array, s: State) -> tuple[Array, State]:
    """w = w - lr*g"""
    if axes["decay"] == "l2":
        g = g + k["wd"] * w
    return w - k["lr"] * g, {}


def momentum(axes: Axes, k: Numbers, t: int, w: Array, g: Array, s: State) -> tuple[Array, State]:
    """u = mu*u + g; w = w - lr*u"""
    if axes["decay"] == "l2":
        g = g + k["wd"] * w
    if axes["lr_at"] == "inside":
        g = k["lr"] * g
    if t == 1 and axes["first_step"] == "copy_gradient":
        u = xp.asarray(g, copy=True)
    else:
        scale = {"one": 1.0, "dampening": 1 - k["dampening"], "ema": 1 - k["mu"]}[axes["gradient_scale"]]
        u = k["mu"] * s["u"] + scale * g
    step = g + k["mu"] * u if axes["nesterov"] == "yes" else u
    if axes["decay"] == "decoupled":
        w = w - k["lr"] * k["wd"] * w
    return w - (step if axes["lr_at"] == "inside" else k["lr"] * step), {"u": u}


def adam(axes: Axes, k: Numbers, t: int, w: Array, g: Array, s: State) -> tuple[Array, State]:
    """w = w - lr * m_hat / (sqrt(v_hat) + eps)"""
    if axes["decay"] == "l2":
        g = g + k["wd"] * w
    m = k["beta1"] * s["m"] + (1 - k["beta1"]) * g
    v = k["beta2"] * s["v"] + (1 - k["beta2"]) * g * g
    # Python floats: computed in float64, rounded once when they meet an array.
    c1, c2 = 1 - k["beta1"] ** t, 1 - k["beta2"] ** t
    if axes["eps_at"] == "outside_hat":
        d = xp.sqrt(v / c2) + k["eps"]
    elif axes["eps_at"] == "outside_raw":
        d = xp.sqrt(v / c2) + k["eps"] / c2**0.5
    elif axes["eps_at"] == "inside_hat":
        d = xp.sqrt(v / c2 + k["eps"])
    else:
        d = xp.sqrt(v / c2 + k["eps"] / c2)
    if axes["decay"] == "decoupled":
        w = w - k["lr"] * k["wd"] * w
    return w - k["lr"] * (m / c1) / d, {"m": m, "v": v}


RULES = {"sgd": sgd, "momentum": momentum, "adam": adam}


class StrictBackend:
    """The hooks that refopt calls; `refopt.spec.backend.Backend` says what each must do."""

    name = "strict"
    in_place = True

    def version(self) -> str:
        return f"array_api_strict {xp.__version__}"

    def devices(self) -> tuple[str, ...]:
        return (DEVICE,)

    def owns(self, array: Any) -> bool:
        return hasattr(array, "__array_namespace__") and array.__array_namespace__() is xp

    def supports(self, hyper: Hyper, dtype: str, device: str | None = None) -> str | None:
        rule = hyper.rule.name
        if rule not in RULES:
            return f"strict: {rule} is not implemented, only {', '.join(RULES)}; use the numpy backend"
        for axis in hyper.rule.axes:
            known = KNOWN[rule].get(axis.name, axis.choices[:1])
            if (choice := hyper.axes[axis.name]) not in known:
                return f"strict: {rule} has {axis.name} {' or '.join(known)}, not {choice!r}; use the numpy backend"
        if dtype not in DTYPES:
            return f"strict: parameters must be {' or '.join(DTYPES)}; got {dtype}"
        return self._refuse_device(device)

    def adopt(self, array: Any, device: str | None = None) -> Array:
        if problem := self._refuse_device(device):
            raise Unsupported(problem)
        if self.owns(array):
            return array
        if isinstance(array, np.ndarray | np.generic) and array.dtype.name in DTYPES:
            return xp.asarray(np.asarray(array))  # shares the memory
        kind = getattr(array, "dtype", type(array).__name__)
        raise Unsupported(f"strict: expected its own or a NumPy array of {' or '.join(DTYPES)}; got {kind}")

    def beside(self, array: Any, other: Array) -> Array:
        return self.adopt(array)

    def to_numpy(self, array: Array) -> np.ndarray:
        return np.asarray(array)

    def init(self, hyper: Hyper, params: Sequence[Array]) -> Slots:
        # Of the three rules, every slot starts at zero and has the parameter's shape.
        return {slot.name: [xp.zeros_like(w) for w in params] for slot in hyper.program.slots}

    def update(
        self,
        hyper: Hyper,
        t: int,
        params: Sequence[Array],
        grads: Sequence[Array] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> tuple[list[Array], Slots]:
        rule = RULES[hyper.rule.name]
        new_params: list[Array] = []
        new_slots: Slots = {name: [] for name in slots}
        for i, (w, g) in enumerate(zip(params, grads or (), strict=True)):
            new, state = rule(hyper.axes, hyper.values, t, w, g, {name: arrays[i] for name, arrays in slots.items()})
            new_params.append(new)
            for name, array in state.items():
                new_slots[name].append(array)
        if not in_place:
            return new_params, new_slots
        self.assign(params, new_params)
        for name, arrays in slots.items():
            self.assign(arrays, new_slots[name])
        return list(params), slots

    def assign(self, params: Sequence[Array], values: Sequence[Array]) -> None:
        for w, value in zip(params, values, strict=True):
            w[...] = value

    def average(self, hyper: Hyper, t: int, params: Sequence[Array], slots: Slots) -> list[Array]:
        raise Unsupported(f"strict: {hyper.rule.name} has no average to evaluate with; use the parameters")

    def _refuse_device(self, device: str | None) -> str | None:
        if device in (None, DEVICE):
            return None
        return f"strict: there is no device {device!r}; leave it out, or use {DEVICE}"


BACKEND = StrictBackend()
