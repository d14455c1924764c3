"""What is added over the whole model is: over parameters of other dtypes, and over the groups of a torch optimizer."""

from __future__ import annotations

import numpy as np
import pytest
from port_cases import TORCH_ULPS
from running_cases import ulps

from refopt.engines.numpy_engine import BACKEND as NUMPY
from refopt.rules import RULES
from refopt.selection import get_backend, importable
from refopt.spec.hyper import Hyper

HYPERS = [
    RULES["lamb"].hyper(dialect="apex", lr=0.1, max_norm=0.5),
    RULES["prodigy"].hyper(dialect="prodigyopt", d0=0.5, d_coef=64.0),
]
each_rule = pytest.mark.parametrize("hyper", HYPERS, ids=lambda hyper: hyper.rule.name)


def draw(seed: int, dtypes: tuple[str, ...]) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_normal((3, i + 1)).astype(dtype) for i, dtype in enumerate(dtypes)]


@each_rule
@pytest.mark.parametrize("name", ["torch", "jax"])
def test_dtypes_share_their_totals(hyper: Hyper, name: str) -> None:
    if (reason := importable(name)) is not None:
        pytest.skip(f"{name} does not run here: {reason}")
    backend, dtypes = get_backend(name), ("float32", "float16", "float16")
    ours = draw(0, dtypes)
    theirs = [backend.adopt(w) for w in ours]
    slots, other = NUMPY.init(hyper, ours), backend.init(hyper, theirs)
    for t in (1, 2, 3):
        grads = draw(t, dtypes)
        ours, slots = NUMPY.update(hyper, t, ours, grads, slots, in_place=False)
        given = [backend.adopt(g) for g in grads]
        theirs, other = backend.update(hyper, t, theirs, given, other, in_place=False)
    for a, b in zip(ours, theirs, strict=True):
        assert ulps(np.array(backend.to_numpy(b)), a) <= TORCH_ULPS, (
            "elsewhere than NumPy by far less than a lost total"
        )


@each_rule
def test_groups_of_a_torch_optimizer_share_their_totals(hyper: Hyper) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, whose optimizers have groups")
    from refopt_torch import Optimizer

    results = []
    for grouped in (False, True):
        params = [torch.tensor(w, requires_grad=True) for w in draw(0, ("float64",) * 3)]
        opt = Optimizer([{"params": params[:1]}, {"params": params[1:]}] if grouped else params, hyper)
        for t in (1, 2, 3):
            for p, g in zip(params, draw(t, ("float64",) * 3), strict=True):
                p.grad = torch.tensor(g)
            opt.step()
        results.append([p.detach().numpy() for p in params])
    assert ulps(*results) <= TORCH_ULPS
