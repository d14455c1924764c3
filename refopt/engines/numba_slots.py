"""What the compiled engine keeps between steps, and has at hand during one: arrays, and the addresses of their tensors.

Slots of elements lie in arenas, one for each dtype of parameters and slot.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from refopt.clocks.pieces import Cut
from refopt.engines.arena import Layout, addresses, aligned, layout, overlap
from refopt.engines.dtypes import compute_dtype, rounded, slot_dtype
from refopt.spec.backend import Slots
from refopt.spec.hyper import Hyper
from refopt.spec.program import Program

SMALL = 1 << 12  # gradients this small on average are gathered: cheaper than asking for each address


class ArenaSlots(dict[str, Any]):
    """Slots whose arrays are views of arenas, one per parameter dtype."""

    groups: list[Group]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied and pickled as plain slots, since a group holds addresses; the next step makes arenas of them."""
        return dict, (dict(self),)

    @classmethod
    def of(cls, slots: Slots, hyper: Hyper, params: Sequence[np.ndarray]) -> ArenaSlots:
        """A copy of any slots."""
        dtypes: dict[np.dtype, list[int]] = {}
        for i, w in enumerate(params):
            dtypes.setdefault(w.dtype, []).append(i)
        new = cls(slots)
        new.groups = [Group(dtype, indices, hyper, params, slots) for dtype, indices in dtypes.items()]
        for slot in hyper.program.slots:
            if slot.clock in ("tensor", "set"):
                new[slot.name] = [np.array(x, order="C") for x in slots[slot.name]]
            elif slot.clock == "element":
                new[slot.name] = list(slots[slot.name])
                for group in new.groups:
                    for i, view in zip(group.indices, group.layout.views(group.arenas[slot.name]), strict=True):
                        new[slot.name][i] = view
        return new


class Group:
    """The parameters of one dtype, and the arenas of their slots."""

    def __init__(self, dtype: np.dtype, indices: list[int], hyper: Hyper, params: Sequence[np.ndarray], slots: Slots):
        self.dtype = dtype
        self.indices = indices
        self.compute = compute_dtype(dtype)
        self.kept = slot_dtype(hyper.axes, dtype)
        self.layout: Layout = layout(tuple(params[i].shape for i in indices))
        names = [slot.name for slot in hyper.program.slots if slot.clock == "element"]
        self.arenas = {n: self.layout.gather([slots[n][i] for i in indices], self.kept) for n in names}
        self.slot_addresses = {name: self.layout.addresses(arena) for name, arena in self.arenas.items()}
        # The parameters of the last step, which a state does not keep alive, and their addresses.
        self.known: tuple[list[weakref.ref[np.ndarray]], np.ndarray] | None = None
        # Addresses of gradients and parameters that were found not to overlap.
        self.apart: tuple[bytes, bytes] | None = None

    def where(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The addresses of the parameters, asked for again only when they are other arrays."""
        if self.known is None or any(ref() is not a for ref, a in zip(self.known[0], arrays, strict=True)):
            self.known = ([weakref.ref(a) for a in arrays], addresses(arrays))
        return self.known[1]

    def readable(self, grads: list[np.ndarray], params: np.ndarray) -> np.ndarray | None:
        """Where gradients lie that can be read there; None where a copy is cheaper, or they lie in what changes."""
        total = int(self.layout.offsets[-1])
        if total > SMALL * len(grads) and all(
            g.dtype == self.compute and g.flags.c_contiguous and g.flags.aligned for g in grads
        ):
            found = addresses(grads)
            places = (found.tobytes(), params.tobytes())
            if places == self.apart or not overlap(found, params, self.layout.sizes * self.compute.itemsize):
                self.apart = places
                return found
        return None


class Work:
    """A step of a group: by name the arrays of its elements and their addresses, arrays of sets, numbers of tensors."""

    def __init__(
        self,
        group: Group,
        program: Program,
        cut: Cut,
        params: Sequence[np.ndarray],
        grads: Sequence[np.ndarray] | None,
        slots: Slots,
        *,
        in_place: bool,
    ):
        self.group, self.program, self.slots, self.in_place = group, program, slots, in_place
        self.layout, self.dtype = group.layout, group.compute
        self.arrays: dict[str, list[np.ndarray]] = {}  # made of the arenas when they are asked for
        self.arenas: dict[str, np.ndarray] = {}
        self.params = [params[i] for i in group.indices]
        writes = program.writes_parameter
        self.direct = (
            group.dtype == group.compute
            and (in_place or not writes)
            and all(w.flags.carray if writes else w.flags.c_contiguous and w.flags.aligned for w in self.params)
        )
        self.table = dict(group.slot_addresses)
        if group.kept != group.compute:
            for name, arena in group.arenas.items():
                self.keep(name, arena.astype(group.compute))
        if self.direct:
            self.arrays["w"], self.table["w"] = self.params, group.where(self.params)
        else:
            self.keep("w", self.layout.gather(self.params, group.compute))
        if grads is not None and program.reads_gradient:
            mine = [grads[i] for i in group.indices]
            changes = any("g" in piece.program.outputs for piece in cut.pieces)
            found = None if changes else group.readable(mine, self.table["w"])
            if found is None:
                self.keep("g", self.layout.gather(mine, group.compute))
            else:
                self.arrays["g"], self.table["g"] = mine, found
        self.numbers = {
            slot.name: np.array([slots[slot.name][i] for i in group.indices], np.float64) for slot in program.tensors
        }
        for name in program.sets:
            self.arrays[name] = [slots[name][i].astype(group.compute, copy=False) for i in group.indices]

    def keep(self, name: str, arena: np.ndarray) -> None:
        """An arena for what has one number for each element."""
        self.arenas[name], self.table[name] = arena, self.layout.addresses(arena)

    def room(self, names: Sequence[str]) -> None:
        """Arenas for what a piece computes and a later one reads."""
        for name in names:
            if name not in self.table:
                self.keep(name, aligned(int(self.layout.offsets[-1]), self.dtype))

    def views(self, name: str) -> list[np.ndarray]:
        if name not in self.arrays:
            arena = self.arenas[name] if name in self.arenas else self.group.arenas[name]
            self.arrays[name] = self.layout.views(arena)
        return self.arrays[name]

    def put(self, name: str, values: list[Any]) -> None:
        """What a piece that runs as it is written has left, for each tensor."""
        if name in self.table:
            for view, value in zip(self.views(name), values, strict=True):
                np.copyto(view, value)
            return
        self.arrays[name] = [np.ascontiguousarray(value, self.dtype).reshape(np.shape(value)) for value in values]
        if name not in self.program.sets:
            self.table[name] = addresses(self.arrays[name])

    def finish(self) -> list[np.ndarray]:
        """The parameters after the step; slots are written."""
        group, program = self.group, self.program
        for name, numbers in self.numbers.items():
            if name in self.slots:
                row = rounded(numbers.astype(self.dtype), group.kept)
                for i, number in zip(group.indices, row, strict=True):
                    self.slots[name][i][...] = number
        for name in program.sets:
            for i, value in zip(group.indices, self.arrays[name], strict=True):
                np.copyto(self.slots[name][i], rounded(value, group.kept))
        if group.kept != group.compute:
            for name, arena in group.arenas.items():
                arena[...] = rounded(self.arenas[name], group.kept)
        if self.direct or not program.writes_parameter:
            return self.params
        new = self.layout.views(rounded(self.arenas["w"], group.dtype))
        if not self.in_place:
            return new
        for old, fresh in zip(self.params, new, strict=True):
            np.copyto(old, fresh)
        return self.params
