"""The example of a third-party backend: installed from its own pyproject.toml, found, chosen, run and tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("array_api_strict", reason="array-api-strict is not installed, which the example wraps")

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "refopt-strict"

# Each runs in a process of its own, in which the package is installed; warnings are errors.
PROGRAMS = {
    "chosen by the type of the arrays": """
        opt = refopt.Adam({"w": xp.asarray([1.0, -2.0])})
        assert opt.backend.name == "strict", opt.backend
        """,
    "chosen by name": """
        with refopt.use("strict") as backend:
            assert refopt.SGD([np.ones(2)]).backend is backend
        """,
    "equal to the reference": """
        for dialect in ("paper", "objax", "torch", "keras"):
            for make in (refopt.SGD, refopt.Momentum, refopt.Adam):
                w, v = np.array([1.0, -2.0]), xp.asarray([1.0, -2.0])
                reference, opt = make(w, dialect=dialect), make(v, dialect=dialect)
                for grads in ([0.5, -0.25], [0.0, 3.0]):
                    reference(0.1, np.array(grads))
                    opt(0.1, xp.asarray(grads))
                np.testing.assert_array_equal(np.asarray(v), w)
        """,
    "NumPy arrays are adopted and updated in place": """
        w = np.array([1.0, 2.0])
        refopt.SGD(w, backend="strict")(0.5, np.array([1.0, 1.0]))
        assert w.tolist() == [0.5, 1.5]
        v = xp.asarray([1.0, 2.0])
        refopt.SGD(v)(0.5, np.array([1.0, 1.0]))
        assert np.asarray(v).tolist() == [0.5, 1.5]
        """,
    "states go over from NumPy": """
        w, v = np.array([1.0, 2.0]), xp.asarray([1.0, 2.0])
        reference, opt = refopt.Adam([w]), refopt.Adam([v])
        reference(0.1, [np.array([1.0, 3.0])])
        opt.load_state_dict(reference.state_dict())
        assert opt.step == 1
        assert np.asarray(opt.slots["m"][0]).tolist() == reference.slots["m"][0].tolist()
        """,
    "nothing is changed by the pure layer": """
        v = xp.asarray([1.0, 2.0])
        state = refopt.init("momentum", v)
        new, after = refopt.update("momentum", v, xp.asarray([1.0, 1.0]), state, lr=0.5)
        assert np.asarray(v).tolist() == [1.0, 2.0]
        assert np.asarray(new).tolist() == [0.5, 1.5]
        assert np.asarray(state.slots["u"][0]).tolist() == [0.0, 0.0]
        """,
    "what it lacks is refused with the reason": """
        for make, options, reason in (
            (refopt.LARS, {}, "lars is not implemented, only sgd, momentum, adam; use the numpy backend"),
            (refopt.Adam, {"amsgrad": "raw"}, "adam has amsgrad no, not 'raw'; use the numpy backend"),
            (refopt.Adam, {"device": "moon"}, "there is no device 'moon'"),
        ):
            try:
                make(xp.asarray([1.0]), **options)
            except refopt.Unsupported as error:
                assert reason in str(error), error
            else:
                raise AssertionError(f"not refused: {make}, {options}")
        """,
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the example is installed, without the network."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    run("-m", "pip", "install", *options, "--target", str(target), str(EXAMPLE))
    assert (target / "refopt_strict.py").is_file()
    return {k: v for k, v in os.environ.items() if not k.startswith("REFOPT_")} | {"PYTHONPATH": str(target)}


def run(*arguments: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refopt(*arguments: str, environment: dict[str, str]) -> str:
    """The `refopt` command."""
    return run("-c", "from refopt.cli import main; main()", *arguments, environment=environment)


def test_doctor_lists_it(environment: dict[str, str]) -> None:
    found = json.loads(refopt("doctor", "--json", environment=environment))
    (strict,) = [one for one in found["backends"] if one["name"] == "strict"]
    assert strict["works"]
    assert strict["entry_point"] == "refopt_strict:BACKEND"
    assert strict["version"].startswith("array_api_strict ")
    assert strict["devices"] == ["cpu"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_runs(environment: dict[str, str], program: str) -> None:
    lines = [line[8:] for line in PROGRAMS[program].splitlines()]
    text = "\n".join(["import array_api_strict as xp, numpy as np, refopt", *lines])
    run("-W", "error", "-c", text, environment=environment)


def test_it_conforms(environment: dict[str, str]) -> None:
    """What it does not implement is skipped, and the reason is printed."""
    printed = refopt("conform", "strict", "-k", "one_step and float32", environment=environment)
    assert " passed" in printed
    for reason in ("lars is not implemented", "ema is not implemented", "adam has amsgrad no, not 'raw'"):
        assert reason in printed
