"""Numba equals NumPy bit for bit: every rule, every dialect, every line of every choice, every dtype, 1 to 1000 steps.

A kernel takes a second to compile, and is written line by line. So a choice whose lines, clocks and slots have all been
met before, in whatever rule, is left out; REFOPT_ALL_CHOICES=1 runs these too.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from refopt.clocks import clocks, cut, estimates, plan
from refopt.clocks.plan import tests as conditions
from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.engines.numba_engine import BACKEND as NUMBA
from refopt.engines.numpy_engine import BACKEND as NUMPY
from refopt.rules import RULES
from refopt.spec.backend import Slots
from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper, conflict
from refopt.spec.program import Program

SHAPES = ((), (0,), (1,), (7,), (3, 5), (33, 17), (4097,), (2, 40000))  # the last: two threads, two runs
NUMBERS = {"eps": 1e-3, "eps_root": 1e-4, "wd": 0.03, "dampening": 0.3, "tc": 0.4, "power": 0.7, "inv_gamma": 2.5,
           "psi": 1.5, "mu": 0.85, "start": 0.4, "lr_decay": 0.07, "lambd": 0.3, "t0": 2.0, "r": 0.6,
           "d0": 0.02, "d_coef": 9.0}  # fmt: skip


def hyper_of(rule: str, dialect: str, **axes: str) -> Hyper:
    """The dialect with these choices, and a value off every default for each number that counts."""
    plain = RULES[rule].hyper(dialect, **axes)
    return plain.replace(**{name: value for name, value in NUMBERS.items() if name in plain.read})


def one_at_a_time() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Each dialect, and each axis choice changed alone in the paper's; specialised programs that recur are left out."""
    for rule in RULES.values():
        seen = set()
        for dialect in rule.dialects:
            base = dict(rule.hyper(dialect.name).axes)
            others = [{axis.name: choice} for axis in rule.axes for choice in axis.choices]
            rows = [{}, *(others if dialect is rule.dialects[0] else [])]
            for row in rows:
                if conflict(rule, base | row) is None:
                    key = rule.hyper(dialect.name, **row).program.key
                    if key not in seen:
                        seen.add(key)
                        yield rule.name, dialect.name, row


def parts(program: Program) -> set[object]:
    """What a kernel is written from: each line with its clock, which slots there are, what two reductions compute."""
    both = [one for one in (program, program.evaluate) if one is not None]
    lines = {(line.text, clock) for one in both for line, clock in zip(one.lines, clocks(one), strict=True)}
    return {*lines, tuple(slot.name for slot in program.slots), *carried_twice(program)}


def carried_twice(program: Program) -> Iterator[frozenset[str]]:
    """The lines that more than one reduction of a pass computes for itself."""
    for piece in cut(program).pieces:
        if piece.fused:
            for stage in plan(piece.program, (False,) * len(conditions(piece.program))).stages:
                count = Counter(line.text for reduction in stage.reductions for line in reduction.lines)
                if twice := frozenset(text for text, times in count.items() if times > 1):
                    yield twice


def with_something_new() -> Iterator[tuple[str, str, dict[str, str]]]:
    """The dialects, and of the single choices those that have a part which no row before them has."""
    met: set[object] = set()
    for rule, dialect, axes in one_at_a_time():
        found = parts(RULES[rule].hyper(dialect, **axes).program)
        if not axes or found - met or os.environ.get("REFOPT_ALL_CHOICES"):
            yield rule, dialect, axes
        met |= found


CASES = [pytest.param(*case, id="-".join([case[0], case[1], *(f"{k}={v}" for k, v in case[2].items())]))
         for case in with_something_new()]  # fmt: skip


def assert_equal_runs(hyper: Hyper, dtypes: Sequence[np.dtype], shapes: Sequence[tuple[int, ...]], steps: int) -> None:
    """Run both engines beside each other, NumPy without side effects and Numba in place."""
    random = np.random.default_rng(zlib.crc32(repr(hyper).encode()))

    def draw(scale: float) -> list[np.ndarray]:
        return [np.asarray(scale * random.standard_normal(shape)).astype(dtypes[i % len(dtypes)])
                for i, shape in enumerate(shapes)]  # fmt: skip

    ours, theirs = draw(1.0), []
    start, theirs = ours, [w.copy() for w in ours]
    slots, compiled = NUMPY.init(hyper, ours), NUMBA.init(hyper, theirs)
    for t in range(1, steps + 1):
        now = hyper.replace(lr=0.1 / t) if "lr" in hyper.read else hyper
        grads = draw(0.0 if t == 2 else 10.0 ** random.integers(-4, 2)) if hyper.program.reads_gradient else None
        if grads is not None and estimates(hyper.program):  # downhill, where a distance grows
            grads = [np.asarray(g + w) for g, w in zip(grads, start, strict=True)]
        ours, slots = NUMPY.update(now, t, ours, grads, slots, in_place=False)
        theirs, compiled = NUMBA.update(now, t, theirs, grads, compiled, in_place=True)
        for name in ("w", *slots):
            left, right = (ours, theirs) if name == "w" else (slots[name], compiled[name])
            if isinstance(left, float):
                assert left == right, f"step {t}, {name}"
                continue
            for i, (a, b) in enumerate(zip(left, right, strict=True)):
                assert a.dtype == b.dtype
                assert a.tobytes() == b.tobytes(), f"step {t}, {name}[{i}] of shape {a.shape}: {a} != {b}"


