"""All rules, and how one is run over the leaves of a model: widen, step, round once.

float16 and bfloat16 parameters are updated in float32. They are rounded back at the end, and so are their slots if the
axis `state_dtype` says that these have the parameter's dtype; else slots are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from refopt.spec.backend import REAL_OF
from refopt.spec.declare import Slot
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper
from refopt_jax import (
    adabelief,
    adadelta,
    adafactor,
    adagrad,
    adam,
    adamax,
    adan,
    asgd,
    ema,
    lamb,
    lars,
    lion,
    momentum,
    muon,
    nadam,
    novograd,
    prodigy,
    radam,
    rmsprop,
    rprop,
    schedule_free,
    schedule_free_adamw,
    sgd,
    sm3,
    yogi,
)
from refopt_jax._shared import Axes, rounded, scalar_dtype
from refopt_jax.pairs import read_as

Shape = tuple[int, ...]
FLOATS = ("float16", "bfloat16", "float32", "float64")


class Port(NamedTuple):
    """One rule: the axes it knows, the scalars of a step, and one step of one parameter.

    `shapes` are those of slots that are not shaped as their parameter, by the axes and its shape. `measure(axes,
    coefficients, params, grads, slots)` takes the lists of a whole model, the axes too as each parameter has them; it
    returns what `update` is given beside the coefficients, and the numbers of the model after the step that it has
    made.
    """

    choices: Mapping[str, tuple[str, ...]]
    scalars: type[Any]
    coefficients: Callable[..., Any]
    update: Callable[..., Any]
    advance: Callable[..., dict[str, Any]] | None = None  # the slots that are one number for all, after step t
    average: Callable[..., jax.Array] | None = None
    shapes: Mapping[str, Callable[[Axes, Shape], Shape]] = MappingProxyType({})
    measure: Callable[..., tuple[Any, dict[str, jax.Array]]] | None = None


PORTS = {
    "sgd": Port(sgd.CHOICES, sgd.Coefficients, sgd.coefficients, sgd.update),
    "momentum": Port(momentum.CHOICES, momentum.Coefficients, momentum.coefficients, momentum.update),
    "rprop": Port(rprop.CHOICES, rprop.Coefficients, rprop.coefficients, rprop.update),
    "asgd": Port(asgd.CHOICES, asgd.Coefficients, asgd.coefficients, asgd.update, asgd.advance, asgd.average),
    "adagrad": Port(adagrad.CHOICES, adagrad.Coefficients, adagrad.coefficients, adagrad.update),
    "rmsprop": Port(rmsprop.CHOICES, rmsprop.Coefficients, rmsprop.coefficients, rmsprop.update),
    "adadelta": Port(adadelta.CHOICES, adadelta.Coefficients, adadelta.coefficients, adadelta.update),
    "lion": Port(lion.CHOICES, lion.Coefficients, lion.coefficients, lion.update),
    "adam": Port(adam.CHOICES, adam.Coefficients, adam.coefficients, adam.update, adam.advance),
    "adamax": Port(adamax.CHOICES, adamax.Coefficients, adamax.coefficients, adamax.update, adamax.advance),
    "nadam": Port(nadam.CHOICES, nadam.Coefficients, nadam.coefficients, nadam.update, nadam.advance),
    "radam": Port(radam.CHOICES, radam.Coefficients, radam.coefficients, radam.update),
    "adabelief": Port(adabelief.CHOICES, adabelief.Coefficients, adabelief.coefficients, adabelief.update),
    "yogi": Port(yogi.CHOICES, yogi.Coefficients, yogi.coefficients, yogi.update),
    "adan": Port(adan.CHOICES, adan.Coefficients, adan.coefficients, adan.update),
    "schedule_free": Port(
        schedule_free.CHOICES,
        schedule_free.Coefficients,
        schedule_free.coefficients,
        schedule_free.update,
        schedule_free.advance,
        schedule_free.average,
    ),
    "schedule_free_adamw": Port(
        schedule_free_adamw.CHOICES,
        schedule_free_adamw.Coefficients,
        schedule_free_adamw.coefficients,
        schedule_free_adamw.update,
        schedule_free_adamw.advance,
        schedule_free_adamw.average,
    ),
    "lars": Port(lars.CHOICES, lars.Coefficients, lars.coefficients, lars.update),
    "lamb": Port(lamb.CHOICES, lamb.Coefficients, lamb.coefficients, lamb.update, measure=lamb.measure),
    "novograd": Port(
        novograd.CHOICES,
        novograd.Coefficients,
        novograd.coefficients,
        novograd.update,
        shapes={"v": lambda axes, shape: ()},
    ),
    "prodigy": Port(
        prodigy.CHOICES, prodigy.Coefficients, prodigy.coefficients, prodigy.update, measure=prodigy.measure
    ),
    "sm3": Port(sm3.CHOICES, sm3.Coefficients, sm3.coefficients, sm3.update, shapes={"b": sm3.shape_of_accumulators}),
    "adafactor": Port(
        adafactor.CHOICES,
        adafactor.Coefficients,
        adafactor.coefficients,
        adafactor.update,
        shapes={
            "r": adafactor.shape_of_rows,
            "c": adafactor.shape_of_columns,
            "v": adafactor.shape_of_vector,
        },
    ),
    "muon": Port(muon.CHOICES, muon.Coefficients, muon.coefficients, muon.update),
    "ema": Port(ema.CHOICES, ema.Coefficients, ema.coefficients, ema.update, average=ema.average),
}


def refused(rule: str, axes: Axes) -> str | None:
    """Why this rule with these axes has no port, or None."""
    if rule not in PORTS:
        return f"jax: rule {rule!r} has no port; choose from {', '.join(PORTS)}, or run it on the numpy backend"
    for axis, choice in axes.items():
        known = PORTS[rule].choices.get(axis, ())
        if choice not in known:
            return (
                f"jax: {rule} has no {axis}={choice!r}; choose from {', '.join(known) or 'nothing, it lacks the axis'},"
                " or run it on the numpy backend"
            )
    return None


def refused_dtype(dtype: str) -> str | None:
    """Why parameters of this dtype cannot be updated now, or None."""
    if dtype not in FLOATS:
        return f"jax: {dtype} parameters are not supported; convert them to one of {', '.join(FLOATS)}"
    if dtype == "float64" and scalar_dtype() != np.float64:
        return (
            "jax: float64 needs jax.config.update('jax_enable_x64', True) or JAX_ENABLE_X64=1; set it, or use float32"
        )
    return None


def refused_complex(hyper: Hyper, dtype: str) -> str | None:
    """Why parameters of these complex numbers cannot be updated, or None: they are, in pairs."""
    if reason := hyper.refuses_complex:
        return f"jax: {reason}"
    return refused_dtype(REAL_OF[dtype])


def computing_dtype(w: jax.Array) -> Any:
    """The dtype that a parameter is updated in; Unsupported if there is none."""
    if problem := refused_dtype(w.dtype.name):
        raise Unsupported(problem)
    return np.dtype(np.float64 if w.dtype == np.float64 else np.float32)


def keeping_dtype(axes: Axes, w: jax.Array) -> Any:
    """The dtype of a parameter's slots; Unsupported if it cannot be updated."""
    computing = computing_dtype(w)
    return w.dtype if axes.get("state_dtype") == "parameter" else computing


