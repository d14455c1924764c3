"""The loop-back backend: the NumPy engine behind arrays of its own, on two devices that do not mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loopback.arrays import Wrapped
from refopt.engines.numpy_engine import BACKEND as ENGINE
from refopt.spec.backend import Slots
from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper


class Loopback:
    """Every method of the protocol, and the record of which were called: `calls`."""

    def __init__(self, name: str, *, in_place: bool) -> None:
        self.name = name
        self.in_place = in_place
        self.calls: list[str] = []

    def version(self) -> str:
        self.calls.append("version")
        return f"loop-back over {ENGINE.version()}"

    def devices(self) -> tuple[str, ...]:
        self.calls.append("devices")
        return ("here", "there")

    def owns(self, array: Any) -> bool:
        self.calls.append("owns")
        return isinstance(array, Wrapped)

    def supports(self, hyper: Hyper, dtype: str, device: str | None = None) -> str | None:
        self.calls.append("supports")
        if device not in (None, "here", "there"):
            return f"{self.name}: no device {device!r}; choose from here, there"
        return ENGINE.supports(hyper, dtype)

    def adopt(self, array: Any, device: str | None = None) -> Wrapped:
        self.calls.append("adopt")
        if isinstance(array, Wrapped):
            return array if device in (None, array.device) else Wrapped(array._behind.copy(), device)
        if isinstance(array, np.ndarray | np.generic):
            return Wrapped(np.asarray(array), device or "here")
        raise Unsupported(f"{self.name}: expected a NumPy array or its own, got {type(array).__name__}; convert it")

    def beside(self, array: Any, other: Wrapped) -> Wrapped:
        self.calls.append("beside")
        return array if isinstance(array, Wrapped) else self.adopt(array, other.device)

    def to_numpy(self, array: Wrapped) -> np.ndarray:
        self.calls.append("to_numpy")
        return array._behind

    def init(self, hyper: Hyper, params: Sequence[Wrapped]) -> Slots:
        self.calls.append("init")
        return self._wrap_slots(ENGINE.init(hyper, unwrap(params)), params)

    def update(
        self,
        hyper: Hyper,
        t: int,
        params: Sequence[Wrapped],
        grads: Sequence[Wrapped] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> tuple[list[Wrapped], Slots]:
        self.calls.append("update")
        assert self.in_place or not in_place, "refopt asked for an update in place where there is none"
        together(params, *([grads] if grads is not None else []), *(s for s in slots.values() if isinstance(s, list)))
        plain = {name: unwrap(slot) if isinstance(slot, list) else slot for name, slot in slots.items()}
        given = None if grads is None else unwrap(grads)
        new, fresh = ENGINE.update(hyper, t, unwrap(params), given, plain, in_place=in_place)
        if in_place:
            return list(params), {name: slots[name] if isinstance(s, list) else s for name, s in fresh.items()}
        return [Wrapped(a, w.device) for a, w in zip(new, params, strict=True)], self._wrap_slots(fresh, params)

    def assign(self, params: Sequence[Wrapped], values: Sequence[Wrapped]) -> None:
        self.calls.append("assign")
        assert self.in_place, "refopt wrote to arrays that cannot be changed"
        together(params, values)
        ENGINE.assign(unwrap(params), unwrap(values))

    def average(self, hyper: Hyper, t: int, params: Sequence[Wrapped], slots: Slots) -> list[Wrapped]:
        self.calls.append("average")
        together(params, *(s for s in slots.values() if isinstance(s, list)))
        plain = {name: unwrap(slot) if isinstance(slot, list) else slot for name, slot in slots.items()}
        found = ENGINE.average(hyper, t, unwrap(params), plain)
        return [Wrapped(a, w.device) for a, w in zip(found, params, strict=True)]

    def _wrap_slots(self, slots: Slots, params: Sequence[Wrapped]) -> Slots:
        return {
            name: [Wrapped(a, w.device) for a, w in zip(slot, params, strict=True)] if isinstance(slot, list) else slot
            for name, slot in slots.items()
        }


def unwrap(arrays: Sequence[Wrapped]) -> list[np.ndarray]:
    return [array._behind for array in arrays]


def together(*lists: Sequence[Wrapped]) -> None:
    """What belongs to one parameter must lie on one device, and must be the backend's own."""
    for row in zip(*lists, strict=True):
        kinds = {getattr(array, "device", type(array).__name__) for array in row}
        assert all(isinstance(array, Wrapped) for array in row), f"refopt passed arrays that were not adopted: {kinds}"
        assert len(kinds) == 1, f"refopt mixed devices: {sorted(kinds)}"


LOOPBACK = Loopback("loopback:LOOPBACK", in_place=True)
FRESH = Loopback("loopback:FRESH", in_place=False)
