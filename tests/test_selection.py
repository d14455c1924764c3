"""Which backend runs, and why; what is found without importing anything; and what `doctor` makes of what is broken."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from running_cases import BACKENDS

import refopt
from refopt.selection import get_backend, importable, installed, registry, select, use
from refopt.selection.doctor import report
from refopt.spec.errors import RefoptError, Unsupported

KNOWN = [name for name in BACKENDS if importable(name) is None]


def arrays_of(kind: str) -> list[Any]:
    return [] if kind == "none" else [get_backend(kind).adopt(np.ones(2, np.float32))]


# What is said (argument, use, REFOPT_BACKEND), the arrays' kind, then the choice and a part of its reason.
PRECEDENCE = [
    ("numba", "numpy", "torch", "jax", "numba", "the argument backend="),
    ("numba", None, None, "jax", "numba", "the argument backend="),
    (None, "numba", "torch", "jax", "numba", "refopt.use('numba')"),
    (None, None, "numba", "jax", "numba", "the environment variable REFOPT_BACKEND=numba"),
    (None, None, "", "jax", "jax", "the arrays are jax's"),
    (None, None, None, "torch", "torch", "the arrays are torch's"),
    (None, None, None, "numpy", "numpy", "the arrays are numpy's"),
    (None, None, None, "none", "numpy", "numpy is the default"),
]


@pytest.mark.parametrize(("argument", "used", "variable", "kind", "name", "reason"), PRECEDENCE)
def test_precedence(
    argument: str | None, used: str | None, variable: str | None, kind: str, name: str, reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if missing := {kind, used or "none"} - {*KNOWN, "none"}:
        pytest.skip(f"{', '.join(missing)} does not run here")
    arrays = arrays_of(kind)
    if variable is not None:
        monkeypatch.setenv("REFOPT_BACKEND", variable)
    if used is None:
        chosen = select(argument, arrays)
    else:
        with use(used):
            chosen = select(argument, arrays)
    assert chosen.name == name
    assert reason in chosen.reason


def test_use_may_be_nested_and_ends_even_with_an_error() -> None:
    def chosen() -> str:
        return refopt.SGD([np.ones(2)]).backend.name

    with refopt.use("numba") as outer:
        assert (outer.name, chosen()) == ("numba", "numba")
        with refopt.use("numpy") as inner:
            assert (inner.name, chosen()) == ("numpy", "numpy")
        assert chosen() == "numba"
        with pytest.raises(ZeroDivisionError), refopt.use("numpy"):
            raise ZeroDivisionError
        assert chosen() == "numba"
        with pytest.raises(RefoptError, match="unknown backend 'nothing'"), refopt.use("nothing"):
            pass
        assert chosen() == "numba"
    assert chosen() == "numpy"


def test_the_variable_is_read_at_call_time(monkeypatch: pytest.MonkeyPatch) -> None:
    opt = refopt.SGD([np.ones(2)])
    monkeypatch.setenv("REFOPT_BACKEND", "numba")
    assert opt.backend.name == "numpy"
    assert refopt.SGD([np.ones(2)]).backend.name == "numba"
    monkeypatch.setenv("REFOPT_BACKEND", "nonsense")
    with pytest.raises(RefoptError, match=r"'nonsense'.*why this backend: the environment variable REFOPT_BACKEND"):
        refopt.SGD([np.ones(2)])


class Own(np.ndarray):
    """A subclass of somebody else's."""


OWNERS: list[tuple[Any, str]] = [
    (np.float32(1), "numpy"),
    (np.ones(2, ml_dtypes.bfloat16), "numpy"),
    (ml_dtypes.bfloat16(1), "numpy"),
    (np.ones(2).view(Own), "numpy"),
]


@pytest.mark.parametrize(("array", "owner"), OWNERS, ids=lambda x: type(x).__name__)
def test_kinds_of_arrays(array: Any, owner: str) -> None:
    assert select(None, [array]).reason == f"the arrays are {owner}'s"


def test_subclasses_of_torch_tensors_are_torch_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose tensors these are")
    own = type("Own", (torch.Tensor,), {"__module__": "somebody.elses"})
    for tensor in (torch.nn.Parameter(torch.ones(2)), torch.ones(2).as_subclass(own)):
        assert select(None, [tensor]).name == "torch"


