"""The `refopt` command: every sub-command, its exit statuses, its JSON, and its refusals in one line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

from refopt import cli
from refopt.cli import arguments, learning
from refopt.rules import RULES
from refopt.selection import registry
from refopt.spec.errors import RefoptError

SUBJECTS = """
import numpy as np

def heavy_ball(params, grads, state, *, lr, momentum=0.9, forget=0):
    t, velocity = state or (1, [np.zeros_like(w) for w in params])
    velocity = [(0 if t == forget else momentum) * u + g for u, g in zip(velocity, grads)]
    return [w - lr * u for w, u in zip(params, velocity)], (t + 1, velocity)

def failing(params, grads, state, *, lr, momentum=0.9):
    raise RuntimeError("no luck")

def leaving(params, grads, state, *, lr):
    raise SystemExit(1)  # which would be the status of an optimizer that deviates

def truncating(params, grads, state, *, lr):
    return [w.astype("int64") for w in params], state

number = 3
"""

TRACE = str(Path(__file__).parents[1] / "docs" / "examples" / "trace.json")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def refopt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """`refopt(*arguments)`: (exit status, stdout, stderr), run in a folder with a file of subjects."""
    (tmp_path / "mine.py").write_text(SUBJECTS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["refopt", *arguments])
        status = 0
        try:
            cli.main()
        except SystemExit as done:
            status = int(done.code or 0)
        return (status, *capsys.readouterr())

    return run


# What works: (arguments, exit status, what is printed).
WORKS: list[tuple[tuple[str, ...], int, tuple[str, ...]]] = [
    (("list",), 0, (*RULES, "paper, objax, torch", "axes", "gradient_scale, lr_at")),
    (("show", "adam"), 0, ("Adam", "Kingma & Ba", "def adam(w, g, m, v", "sqrt(v_hat) + eps")),
    (("show", "adam", "--dialect", "objax"), 0, ("eps_at=inside_raw",)),
    (("show", "momentum", "-H", "nesterov=true"), 0, ("g + mu * u",)),
    (("show", "sgd", "--format", "latex"), 0, ("\\eta",)),
    (("show", "sgd", "--format", "markdown"), 0, ("# ", "```python")),
    (("explain", "sgd", "--steps", "2", "-H", "lr=0.5"), 0, ("w₁ = w₀ − η·g₁", "0.5", "Step 2")),
    (("explain", "adam", "--dtype", "float32", "--coordinate", "1"), 0, ("Element 1 of a float32",)),
    (("verify", "mine.py:heavy_ball"), 0, ("conforms to momentum", "nesterov", "pinned", "versions")),
    (("verify", "mine.py:heavy_ball", "--rule", "momentum", "-H", "momentum=0.5"), 0, ("conforms to momentum",)),
    (("verify", "mine.py:heavy_ball", "--rule", "momentum", "-H", "forget=3"), 1, ("deviates", "step 3", "expected")),
    (("verify", "mine.py:failing", "--rule", "momentum"), 2, ("unsupported", "RuntimeError: no luck")),
    (("verify", "mine.py:leaving"), 2, ("unsupported", "SystemExit: 1")),
    (("verify", "mine.py:truncating"), 2, ("unsupported", "must be one of float64", "got int64")),
    (("verify", "no_such_module:Adam"), 2, ("unsupported", "no_such_module cannot be imported", "ModuleNotFoundError")),
    (("identify", TRACE), 0, ("trace.json  conforms to momentum", "lr_at", "pinned", "3 steps in float64")),
    (("identify", TRACE, TRACE, "--rule", "momentum"), 0, ("trace.json, trace.json  conforms", "6 steps in float64")),
    (("doctor",), 0, ("numpy", "numba", "refopt_torch.backend:BACKEND", "chosen", "the default", "python")),
    (("--help",), 0, ("list", "show", "explain", "verify", "translate", "identify", "conform", "doctor")),
    (("verify", "--help"), 0, ("--json", "--rule", "0 conforms, 1 deviates, 2 cannot be run")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "printed"), WORKS, ids=lambda x: " ".join(x) if isinstance(x, tuple) else ""
)
def test_commands(refopt: Command, arguments: tuple[str, ...], status: int, printed: tuple[str, ...]) -> None:
    got, out, err = refopt(*arguments)
    assert got == status, err
    assert not [text for text in printed if text not in out], out
    assert err == ""


# What is refused: (arguments, what the one line says).
REFUSED: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("show", "adamm"), ("unknown rule 'adamm'", "sgd, momentum, rprop", "Did you mean 'adam'?")),
    (("show", "adam", "--dialect", "tf"), ("unknown dialect 'tf'", "paper, objax")),
    (("show", "adam", "-H", "eps_at=in"), ("'in'", "outside_hat")),
    (("show", "adam", "-H", "beta3=1"), ("'beta3'", "Did you mean")),
    (("show", "adam", "-H", "dialect=torch"), ("'dialect=torch'", "give dialect by itself")),
    (("explain", "adam", "-H", "beta1=2"), ("beta1", "[0, 1)", "2")),
    (("explain", "adam", "-H", "lr=NaN"), ("lr", "nan")),
    (("explain", "adam", "-H", "steps=2"), ("'steps=2'", "give steps by itself")),
    (("explain", "adam", "-H", "lr"), ("NAME=VALUE", "'lr'")),
    (("explain", "adam", "-H", "=3"), ("NAME=VALUE", "'=3'")),
    (("explain", "adam", "-H", "lr=1", "-H", "lr=2"), ("lr was given twice",)),
    (("explain", "adam", "--dtype", "int8"), ("int8", "float32")),
    (("explain", "adam", "--coordinate", "99"), ("99",)),
    (("verify", "torch.optim"), ("'torch.optim'", "module:name")),
    (("verify", "mine.py:missing"), ("'missing'", "it has", "heavy_ball")),
    (("verify", "mine.py:number"), ("int", "give an optimizer class")),
    (("verify", "mine.py:heavy_ball", "--rule", "adamm"), ("'adamm'", "Did you mean 'adam'?")),
    (("verify", "mine.py:heavy_ball", "-H", "rule=adam"), ("'rule=adam'", "give rule by itself")),
    (("identify", "none.npz"), ("there is no file none.npz", "ending in .npz or .json")),
    (("verify", "mine.py:heavy_ball", "-H", "colour=1"), ("'colour'", "momentum")),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=lambda x: " ".join(x) if isinstance(x, tuple) else "")
def test_refusals_are_one_line(refopt: Command, arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    status, out, err = refopt(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("refopt: ")
    assert err.count("refopt: ") == 1
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert not [text for text in said if text not in err], err


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("show",), ("explain", "adam", "--steps", "0"), ("show", "adam", "--format", "pdf")]
)
def test_what_is_no_command_shows_the_usage(refopt: Command, arguments: tuple[str, ...]) -> None:
    status, out, err = refopt(*arguments)
    assert (status, out) == (2, "")
    assert "Usage: refopt" in err
    assert "Traceback" not in err


# Every command with machine-readable output: (arguments, exit status, a question to the answer).
JSON: list[tuple[tuple[str, ...], int, Callable[[Any], bool]]] = [
    (("show", "adam", "--format", "json"), 0, lambda d: d["rule"] == "adam"),
    (("explain", "adam", "--json", "--steps", "2"), 0, lambda d: (d["rule"], len(d["steps"])) == ("adam", 2)),
    (("verify", "mine.py:heavy_ball", "--json"), 0,
     lambda d: (d["status"], d["rule"], d["axes"]["nesterov"]["choices"]) == ("conforms", "momentum", ["no"])),
    (("verify", "mine.py:heavy_ball", "--rule", "momentum", "-H", "forget=3", "--json"), 1,
     lambda d: (d["status"], d["first"]["step"]) == ("deviates", 3)),
    (("verify", "no_such_module:Adam", "--json"), 2, lambda d: "cannot be imported" in d["reason"]),
    (("doctor", "--json"), 0, lambda d: d["chosen"]["backend"] == "numpy"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "question"), JSON, ids=lambda x: " ".join(x) if isinstance(x, tuple) else ""
)
def test_json(refopt: Command, arguments: tuple[str, ...], status: int, question: Callable[[Any], bool]) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    got, out, err = refopt(*arguments)
    assert (got, err) == (status, "")
    assert question(json.loads(out, parse_constant=refuse))


OPTIONS = [
    (["mu=0.9", "nesterov=true", "decay=l2"], {"mu": 0.9, "nesterov": True, "decay": "l2"}),
    (
        ["a=True", "b=False", "c=1", "d=1e-3", "e=", "f=x=y"],
        {"a": True, "b": False, "c": 1, "d": 1e-3, "e": "", "f": "x=y"},
    ),
    (["betas=[0.9, 0.99]", "g=null"], {"betas": [0.9, 0.99], "g": None}),
    (None, {}),
]


@pytest.mark.parametrize(("options", "values"), OPTIONS, ids=str)
def test_options_are_numbers_truth_values_lists_or_words(options: list[str] | None, values: dict[str, Any]) -> None:
    assert arguments.parse(options) == values


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "command", ["list", "show lars", "explain lars --dtype float32", "verify mine.py:failing", "doctor"]
)
def test_no_line_is_longer_than_the_terminal(
    refopt: Command, monkeypatch: pytest.MonkeyPatch, columns: int, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = refopt(*command.split())[1]
    code = re.compile(r"  .* = .*  # |      https:")  # neither sources nor addresses are broken
    assert [line for line in out.splitlines() if cell_len(line) > columns and not code.match(line)] == []
    assert "…" not in out


def test_infinities_in_a_verdict_are_words() -> None:
    found = arguments.finite({"a": [np.inf, -np.inf], "b": (float("nan"), 1.5), "c": "inf"})
    assert found == {"a": ["inf", "-inf"], "b": ["nan", 1.5], "c": "inf"}


def test_the_doctor_shows_brackets(refopt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install 'refopt[torch]'` must not be taken for markup."""
    registry.get_backend.cache_clear()
    monkeypatch.setitem(sys.modules, "refopt_torch.backend", None)  # what makes its import fail
    try:
        status, out, _ = refopt("doctor")
    finally:
        registry.get_backend.cache_clear()
    assert status == 0
    assert "refopt[torch]" in "".join(out.split())


