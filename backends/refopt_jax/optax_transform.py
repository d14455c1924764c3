"""The rules as `optax.GradientTransformation`: the same steps, run wholly inside the caller's trace.

transform = as_optax(RULES["adam"].hyper(dialect="torch", wd=0.01), learning_rate=optax.cosine_decay_schedule(...))
state = transform.init(params)
updates, state = transform.update(grads, state, params)
params = optax.apply_updates(params, updates)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper
from refopt_jax import pairs, ports
from refopt_jax._shared import scalar_dtype

Schedule = Callable[[Any], Any]


class RefoptState(NamedTuple):
    """The steps taken, the slots by name, each a tree like the parameters, and those that are one number for all."""

    count: jax.Array  # type: ignore[assignment]  # as optax names it; tuples have a method of that name
    slots: dict[str, Any]
    numbers: dict[str, jax.Array]


def as_optax(hyper: Hyper, learning_rate: float | Schedule | None = None) -> optax.GradientTransformation:
    """The rule as a gradient transformation, learning rate and sign included: apply its updates as they are.

    `learning_rate` is a number, an array (from `optax.inject_hyperparams`), a schedule of the steps taken before
    (from 0, as in optax), or None for the rule's own `lr`. A schedule tells the rate of the step to come (`lr_next`)
    too. `update` needs `params`.

    An update is the difference `new - old`; adding it back rounds once more, to within one ULP of the rule's result.
    For float16 and bfloat16 parameters it is float32, as the rule computes it: `optax.apply_updates` then rounds once.
    State of a complex parameter is that of its parts, with one dimension more, of 2.
    (`optax.inject_hyperparams` rounds lr to the dtype of the parameters: give it `hyperparam_dtype=jnp.float32` there.)
    Betas are fixed here, so that their running product (`power="product"`) is the power and needs no slot. Other slots
    that are one number for the whole model are computed in the trace: in float32 unless jax_enable_x64 is set.
    """
    if not isinstance(hyper, Hyper):
        raise RefoptError(f"optax: hyper must be made by a rule, as in RULES['adam'].hyper(lr=0.1); got {hyper!r}")
    if problem := ports.refused(hyper.rule.algorithm, hyper.axes):
        raise Unsupported(problem)
    if not hyper.program.reads_gradient:
        raise Unsupported(
            f"optax: {hyper.rule.name!r} transforms no gradients; run it beside an optimizer, with refopt.update or"
            " refopt.ExponentialMovingAverage"
        )
    if hyper.axes.get("power") == "product":
        hyper = hyper.replace(power="power")
    if learning_rate is None:
        learning_rate = hyper.values["lr"]
    elif not callable(learning_rate) and not isinstance(learning_rate, jax.Array):
        learning_rate = hyper.rule.hyper_parameter("lr").check(hyper.rule.name, learning_rate)

    def init(params: Any) -> RefoptState:
        slots = {
            slot.name: jax.tree.map(lambda w, slot=slot: ports.initial(hyper.axes, slot, _seen(hyper, w)), params)
            for slot in hyper.program.slots
            if slot.clock != "step"
        }
        numbers = {slot.name: jnp.asarray(slot.init, scalar_dtype()) for slot in hyper.program.numbers}
        return RefoptState(jnp.zeros((), jnp.int32), slots, numbers)

    def update(grads: Any, state: RefoptState, params: Any = None) -> tuple[Any, RefoptState]:
        if params is None:
            raise RefoptError(f"{hyper.rule.name}: update needs the parameters; call update(grads, state, params)")
        tree: Any = jax.tree.structure(params)
        leaves = [_seen(hyper, w) for w in jax.tree.leaves(params)]
        if (given := jax.tree.structure(grads)) != tree:
            raise RefoptError(f"{hyper.rule.name}: grads must have the tree of params, {tree}; got {given}")
        gradients = [_seen(hyper, g) for g in jax.tree.leaves(grads)]
        old = {name: tree.flatten_up_to(slot) for name, slot in state.slots.items()}
        numbers, coefficients = _coefficients(hyper, state, learning_rate)
        are_complex = [jnp.iscomplexobj(w) for w in jax.tree.leaves(params)]
        step = hyper.rule.algorithm, hyper.axes, coefficients, leaves, gradients, old, are_complex
        new, slots, made = ports.step(*step)
        updates = [x - w.astype(x.dtype) for x, w in zip(new, leaves, strict=True)]
        updates = [pairs.as_complex(x) if is_pairs else x for x, is_pairs in zip(updates, are_complex, strict=True)]
        new_slots = {name: tree.unflatten(arrays) for name, arrays in slots.items()}
        count, numbers = optax.safe_increment(state.count), {**state.numbers, **numbers, **made}
        return tree.unflatten(updates), RefoptState(count, new_slots, numbers)

    return optax.GradientTransformation(init, update)


def _seen(hyper: Hyper, array: Any) -> jax.Array:
    """A leaf as it is run: of complex numbers the pairs."""
    array = jnp.asarray(array)
    if not jnp.iscomplexobj(array):
        return array
    if problem := ports.refused_complex(hyper, array.dtype.name):
        raise Unsupported(problem)
    return pairs.as_pairs(array)


def _coefficients(hyper: Hyper, state: RefoptState, learning_rate: Any) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The numbers of the model after the next step, and its coefficients.

    Only t, lr and these numbers are traced, the rest is float64 on the host.
    """
    port = ports.PORTS[hyper.rule.algorithm]
    lr = learning_rate(state.count) if callable(learning_rate) else learning_rate
    t = state.count.astype(scalar_dtype()) + 1
    values: Mapping[str, Any] = {**hyper.values, "lr": lr}
    if callable(learning_rate):
        values = {**values, "lr_next": learning_rate(state.count + 1)}
    numbers = port.advance(hyper.axes, values, state.numbers, t, jnp) if port.advance else state.numbers
    before = {f"{name}_before": number for name, number in state.numbers.items()}
    return numbers, port.coefficients(hyper.axes, {**values, **before, **numbers}, t, jnp)
