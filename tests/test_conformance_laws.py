"""The laws on memory and on compiled steps: what breaks one is caught, by it alone; who cannot break it says why."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from loopback import FRESH
from test_conformance import conform

from refopt.clocks import estimates
from refopt.engines.numpy_engine import BACKEND as NUMPY
from refopt.spec.backend import Backend
from refopt_conformance.cases import Case, canonical
from refopt_conformance.driver import Driver
from refopt_conformance.faults.compiled import COMPILED, Compiler
from refopt_conformance.judge import Deviation
from refopt_conformance.laws import LAWS, Inapplicable

ONLY_BY = {
    "rate-compiled-in": "numbers_compile_nothing",
    "step-compiled-in": "numbers_compile_nothing",
    "eager-differs": "eager_is_compiled",
    "donated-memory-read-late": "memory_may_be_donated",
    "slots-share-an-array": "nothing_shares_memory",
    "slot-is-the-parameter": "nothing_shares_memory",
    "old-parameters-kept": "old_arrays_are_not_kept",
    "old-slots-kept": "old_arrays_are_not_kept",
}
CASES = [Case(name, hyper, "float32") for name, hyper in canonical().items() if name.endswith("/paper")]


def test_each_fault_has_its_law() -> None:
    assert {one.name for one in COMPILED} == set(ONLY_BY)


def test_the_page_names_every_law() -> None:
    page = (Path(__file__).parents[1] / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert {law for law in LAWS if f"`{law}`" not in page} == set()


def test_numba_counts_the_kernels_that_it_loads() -> None:
    numba = pytest.importorskip("refopt.engines.numba_engine", reason="numba is not installed, whose engine this tests")
    hyper, params = canonical()["adam/paper"], [np.ones(3, np.float32)]
    numba.kernels.cache_clear()
    numba.load_module.cache_clear()
    before, slots = numba.BACKEND.compilations(), numba.BACKEND.init(hyper, params)
    for t, count in ((1, 1), (2, 1)):
        numba.BACKEND.update(hyper, t, params, params, slots, in_place=False)
        assert numba.BACKEND.compilations() == before + count


@pytest.mark.parametrize("law", sorted(set(ONLY_BY.values())))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_compiles_without_a_fault_keeps_the_law(law: str, case: Case) -> None:
    if law == "memory_may_be_donated" and estimates(case.conventions.program):
        with pytest.raises(Inapplicable, match="reads a number of the model from the device"):
            LAWS[law](case, Driver(Compiler(), None))
        return
    LAWS[law](case, Driver(Compiler(), None))  # raises nothing: it holds, and it applies


SENTENCES: list[tuple[Backend, str, str]] = [
    (NUMPY, "numbers_compile_nothing", "numpy does not count what it compiles: it has no compilations()"),
    (NUMPY, "eager_is_compiled", "numpy computes in one way only, compiled or not: it has no eager()"),
    (NUMPY, "memory_may_be_donated", "numpy offers no program around update to donate to: it has no compiled()"),
    (FRESH, "old_arrays_are_not_kept", "loopback:FRESH has arrays that cannot be watched: no weak reference to them"),
]


@pytest.mark.parametrize(("backend", "law", "says"), SENTENCES, ids=[law for _, law, _ in SENTENCES])
def test_what_does_not_apply_says_why(backend: Backend, law: str, says: str) -> None:
    with pytest.raises(Inapplicable) as reason:
        LAWS[law](CASES[0], Driver(backend, None))
    assert str(reason.value) == says


FAULTS = {one.name: one.engine for one in COMPILED}
SAYS = {
    "rate-compiled-in": "with another lr, steps compile anew: 1 more",
    "step-compiled-in": "with another t, steps compile anew: 3 more",
    "eager-differs": "ULPs apart",
    "donated-memory-read-late": "where memory is donated, w comes to other values",
    "slots-share-an-array": "u 2 and u 3 of init under momentum",
    "slot-is-the-parameter": "w 0 and m 0 of init under ema",
    "old-parameters-kept": "after update(in_place=False) old parameters or slots are still held",
    "old-slots-kept": "after update(in_place=False) old parameters or slots are still held",
}


def case_of(fault: str) -> Case:
    """A case on which it shows."""
    rule = "ema/paper" if "init under ema" in SAYS[fault] else "momentum/paper"
    return Case(rule, canonical()[rule], "float32")


@pytest.mark.parametrize(("fault", "law"), ONLY_BY.items())
def test_no_other_law_would_catch_it(fault: str, law: str) -> None:
    case, catching = case_of(fault), set()
    for name, one in LAWS.items():
        with suppress(Inapplicable):
            try:
                one(case, Driver(FAULTS[fault](), None))
            except Deviation:
                catching.add(name)
    assert catching == {law}


@pytest.mark.parametrize(("fault", "says"), SAYS.items())
def test_a_deviation_says_what_is_wrong(fault: str, says: str) -> None:
    with pytest.raises(Deviation, match=re.escape(says)):
        LAWS[ONLY_BY[fault]](case_of(fault), Driver(FAULTS[fault](), None))


def test_a_broken_backend_is_caught(tmp_path: Path) -> None:
    lines = ["from refopt_conformance.faults.compiled import RateCompiledIn", "BACKEND = RateCompiledIn()"]
    (tmp_path / "broken_compiler.py").write_text("\n".join(lines), encoding="utf-8")
    done = conform("broken_compiler:BACKEND", "-k", "/sgd/ and nothing", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert SAYS["rate-compiled-in"] in done.stdout
    assert "2 failed" in done.stdout, "each dialect, by this law alone"