def test_a_refusal_of_several_lines_is_one(refopt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: list[str] | None, *__: str) -> None:
        raise RefoptError("the first,\n   the second")

    monkeypatch.setattr(learning, "parse", refuse)
    assert refopt("show", "adam") == (2, "", "refopt: the first, the second\n")


def test_conform_starts_the_suite(refopt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import refopt_conformance

    called: list[Any] = []
    monkeypatch.setattr(refopt_conformance, "main", lambda *a, **k: called.append((a, k)) or 5)
    assert (
        refopt(
            "conform", "torch", "--device", "cuda", "--resume", "-H", "nesterov=true", "-k", "adam and not lars", "-x"
        )[0]
        == 5
    )
    assert called == [
        (
            ("torch",),
            {
                "device": "cuda",
                "profile": "fast",
                "report": None,
                "resume": True,
                "expect": None,
                "rule": None,
                "options": {"nesterov": True},
                "arguments": ["-k", "adam and not lars", "-x"],
            },
        )
    ]
    monkeypatch.setitem(sys.modules, "refopt_conformance", None)
    status, _, err = refopt("conform", "torch")
    assert (status, err.count("\n")) == (2, 1)
    assert "pip install 'refopt[conform]'" in err


def test_conform_on_shards(refopt: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import refopt_conformance.sharded

    called: list[Any] = []
    monkeypatch.setattr(refopt_conformance.sharded, "main", lambda *a, **k: called.append((a, k)) or 1)
    assert refopt("conform", "jax", "--sharded", "--profile", "full", "--report", "out")[0] == 1
    assert called == [(("jax",), {"profile": "full", "report": Path("out")})]
    status, _, err = refopt("conform", "jax", "--sharded", "-k", "adam")
    assert status == 2
    assert "of the options it takes --profile and --report" in err


def test_the_process_ends_as_it_says(tmp_path: Path) -> None:
    """`python -m refopt` as a process: the status of a refusal, and no traceback when nobody reads on."""
    command = [sys.executable, "-m", "refopt"]
    refused = subprocess.run([*command, "show", "nope"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("refopt: unknown rule 'nope'")
    with subprocess.Popen([*command, "show", "adam"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as unread:
        assert unread.stdout is not None
        assert unread.stderr is not None
        unread.stdout.close()
        assert b"Traceback" not in unread.stderr.read()