def initial(axes: Axes, slot: Slot, w: jax.Array) -> jax.Array:
    """A slot of one parameter before the first step, on the parameter's device."""
    dtype = keeping_dtype(axes, w)
    if slot.init == "params":
        return jnp.array(w, dtype, copy=True)  # never the parameter itself: who donates both would donate it twice
    start = 0.0 if slot.init == "zeros" else slot.init
    return jnp.full_like(w, start, dtype=dtype, shape=slot.shape(w.shape))


def step(
    rule: str,
    axes: Axes,
    coefficients: tuple[Any, ...],
    params: Sequence[jax.Array],
    grads: Sequence[jax.Array] | None,
    slots: Mapping[str, Sequence[jax.Array]],
    are_complex: Sequence[bool],
) -> tuple[list[jax.Array], dict[str, list[jax.Array]], dict[str, jax.Array]]:
    """One step of every parameter: the new parameters, not yet rounded to their dtypes, and the new slots.

    Those that `are_complex` are given as pairs. Slots that are numbers of the model come apart, in `scalar_dtype()`, if
    the step has made them.
    """
    if problem := refused(rule, axes):
        raise Unsupported(problem)
    each = [read_as(axes, answer) for answer in are_complex]
    coefficients = rounded(coefficients, scalar_dtype())
    for what, arrays in {"gradients": grads, **slots}.items():
        if arrays is not None and len(arrays) != len(params):
            raise RefoptError(f"{rule}: got {len(arrays)} {what} for {len(params)} parameters; give one for each")
    given: list[tuple[jax.Array | None, dict[str, jax.Array]]] = []
    for i, w in enumerate(params):
        g = None if grads is None else _widened(rule, grads[i], w, "a gradient", w.shape)
        shapes = {n: f(axes, w.shape) if (f := PORTS[rule].shapes.get(n)) else w.shape for n in slots}
        old = {name: _widened(rule, arrays[i], w, f"slot {name}", shapes[name]) for name, arrays in slots.items()}
        given.append((g, old))
    measured: Any = None
    numbers: dict[str, jax.Array] = {}
    if (measure := PORTS[rule].measure) is not None and given:
        wide = [w.astype(computing_dtype(w)) for w in params]
        measured, numbers = measure(each, coefficients, wide, [g for g, _ in given], [old for _, old in given])
    new_params: list[jax.Array] = []
    new_slots: dict[str, list[jax.Array]] = {name: [] for name in slots}
    for w, (g, old), mine in zip(params, given, each, strict=True):
        new_w, new = _one(rule, tuple(mine.items()), coefficients, measured, w, g, old)
        new_params.append(new_w)
        for name, arrays in new_slots.items():
            arrays.append(new[name])
    return new_params, new_slots, numbers


@partial(jax.jit, static_argnames=("rule", "axes"))
def _one(
    rule: str,
    axes: tuple[tuple[str, str], ...],
    coefficients: tuple[Any, ...],
    measured: Any,
    w: jax.Array,
    g: jax.Array | None,
    slots: Mapping[str, jax.Array],
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """One step of one parameter: within a step it is traced once for all parameters of a shape and dtype."""
    choices, port = dict(axes), PORTS[rule]
    more = () if port.measure is None else (measured,)
    wide, new = port.update(choices, coefficients, w.astype(computing_dtype(w)), g, dict(slots), *more)
    return wide, {name: x.astype(keeping_dtype(choices, w)) for name, x in new.items()}


def _widened(rule: str, x: jax.Array, w: jax.Array, what: str, shape: tuple[int, ...]) -> jax.Array:
    """`x` in the computing dtype of the parameter `w`, if that is exact and it has this shape."""
    dtype = computing_dtype(w)
    if x.dtype.name not in FLOATS or x.dtype.itemsize > dtype.itemsize:
        raise Unsupported(
            f"{rule}: {what} is {x.dtype.name}, which a {w.dtype.name} parameter, updated in {dtype.name}, cannot take"
            f" unchanged; convert it to {dtype.name}"
        )
    if x.shape != shape:
        raise RefoptError(f"{rule}: {what} of a parameter of shape {w.shape} has shape {x.shape}; it must be {shape}")
    return x.astype(dtype)