@pytest.mark.parametrize("kinds", [("numpy", "torch"), ("numpy", "jax"), ("jax", "torch")], ids="+".join)
def test_mixed_kinds_are_refused(kinds: tuple[str, str]) -> None:
    if not set(kinds) <= set(KNOWN):
        pytest.skip(f"not both of {kinds} run here, so there are no such arrays")
    mixed = [array for kind in kinds for array in arrays_of(kind)]
    with pytest.raises(RefoptError, match=rf"several kinds \({', '.join(sorted(kinds))}\).*backend="):
        refopt.SGD(mixed)


IMPORTS_NOTHING = """
import sys, time
start = time.perf_counter()
import refopt
took = time.perf_counter() - start
assert dir(refopt)
from refopt.selection import installed, select
assert {"numpy", "numba", "jax", "torch"} <= set(installed())
assert select().name == "numpy"
from refopt.schedules import polynomial
frameworks = {"torch", "jax", "numba", "keras", "optax", "pytest"}
loaded = sorted(frameworks & {name.partition(".")[0] for name in sys.modules})
assert not loaded, loaded
print(f"import refopt: {took:.3f} s")
"""


def test_importing_and_listing_load_no_framework() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS_NOTHING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)  # the time: shown with -s, a machine's load is no matter of right or wrong


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two more backends that are installed: one whose import raises, one that is no backend."""
    (tmp_path / "refopt_broken.py").write_text("raise RuntimeError('no driver,\\nno device')\n", encoding="utf-8")
    (tmp_path / "refopt_hollow.py").write_text("BACKEND = object()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    more = [EntryPoint(n, f"refopt_{n}:BACKEND", registry.GROUP) for n in ("broken", "hollow")]
    found = [*installed().values(), *more]
    monkeypatch.setattr(registry, "entry_points", lambda group: found)
    get_backend.cache_clear()
    yield
    get_backend.cache_clear()


def test_a_broken_backend_breaks_nothing_else(broken: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(installed())[-2:] == ["broken", "hollow"]
    with pytest.raises(
        Unsupported, match="'broken' cannot be imported: RuntimeError: no driver, no device; install or"
    ):
        get_backend("broken")
    with pytest.raises(RefoptError, match="'hollow' is no backend: it lacks name, in_place"):
        get_backend("hollow")
    assert refopt.SGD([np.ones(2)]).backend.name == "numpy"
    assert select(None, [object()]).name == "numpy"  # an unknown array asks every third party's backend
    monkeypatch.setenv("REFOPT_BACKEND", "broken")
    found = report()
    assert json.loads(json.dumps(found)) == {
        **found,
        "backends": [{**b, "devices": list(b["devices"])} for b in found["backends"]],
    }
    works = {one["name"]: one["works"] for one in found["backends"]}
    assert works == {name: name in KNOWN for name in BACKENDS} | {"broken": False, "hollow": False}
    problems = {one["name"]: one["problem"] for one in found["backends"]}
    assert "RuntimeError: no driver, no device" in problems["broken"]
    assert found["chosen"]["backend"] == "broken"
    assert "REFOPT_BACKEND" in found["chosen"]["reason"]
    assert "no driver" in found["chosen"]["problem"]


def test_a_backend_that_fails_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise OSError("the driver\nis gone")

    monkeypatch.setattr(get_backend("numpy"), "version", fail)
    one = next(one for one in report()["backends"] if one["name"] == "numpy")
    assert (one["works"], one["problem"]) == (False, "OSError: the driver is gone")


def test_the_doctor_says_what_there_is() -> None:
    found = report()
    assert [one["name"] for one in found["backends"]][:4] == list(BACKENDS)
    assert found["chosen"] == {
        "backend": "numpy",
        "reason": "no array is of a known type; numpy is the default",
        "problem": "",
    }
    assert found["libraries"]["numpy"] == np.__version__
    assert found["processors"] == os.cpu_count()
    assert all("cpu" in one["devices"] and one["version"] for one in found["backends"] if one["works"])
