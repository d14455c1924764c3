"""The backend under test, driven with NumPy arrays."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from refopt.engines.kernel_cache import cache_folder
from refopt.spec.backend import Backend
from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper
from refopt_conformance.reference import State, Step

FAMILIES = {"gpu": ("gpu", "cuda", "rocm"), "cuda": ("cuda", "gpu"), "rocm": ("rocm", "gpu")}


@contextmanager
def environment() -> Iterator[None]:
    """What jax reads when it is imported inside. A harness may set it, a library may not; what the user has set stays.

    Compiling the cases takes jax minutes: what it has compiled is kept beside the kernels of numba, for this host.
    """
    wanted = {
        "JAX_ENABLE_X64": "1",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_COMPILATION_CACHE_DIR": str(cache_folder() / f"jax-{platform.node()}"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@dataclass(frozen=True)
class Driver:
    """A backend on a device (None: its default). `name` is what finds it: `torch`, or `module:ATTRIBUTE`."""

    backend: Backend
    device: str | None
    name: str = ""

    @property
    def version(self) -> str:
        return self.backend.version()

    @property
    def where(self) -> str:
        return self.device or self.backend.devices()[0]

    def refuses(self, hyper: Hyper, dtype: str) -> str | None:
        return self.backend.supports(hyper, dtype, self.device)

    def adopt(self, arrays: list[np.ndarray]) -> list[Any]:
        return [self.backend.adopt(array, self.device) for array in arrays]

    def adopt_slots(self, slots: dict[str, Any]) -> dict[str, Any]:
        return {name: self.adopt(slot) if isinstance(slot, list) else slot for name, slot in slots.items()}

    def step(self, step: Step) -> State:
        """The backend's own version of a step, from the same state; nothing is written in place."""
        params, slots = self.adopt(step.before.params), self.adopt_slots(step.before.slots)
        grads = None if step.grads is None else self.adopt(step.grads)
        params, slots = self.backend.update(step.hyper, step.t, params, grads, slots, in_place=False)
        return self.read(step.hyper, step.t, params, slots)

    def read(self, hyper: Hyper, t: int, params: list[Any], slots: dict[str, Any]) -> State:
        """A copy of the backend's state after step t."""
        average = self.backend.average(hyper, t, params, slots) if hyper.program.evaluate else None
        numbers = {name: slot for name, slot in slots.items() if not isinstance(slot, list)}
        arrays = {name: self._copies(slot) for name, slot in slots.items() if isinstance(slot, list)}
        return State(self._copies(params), arrays | numbers, None if average is None else self._copies(average))

    @contextmanager
    def hasty(self) -> Iterator[None]:
        """What jax compiles inside takes half the time: LLVM improves nothing. The operations are the same."""
        config = None if (jax := sys.modules.get("jax")) is None else jax.config
        before = config and config.read("jax_disable_most_optimizations")
        if config is not None:
            config.update("jax_disable_most_optimizations", True)
        try:
            yield
        finally:
            if config is not None:
                config.update("jax_disable_most_optimizations", before)

    def forget(self) -> None:
        """Unload what jax has compiled: each step takes mappings of memory, and a process has some 65000 of these."""
        if (jax := sys.modules.get("jax")) is not None:
            jax.clear_caches()

    def _copies(self, arrays: list[Any]) -> list[np.ndarray]:
        return [np.array(self.backend.to_numpy(array)) for array in arrays]


def find_device(name: str, device: str, here: tuple[str, ...]) -> str:
    """The device of that name, or the first of that family: `gpu` and `cuda` are the first GPU."""
    if device in here:
        return device
    family, _, number = device.partition(":")
    for found in here:
        kind, _, index = found.partition(":")
        if kind in FAMILIES.get(family, (family,)) and number in ("", index):
            return found
    raise Unsupported(f"{name}: no device {device!r} here; choose from {', '.join(here)}, or leave it out")
