"""Runs everybody along every course, and keeps the largest error and where it was.

The unit is the suite's (`distance`): one ULP at the largest size that the element has had on the way, and at least at
that of a step, which is lr, or 1 - mu of an average. After a first step from zero it is the ULP of lr.

A parameter is rounded after every step, whoever computes it. What that alone comes to is the last row of each table.
The largest of so many errors is partly luck; the root of their mean square is not, and tells who is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from refopt.clocks import of_elements
from refopt.engines.dtypes import PARAMETER_DTYPES, compute_dtype
from refopt.engines.numpy_engine import BACKEND as REFERENCE
from refopt.selection import get_backend
from refopt.spec.hyper import Hyper
from refopt_conformance.accuracy import courses, drive
from refopt_conformance.accuracy.peers import Peer, peers
from refopt_conformance.distance import unit

DTYPES = ("float32", "bfloat16", "float16", "float64")
CHECKPOINTS = (1, 10, 100, 1000)
PORTS = ("jax", "torch")
OURS, FLOOR = "refopt", "the rounding of the state alone"

Arrays: TypeAlias = list[np.ndarray]


@dataclass(frozen=True)
class Error:
    """The largest error after some step, in ULPs, with the element that shows it. It is NaN where an element is."""

    step: int
    ulps: float
    rms: float  # of all elements of all courses
    course: str
    element: int
    found: float
    expected: float


@dataclass(frozen=True)
class Row:
    """A framework's optimizer under some conventions, in one dtype."""

    conventions: str
    dtype: str
    name: str
    kind: str  # the framework, `refopt`, or `floor`
    errors: tuple[Error, ...]


@dataclass(frozen=True)
class Group:
    """Conventions, the peers that follow them, and refopt's ports beside these."""

    name: str
    hyper: Hyper
    peers: tuple[Peer, ...]


def groups() -> list[Group]:
    """The peers by what they compute: two dialects of one source and the same numbers are one group."""
    found: dict[object, list[Peer]] = {}
    for peer in peers():
        values = tuple((name, peer.hyper.values[name]) for name in peer.hyper.read if peer.hyper.values[name])
        found.setdefault((peer.rule, peer.hyper.program.key, values), []).append(peer)
    return [Group(_name(members), members[0].hyper, tuple(members)) for members in found.values()]


def _name(members: Sequence[Peer]) -> str:
    first = members[0]
    axes = [f"{axis}:{choice}" for axis, choice in first.axes.items()]
    return "/".join([first.rule, ", ".join(dict.fromkeys(peer.dialect for peer in members)), *axes])


def measure(group: Group, dtype: str) -> Iterator[Row]:
    """The rows of a group in one dtype: the frameworks', refopt's, and the best that state of this dtype allows."""
    hyper = group.hyper
    params = [courses.parameters(name, dtype, zeros=not _takes_norms(hyper)) for name in courses.COURSES]
    grads = [courses.gradients(name, dtype) for name in courses.COURSES]
    expected = _expected(hyper, _wide(params), _wide(grads))

    def row(name: str, kind: str, run: drive.Run, subject: Any) -> Row:
        with drive.float64_where(kind if kind != OURS else name.split()[1], dtype), np.errstate(all="ignore"):
            reads = enumerate(run(subject, params, grads), start=1)
            found = {t: read() for t, read in reads if t in CHECKPOINTS}
        return Row(group.name, dtype, name, kind, tuple(_errors(found, expected, dtype)))

    for port in PORTS:
        yield row(f"refopt {port}", OURS, drive.backend_run, (get_backend(port), hyper))
    for peer in group.peers:
        yield row(peer.name, peer.framework, peer.run, peer.make())
    yield row(FLOOR, "floor", _rounded_once, hyper)


def _takes_norms(hyper: Hyper) -> bool:
    return not of_elements(hyper.program)


def _wide(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in arrays]


def _expected(hyper: Hyper, params: list[Any], grads: list[Any]) -> dict[int, tuple[Arrays, Arrays]]:
    """What the float64 reference has at the checkpoints, and the largest size that each element has had by then."""
    step = hyper.values["lr"] if "lr" in hyper.read else 1 - hyper.values["mu"]
    found, sizes = {}, [np.full(w.shape, step) for w in params]
    for t, read in enumerate(drive.backend_run((REFERENCE, hyper), params, grads), start=1):
        values = read()
        sizes = [np.maximum(size, np.abs(w)) for size, w in zip(sizes, values, strict=True)]
        if t in CHECKPOINTS:
            found[t] = (values, sizes)
    return found


def _rounded_once(hyper: Hyper, params: list[Any], grads: list[Any]) -> Iterator[drive.Read]:
    """Steps without any error, after which parameters and slots are rounded to the dtypes in which ports keep them."""
    narrow = params[0].dtype
    now, slots = _wide(params), REFERENCE.init(hyper, _wide(params))
    watches = not hyper.program.reads_gradient
    for t, row in enumerate(zip(*grads, strict=True), start=1):
        arriving = _wide(row)
        now, slots = REFERENCE.update(
            hyper, t, arriving if watches else now, None if watches else arriving, slots, in_place=False
        )
        slots = {
            name: [x.astype(compute_dtype(narrow)).astype(np.float64) for x in slot] if isinstance(slot, list) else slot
            for name, slot in slots.items()
        }
        now = [w.astype(narrow).astype(np.float64) for w in now]
        read = partial(REFERENCE.average, hyper, t, now, slots) if watches else partial(list, now)
        yield partial(_narrowed, read, narrow)


def _narrowed(read: Callable[[], Arrays], dtype: np.dtype) -> Arrays:
    return [x.astype(dtype) for x in read()]


def _errors(found: dict[int, Arrays], expected: dict[int, tuple[Arrays, Arrays]], dtype: str) -> Iterator[Error]:
    narrow = np.dtype(PARAMETER_DTYPES[dtype])
    for t in CHECKPOINTS:
        ulps = [
            np.abs(f.astype(np.float64) - e) / unit(size, narrow)
            for f, e, size in zip(found[t], *expected[t], strict=True)
        ]
        rms = float(np.sqrt(np.mean(np.square(ulps))))
        course, at = np.unravel_index(int(np.argmax(ulps)), np.shape(ulps))  # NaN, where there is one
        yield Error(
            t, float(ulps[course][at]), rms, list(courses.COURSES)[course], int(at),
            float(found[t][course][at]), float(expected[t][0][course][at]),
        )  # fmt: skip