@pytest.mark.parametrize(("rule", "dialect", "axes"), CASES)
def test_every_choice(rule: str, dialect: str, axes: dict[str, str]) -> None:
    """In float32; the first dialects in float64, too: the source is one."""
    first = not axes and dialect == RULES[rule].dialects[0].name
    for dtype in ("float32", "float64") if first else ("float32",):
        assert_equal_runs(hyper_of(rule, dialect, **axes), [np.dtype(dtype)], SHAPES, steps=4)


@pytest.mark.parametrize("rule", RULES)
def test_thousand_steps(rule: str) -> None:
    dtypes = [np.dtype(np.float32), np.dtype(np.float64)]
    assert_equal_runs(hyper_of(rule, "paper"), dtypes, [(7,), (3, 5)], steps=1000)


@pytest.mark.parametrize("rule", RULES)
def test_half_types_and_mixed_trees(rule: str) -> None:
    shapes = [(5,), (3, 3), (), (2, 2)] * 2
    assert_equal_runs(hyper_of(rule, "paper"), list(PARAMETER_DTYPES.values()), shapes, steps=20)


@pytest.mark.parametrize("lane", [np.nan, np.inf, -np.inf, 1e-45, 3e38, -0.0])
@pytest.mark.parametrize("rule", ["momentum", "adam", "lars", "prodigy", "adafactor", "sm3", "muon"])
def test_special_values(rule: str, lane: float) -> None:
    hyper = hyper_of(rule, RULES[rule].dialects[1].name)
    w, g = np.ones((8, 5), np.float32), np.full((8, 5), 0.5, np.float32)
    g[0, 3] = w[1, 2] = lane
    ours, _ = NUMPY.update(hyper, 1, [w], [g], NUMPY.init(hyper, [w]), in_place=False)
    theirs, _ = NUMBA.update(hyper, 1, [w], [g], NUMBA.init(hyper, [w]), in_place=False)
    np.testing.assert_array_equal(ours[0].view(np.int32), theirs[0].view(np.int32))


def pickled(slots: Slots) -> list[bytes | float]:
    """All numbers of slots, array by array."""
    return [x if isinstance(x, float) else x.tobytes() for _, kept in sorted(slots.items())
            for x in (kept if isinstance(kept, list) else [kept])]  # fmt: skip


def awkward() -> dict[str, np.ndarray]:
    base = np.linspace(-1, 1, 24, dtype=np.float32)
    return {
        "transposed": base.reshape(4, 6).T,
        "negative stride": base[::-1],
        "every other": base.copy()[::2],
        "unaligned": np.frombuffer(b"x" + base.tobytes(), np.uint8)[1:].view(np.float32),
    }


@pytest.mark.parametrize("kind", awkward())
@pytest.mark.parametrize("rule", ["adam", "adafactor", "sm3", "muon", "prodigy"])
def test_any_memory_layout(rule: str, kind: str) -> None:
    hyper = hyper_of(rule, RULES[rule].dialects[1].name)
    w, g = awkward()[kind].copy("K"), awkward()[kind]
    for in_place in (False, True):
        ours, theirs = [w.copy("K")], [w.copy("K")]
        ours, slots = NUMPY.update(hyper, 1, ours, [g], NUMPY.init(hyper, ours), in_place=in_place)
        theirs, compiled = NUMBA.update(hyper, 1, theirs, [g], NUMBA.init(hyper, theirs), in_place=in_place)
        assert ours[0].tobytes() == theirs[0].tobytes()
        assert pickled(slots) == pickled(compiled)


@pytest.mark.parametrize("rule", ["sgd", "adam", "lars", "adafactor", "muon", "prodigy"])
def test_gradients_that_are_the_parameters(rule: str) -> None:
    """Of w0 * w1 the gradients are w1 and w0: all are read before any is written."""
    hyper = hyper_of(rule, RULES[rule].dialects[1].name)
    start = np.random.default_rng(0).standard_normal((3, 20000))
    results = []
    for engine in (NUMPY, NUMBA):
        a, b, c = buffer = start.copy()
        params, slots = [b, a, c[1:]], engine.init(hyper, [b, a, c[1:]])
        engine.update(hyper, 1, params, [a, b, c[:-1]], slots, in_place=True)
        results.append(buffer)
    assert results[0].tobytes() == results[1].tobytes()


def test_foreign_byte_order_is_refused() -> None:
    with pytest.raises(Unsupported, match="this machine's byte order; got >f4"):
        NUMBA.adopt(np.ones(3, ">f4"))
