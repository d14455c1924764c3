"""The suite on bare subjects: a torch class, an optax factory, a Keras class, a function; and what cannot be run."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from refopt.spec.errors import RefoptError
from refopt_conformance.loading import load

EXPECTATIONS = Path(__file__).parents[1] / "docs" / "examples" / "keras-expectations.json"

ADAM = """
import numpy as np

def my_adam(params, grads, state, *, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    t, m, v = state or (0, [np.zeros_like(w) for w in params], [np.zeros_like(w) for w in params])
    t = t + 1
    with np.errstate(all="ignore"):
        m = [w.dtype.type(beta1) * x + w.dtype.type(1 - beta1) * g for x, g, w in zip(m, grads, params)]
        v = [w.dtype.type(beta2) * x + w.dtype.type(1 - beta2) * g * g for x, g, w in zip(v, grads, params)]
        c1, c2 = 1 - beta1**{t}, 1 - beta2**{t}
        new = [w - w.dtype.type(lr / c1) * x / (np.sqrt(y / w.dtype.type(c2)) + w.dtype.type(eps))
               for w, x, y in zip(params, m, v)]
    return new, (t, m, v)
"""

# The decay is in the first moment alone: no variant. Without decay nothing is wrong with it.
HALF_DECAYED = ADAM.replace("eps=1e-8)", "eps=1e-8, wd=0.0)").replace(
    "* g for x, g, w in zip(m,", "* (g + w.dtype.type(wd) * w) for x, g, w in zip(m,"
)

SHORT = ["-k", "float32 and not long"]
SUBJECTS = [
    # what is needed, target, further arguments, exit status, what is printed
    ("torch", "torch.optim:Adam", SHORT, 0, ["torch.optim:Adam is adam/torch, not adam/keras", "6 as expected"]),
    ("torch", "torch.optim:AdamW", SHORT, 0, ["torch.optim:AdamW is adam/adamw, not adam/torch", "10 as expected"]),
    ("torch", "torch.optim:Adam", [*SHORT, "-H", "amsgrad=true"], 0, ["is adam/torch/amsgrad:raw, not adam/torch"]),
    (
        "torch",
        "torch.optim:SGD",
        [*SHORT, "--rule", "momentum", "-H", "nesterov=true"],
        0,
        ["SGD is momentum/torch/nesterov:yes"],
    ),
    (
        "optax",
        "optax:adam",
        SHORT,
        0,
        ["optax:adam takes no wd, which this dialect of adam reads"],
    ),
    ("optax", "optax:lars", SHORT, 0, ["optax:lars is lars/optax, not lars/objax"]),
    ("keras", "keras.optimizers:Adam", ["-k", "float64 and usual"], 1, ["deviates"]),
    (
        "keras",
        "keras.optimizers:Adam",
        ["--expect", str(EXPECTATIONS)],
        0,
        ["Keras keeps the learning rate in float32"],
    ),
    ("numpy", "right.py:my_adam", [], 0, ["right.py:my_adam is adam/paper, not adam/objax"]),
    ("numpy", "late.py:my_adam", [], 1, ["deviates"]),
    (
        "numpy",
        "half.py:my_adam",
        ["--rule", "adam"],
        1,
        ["deviates from every variant of adam", "test_some_variant_fits"],
    ),
    ("numpy", "right.py:no_adam", [], 2, ["has no 'no_adam'"]),
    ("numpy", "right.py:np", [], 2, ["is no optimizer; a backend is named as right:np, from the folder of its file"]),
    ("numpy", "right.py:my_adam", ["-H", "beta1=0.5"], 2, ["the suite sets beta1 itself"]),
    ("numpy", "right.py:my_adam", ["--device", "gpu"], 2, ["is an optimizer, which runs on the CPU"]),
    ("numpy", "numpy", ["--rule", "adam"], 2, ["numpy is a backend, which has all rules"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("subjects")
    (made / "right.py").write_text(ADAM.replace("{t}", "t"), encoding="utf-8")
    (made / "half.py").write_text(HALF_DECAYED.replace("{t}", "t"), encoding="utf-8")
    (made / "late.py").write_text(ADAM.replace("{t}", "min(t, 256)"), encoding="utf-8")
    return made


@pytest.mark.parametrize(("needs", "target", "arguments", "status", "says"), SUBJECTS)
def test_bare_subjects(
    needs: str, target: str, arguments: list[str], status: int, says: list[str], folder: Path
) -> None:
    if find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    command = [sys.executable, "-c", "from refopt.cli import main; main()", "conform", target, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    printed = done.stdout + done.stderr
    assert done.returncode == status, printed
    for text in says:
        assert text in printed, printed


def test_a_backend_is_no_optimizer() -> None:
    found = load("refopt.engines.numpy_engine:BACKEND")
    assert found.name == "refopt.engines.numpy_engine:BACKEND"
    with pytest.raises(RefoptError, match="no_such_module"):
        load("no_such_module:Adam")
