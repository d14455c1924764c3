"""Drives each kind of optimizer along the courses, as its users do, and keeps the checkpoints.

A run is given what to drive, the parameters (an array per course) and the gradients (an array per course, a row per
step), and yields what is to be compared after each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from refopt.spec.backend import Backend
from refopt.spec.hyper import Hyper

Arrays: TypeAlias = list[np.ndarray]
Read: TypeAlias = Callable[[], Arrays]  # copies what the optimizer has, when it is asked
Run: TypeAlias = Callable[[Any, Arrays, Arrays], Iterator[Read]]


def backend_run(subject: tuple[Backend, Hyper], params: Arrays, grads: Arrays) -> Iterator[Read]:
    """A backend of refopt. A rule that only watches the parameters is brought the gradients for them."""
    backend, hyper = subject
    now = [backend.adopt(w.copy()) for w in params]
    slots = backend.init(hyper, now)
    for t, row in enumerate(zip(*grads, strict=True), start=1):
        arriving = [backend.adopt(np.array(g)) for g in row]
        if not hyper.program.reads_gradient:
            now, slots = backend.update(hyper, t, arriving, None, slots, in_place=backend.in_place)
            yield partial(_copies, backend, partial(backend.average, hyper, t, now, slots))
        else:
            now, slots = backend.update(hyper, t, now, arriving, slots, in_place=backend.in_place)
            yield partial(_copies, backend, partial(list, now))


def _copies(backend: Backend, read: Callable[[], Any]) -> Arrays:
    return [np.array(backend.to_numpy(x)) for x in read()]


def torch_optimizer(make: Callable[[list[Any]], Any], params: Arrays, grads: Arrays) -> Iterator[Read]:
    """An optimizer of torch."""
    tensors = [_tensor(w).requires_grad_() for w in params]
    optimizer = make(tensors)
    for row in zip(*grads, strict=True):
        for tensor, g in zip(tensors, row, strict=True):
            tensor.grad = _tensor(g)
        optimizer.step()
        yield partial(_arrays, tensors)


def torch_average(average: Callable[..., None], params: Arrays, grads: Arrays) -> Iterator[Read]:
    """What updates the averages of torch's `AveragedModel`, whose first update copies the parameters."""
    averages = [_tensor(w) for w in params]
    for t, row in enumerate(zip(*grads, strict=True)):
        values = [_tensor(g) for g in row]
        if t == 0:
            averages = values
        else:
            average(averages, values, t)
        yield partial(_arrays, averages)


def optax_transform(transform: Any, params: Arrays, grads: Arrays) -> Iterator[Read]:
    """A gradient transformation of optax, compiled."""
    jax, optax = import_module("jax"), import_module("optax")

    @jax.jit  # type: ignore[untyped-decorator]
    def step(now: Any, state: Any, gradients: Any) -> Any:
        updates, state = transform.update(gradients, state, now)
        return optax.apply_updates(now, updates), state

    now = [jax.numpy.asarray(w) for w in params]
    state = transform.init(now)
    for row in zip(*grads, strict=True):
        now, state = step(now, state, [jax.numpy.asarray(g) for g in row])
        yield partial(_arrays, now)


def optax_average(transform: Any, params: Arrays, grads: Arrays) -> Iterator[Read]:
    """A transformation of optax that averages what it is given."""
    jax = import_module("jax")
    state = transform.init([jax.numpy.asarray(w) for w in params])
    step = jax.jit(transform.update)
    for row in zip(*grads, strict=True):
        averages, state = step([jax.numpy.asarray(g) for g in row], state)
        yield partial(_arrays, averages)


def keras_optimizer(optimizer: Any, params: Arrays, grads: Arrays) -> Iterator[Read]:
    """An optimizer of Keras, on the backend that Keras is set to."""
    keras = import_module("keras")
    variables = [keras.Variable(w.astype(np.float64), dtype=w.dtype.name) for w in params]
    optimizer.build(variables)
    for row in zip(*grads, strict=True):
        tensors = [keras.ops.convert_to_tensor(g.astype(np.float64), dtype=g.dtype.name) for g in row]
        optimizer.apply(tensors, variables)
        yield lambda: [np.array(keras.ops.convert_to_numpy(keras.ops.cast(v.value, "float64"))) for v in variables]


def float64_where(framework: str, dtype: str) -> AbstractContextManager[Any]:
    """JAX's float64, for float64 alone: what else it is asked for runs as users run it."""
    if framework not in ("jax", "optax"):
        return nullcontext()
    jax = import_module("jax")
    switch = jax.enable_x64 if hasattr(jax, "enable_x64") else import_module("jax.experimental").enable_x64
    context: AbstractContextManager[Any] = switch(dtype == "float64")
    return context


def _tensor(array: np.ndarray) -> Any:
    torch = import_module("torch")
    return torch.tensor(array.astype(np.float64)).to(getattr(torch, array.dtype.name))  # exact


def _arrays(tensors: list[Any]) -> Arrays:
    """Copies in NumPy; of torch's tensors in float64, which is exact, for NumPy lacks bfloat16."""
    return [x.detach().double().numpy().copy() if hasattr(x, "detach") else np.array(x) for x in tensors]
