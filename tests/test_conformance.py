"""The conformance suite: green for every backend, red for broken ones, clear where it cannot run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from refopt.selection import importable
from refopt.spec.errors import Unsupported
from refopt_conformance import main
from refopt_conformance.driver import find_device


def conform(backend: str, *arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the suite in a process of its own, far from the checkout."""
    command = [sys.executable, "-m", "refopt_conformance", backend, *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("backend", ["numpy", "numba", "jax", "torch"])
def test_every_backend_conforms(backend: str, tmp_path: Path) -> None:
    """In brief, which has every dialect and every choice in one of them, but no combination of choices, on few tensors.

    Who changes a rule or a port runs `refopt conform jax -k /<rule>/`, which has them all, and takes longer.
    """
    if (reason := importable(backend)) is not None:
        pytest.skip(f"{backend} does not run here: {reason}")
    # Numba compiles for seconds, and test_numba_equals_numpy shows that a step comes to NumPy's bits: the rest alone.
    only = ("-k", "not : and not one_step") if backend == "numba" else ()
    done = conform(backend, "--profile", "brief", *only, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "distance from the reference, in ULPs" in done.stdout
    assert "conforms: " in done.stdout
    assert list(tmp_path.iterdir()) == []


# A fault is the texts to be replaced, by file; and the check that must show it, the only one in brief of that name.
ADAM, LARS = "one_step/adam/paper/float32", "one_step/lars/paper/float32"
Edits = Mapping[str, list[tuple[str, str]]]

PORT_FAULTS: list[tuple[str, str, str, Edits]] = [
    ("torch", "eps placement", ADAM, {"adam.py": [('"outside_hat": (0.0, eps)', '"outside_hat": (eps, 0.0)')]}),
    ("torch", "stale moment", ADAM, {"adam.py": [
        ("    torch._foreach_mul_(m, in", "    stale = [x.clone() for x in m]\n    torch._foreach_mul_(m, in"),
        ("torch._foreach_addcdiv_(w, m, d", "torch._foreach_addcdiv_(w, stale, d"),
    ]}),
    ("torch", "step off by one", ADAM, {"adam.py": [("beta ** (t - 1 + ", "beta ** (t + ")]}),
    ("torch", "another tensor's value", LARS, {"lars.py": [
        (".to(x[0].dtype).unbind())", ".to(x[0].dtype).unbind())[:1] * len(x)"),
    ]}),
    ("jax", "eps placement", ADAM, {"adam.py": [('"outside_hat": (0.0, eps)', '"outside_hat": (eps, 0.0)')]}),
    ("jax", "stale moment", ADAM, {"adam.py": [("c.power * (m / d)", 'c.power * (slots["m"] / d)')]}),
    ("jax", "step off by one", ADAM, {"adam.py": [('{"0": -1, "1": 0, "2": 1}', '{"0": 0, "1": 1, "2": 2}')]}),
    ("jax", "another tensor's value", LARS, {"lars.py": [
        ("norm(w), norm(against)", "norm(against), norm(against)"),
    ]}),
]  # fmt: skip


def replaced(text: str, edits: list[tuple[str, str]]) -> str:
    for old, new in edits:
        assert old in text, f"the fault no longer applies: {old!r} is gone"
        text = text.replace(old, new)
    return text


def broken_port(port: str, folder: Path, edits: Edits) -> str:
    """A copy of a port's package under another name, with the faults in it."""
    spec = find_spec(f"refopt_{port}")
    assert spec is not None
    assert spec.origin is not None
    package = folder / f"broken_{port}"
    package.mkdir()
    for file in Path(spec.origin).parent.glob("*.py"):
        text = replaced(file.read_text(encoding="utf-8"), list(edits.get(file.name, [])))
        (package / file.name).write_text(text.replace(f"refopt_{port}", package.name), encoding="utf-8")
    return f"{package.name}.backend:BACKEND"


@pytest.mark.parametrize(
    ("port", "fault", "cases", "edits"), PORT_FAULTS, ids=lambda x: x if isinstance(x, str) else ""
)
def test_broken_ports_are_caught(port: str, fault: str, cases: str, edits: Edits, tmp_path: Path) -> None:
    if (reason := importable(port)) is not None:
        pytest.skip(f"{port} does not run here: {reason}")
    backend = broken_port(port, tmp_path, edits)
    done = conform(backend, "--profile", "brief", "-k", cases, folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ULPs apart" in done.stdout
    assert f"{cases.removeprefix('one_step/').removesuffix('/float32')}\n" in done.stdout, (
        "the rule and dialect that deviate are named in a line"
    )
    assert "deviates: " in done.stdout
    assert "Traceback" not in done.stdout
    assert "judge.py" not in done.stdout, "what went wrong is said, not where the suite noticed"


KERNEL_FAULT = """
from refopt.engines import numba_engine

original = numba_engine.module_source

def module_source(planned, dtype):
    source = original(planned, dtype)
    assert {old!r} in source, "the fault no longer applies"
    return source.replace({old!r}, {new!r})

numba_engine.module_source = module_source
BACKEND = numba_engine.BACKEND
"""
HOST_FAULT = """
from refopt.engines import numba_engine

class Engine(numba_engine.NumbaEngine):
    def update(self, hyper, t, *arrays, in_place):
        return super().update(hyper, t + 1, *arrays, in_place=in_place)

BACKEND = Engine()
"""
ENGINE_FAULTS = {
    "eps placement": (ADAM, KERNEL_FAULT.format(old="np.sqrt(v_hat) + eps", new="np.sqrt(v_hat + eps)")),
    "stale moment": (ADAM, KERNEL_FAULT.format(old="m_hat = m / c1", new="m_hat = m_[e] / c1")),
    "step off by one": (ADAM, HOST_FAULT),
    "another tensor's value": (LARS, KERNEL_FAULT.format(old="q0 = q[0, i]", new="q0 = q[0, 0]")),
}


@pytest.mark.parametrize("fault", ENGINE_FAULTS)
def test_broken_engines_are_caught(fault: str, tmp_path: Path) -> None:
    if (reason := importable("numba")) is not None:
        pytest.skip(f"numba does not run here: {reason}")
    cases, text = ENGINE_FAULTS[fault]
    (tmp_path / "broken_numba.py").write_text(text, encoding="utf-8")
    arguments = ("broken_numba:BACKEND", "--profile", "brief", "-k", cases)
    done = conform(*arguments, folder=tmp_path, REFOPT_CACHE_DIR=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "ULPs apart" in done.stdout


TOY = """
from refopt.engines.numpy_engine import NumpyEngine
from refopt.rules import RULES
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Rule, Slot
from refopt.spec.edits import line

def toy(w, g, s, *, t, lr, zeta):
    s = s + zeta * g
    w = w - lr * s
    return w, s

RULES["toy"] = Rule(
    name="toy",
    title="A rule that the suite has never heard of",
    function=toy,
    hyper_parameters=(
        HyperParameter("lr", "η", 0.1, "[0, inf)", "learning rate"),
        HyperParameter("zeta", "ζ", 1.0, "(0, 1]", "a number of its own", probes=(0.75, 0.5)),
    ),
    slots=(Slot("s", "s", "sum"),),
    axes=(Axis("sum_of", "what is summed", (
        Choice("gradients", "the gradients"),
        Choice("squares", "their squares", edits=(line("s = s + zeta * g * g"),)),
    )),),
    dialects=(Dialect("paper", "none"),),
    references=(),
)

class Deaf(NumpyEngine):
    def update(self, hyper, *arrays, in_place):
        return super().update(hyper.replace(zeta=1.0), *arrays, in_place=in_place)

GOOD, DEAF = NumpyEngine(), Deaf()
"""


@pytest.mark.parametrize(("backend", "status"), [("GOOD", 0), ("DEAF", 1)])
def test_a_new_rule_is_tested_as_it_is_declared(backend: str, status: int, tmp_path: Path) -> None:
    """Its choices are cases, and its numbers vary: a backend that knows no more than its defaults is found out."""
    (tmp_path / "toy.py").write_text(TOY, encoding="utf-8")
    done = conform(f"toy:{backend}", "-vv", "-k", "toy/paper", folder=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == status, done.stdout + done.stderr
    for case in (
        "toy/paper/float32",
        "toy/paper/bfloat16",
        "toy/paper/3x5/float32",
        "toy/paper/sum_of:squares/float32",
    ):
        assert f"test[one_step/{case}/mixed] {'FAILED' if status else 'PASSED'}" in done.stdout


DEVICES = [
    ("cpu", ("cpu",), "cpu"),
    ("cuda:1", ("cpu", "cuda:0", "cuda:1"), "cuda:1"),
    ("cuda", ("cpu", "cuda:0", "cuda:1"), "cuda:0"),
    ("gpu", ("cpu", "cuda:0"), "cuda:0"),
    ("gpu", ("gpu:0", "gpu:1", "cpu"), "gpu:0"),
    ("cuda", ("gpu:0", "cpu"), "gpu:0"),
    ("cuda:1", ("gpu:0", "gpu:1", "cpu"), "gpu:1"),
]


@pytest.mark.parametrize(("asked", "here", "found"), DEVICES)
def test_find_device(asked: str, here: tuple[str, ...], found: str) -> None:
    assert find_device("some", asked, here) == found


def test_absent_device() -> None:
    with pytest.raises(Unsupported, match="some: no device 'gpu' here; choose from cpu, tpu:0"):
        find_device("some", "gpu", ("cpu", "tpu:0"))


@pytest.mark.parametrize(
    ("backend", "device", "says"),
    [
        ("numpy", "gpu", "numpy: no device 'gpu' here; choose from cpu, or leave it out"),
        ("numpyy", None, "unknown backend 'numpyy'"),
        ("no_such_module:BACKEND", None, "No module named 'no_such_module'"),
        ("refopt.rules:BACKEND", None, "has no 'BACKEND'"),
        ("refopt.rules:RULES", None, "is no backend"),
    ],
)
def test_what_cannot_run_says_why(
    backend: str, device: str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(backend, device=device) == 2
    assert says in capsys.readouterr().err


def test_skips_are_counted_by_reason(tmp_path: Path) -> None:
    (tmp_path / "half_done.py").write_text(
        "from refopt.engines.numpy_engine import NumpyEngine\n"
        "class Engine(NumpyEngine):\n"
        "    def supports(self, hyper, dtype, device=None):\n"
        "        return None if dtype == 'float32' else 'half_done: only float32 so far'\n"
        "BACKEND = Engine()\n",
        encoding="utf-8",
    )
    done = conform("half_done:BACKEND", "-k", "/sgd/ and one_step", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = len([line for line in done.stdout.splitlines() if line.endswith("half_done: only float32 so far")])
    assert skipped == 1
    assert "passed, " in done.stdout
    everything = conform("half_done:BACKEND", "-k", "/sgd/ and float64", folder=tmp_path)
    assert everything.returncode == 2, "what was never run does not conform"
    assert "was not tested: every case was skipped" in everything.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["-k", "no_such_rule"], "was not tested: no case matches the arguments"), (["--no-such"], "--no-such")],
)
def test_what_runs_nothing_says_so(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = conform("numpy", *arguments, folder=tmp_path)
    assert done.returncode == 2
    assert says in done.stdout + done.stderr
