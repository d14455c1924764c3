"""What frameworks call their state, and how it is read and written: a slot of the rule is an attribute of theirs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import numpy as np

from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.library import LibrarySubject

Arrays = list[np.ndarray]
NAMES: Mapping[str, Mapping[str, str]] = {
    "torch": {"u": "momentum_buffer", "m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"},
    "keras": {"m": "_momentums", "v": "_velocities", "v_max": "_velocity_hats", "u": "momentums"},
    "optax": {"u": "trace", "m": "mu", "v": "nu", "v_max": "nu_max"},
}
SLOTS = frozenset(slot for names in NAMES.values() for slot in names)


def name(subject: Subject, slot: str, axes: Mapping[str, str]) -> str | None:
    """What a subject's framework calls a slot, `-momentums`; None if we have no name for it.

    A velocity with the rate inside is kept as what is added to the parameter: the negative of ours.
    """
    known = NAMES.get(subject.interface.framework, {}).get(slot) if isinstance(subject, LibrarySubject) else None
    return known and f"{sign(slot, axes)}{known}"


def sign(slot: str, axes: Mapping[str, str]) -> str:
    return "-" if slot == "u" and axes.get("lr_at") == "inside" else ""


def read(subject: Subject, slot: str, axes: Mapping[str, str]) -> Arrays | None:
    """A slot of the optimizer that was driven last; None if it cannot be found."""
    called = name(subject, slot, axes)
    if called is None or not isinstance(subject, LibrarySubject):
        return None
    driver: Any = subject.driver
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a framework warns of is not the answer's business
            found = READ[subject.interface.framework](driver, called.removeprefix("-"))
    except (AttributeError, KeyError, IndexError):
        return None
    arrays = [np.asarray(array, np.float64) for array in found]
    return [-array for array in arrays] if called.startswith("-") else arrays


def write(subject: Subject, slots: Mapping[str, Arrays], steps: int, axes: Mapping[str, str]) -> bool:
    """Put slots into the optimizer that was started last, which has then taken so many steps. False if it cannot be."""
    named = {}
    for slot, arrays in slots.items():
        called = name(subject, slot, axes)
        if called is None:
            return False
        named[called.removeprefix("-")] = [-a for a in arrays] if called.startswith("-") else arrays
    assert isinstance(subject, LibrarySubject)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            WRITE[subject.interface.framework](subject.driver, named, steps)
    except (AttributeError, KeyError, IndexError):
        return False
    return True


def _read_torch(driver: Any, called: str) -> list[Any]:
    return [driver.optimizer.state[tensor][called].numpy() for tensor in driver.tensors]


def _write_torch(driver: Any, named: Mapping[str, Arrays], steps: int) -> None:
    for i, tensor in enumerate(driver.tensors):
        state = {called: driver.torch.tensor(arrays[i]) for called, arrays in named.items()}
        if set(named) != {NAMES["torch"]["u"]}:  # momentum alone counts no steps
            state["step"] = driver.torch.tensor(float(steps))
        driver.optimizer.state[tensor] = state


def _read_keras(driver: Any, called: str) -> list[Any]:
    return [np.array(driver.keras.ops.convert_to_numpy(v.value)) for v in getattr(driver.optimizer, called)]


def _write_keras(driver: Any, named: Mapping[str, Arrays], steps: int) -> None:
    with _wide() if driver.backend == "jax" else nullcontext():
        for called, arrays in named.items():
            for variable, array in zip(getattr(driver.optimizer, called), arrays, strict=True):
                variable.assign(driver.keras.ops.convert_to_tensor(array, dtype="float64"))
        driver.optimizer.iterations.assign(steps)


def _read_optax(driver: Any, called: str) -> list[Any]:
    return list(driver.optax.tree_utils.tree_get(driver.state, called) or [])


def _write_optax(driver: Any, named: Mapping[str, Arrays], steps: int) -> None:
    trees = driver.optax.tree_utils
    with _wide():
        jnp = import_module("jax.numpy")
        new = {called: [jnp.asarray(array) for array in arrays] for called, arrays in named.items()}
        if trees.tree_get_all_with_path(driver.state, "count"):
            new["count"] = jnp.asarray(steps, "int32")
        driver.state = trees.tree_set(driver.state, **new)


def _wide() -> Any:
    from refopt.verifying.drivers.optax_transform import x64  # JAX's own 64 bits

    return x64(import_module("jax"))


READ: Mapping[str, Callable[[Any, str], list[Any]]] = {
    "torch": _read_torch, "keras": _read_keras, "optax": _read_optax,
}  # fmt: skip
WRITE: Mapping[str, Callable[[Any, Mapping[str, Arrays], int], None]] = {
    "torch": _write_torch, "keras": _write_keras, "optax": _write_optax,
}  # fmt: skip
