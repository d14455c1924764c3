"""Sharded conformance: the cases on tensors that lie in shards over several processes and devices.

A rule whose values belong to the step or the element must come to the bits of the unsharded run of the same backend,
however a tensor is cut. A rule that takes norms adds in another order, and must stay within the budgets of a chain
around the float64 reference; its trust coefficient is 0.5, so that a wrong norm cannot hide.

refopt conform torch --sharded          python -m refopt_conformance.sharded jax --fault local-norm

torch: DTensor and FSDP2 over two processes (gloo). jax: eight virtual devices, and two real processes, on meshes whose
axes are Auto and Explicit. All processes are of this machine, and gone when `run` returns.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path

from refopt.spec.errors import unknown
from refopt_conformance import CANNOT_RUN, PROFILES
from refopt_conformance.sharded.launch import Plan, Watch, launch
from refopt_conformance.sharded.results import Result, merged

__all__ = ["BACKENDS", "DEADLINES", "FAULTS", "Result", "main", "run"]

# Seconds for the processes of one plan, by profile: several times what it takes, for machines with other work.
# Who waits for a single process that is gone waits for less: see the workers.
DEADLINES = {"brief": 300.0, "fast": 1200.0, "full": 7200.0}
# What can be planted: every process, or device, takes the norms of its own shards; one process stops taking part.
FAULTS = ("local-norm", "hang")

_DEVICES = "--xla_force_host_platform_device_count="
_PLANS = {
    "torch": (Plan("torch_worker", 2, {}),),
    "jax": (
        Plan("jax_worker", 2, {"XLA_FLAGS": _DEVICES + "8"}, apart=True),
        Plan("jax_worker", 2, {"XLA_FLAGS": _DEVICES + "8", "JAX_ENABLE_X64": "0"}, apart=True),
        Plan("jax_worker", 2, {"XLA_FLAGS": _DEVICES + "4"}),
    ),
}
BACKENDS = tuple(_PLANS)


def main(
    backend: str, *, profile: str = "fast", only: str = "", fault: str | None = None, report: Path | None = None
) -> int:
    """Run and print: 0 if it conforms, 1 if it deviates, 2 if nothing could be tested. `report` is a folder."""
    from refopt_conformance.sharded.summary import Sharded, progress, show  # rich, which the workers do without

    started = time.perf_counter()
    with progress(backend) as watch:
        results = run(backend, profile=profile, only=only, fault=fault, watch=watch)
    done = Sharded(backend, profile, results, time.perf_counter() - started)
    show(done)
    if report is not None:
        from refopt_conformance.sharded.report import write_report

        for file in write_report(done, report):
            print(f"written: {file}", file=sys.stderr)
    return {"conforms": 0, "deviates": 1}.get(done.word, CANNOT_RUN)


def run(
    backend: str,
    *,
    profile: str = "fast",
    only: str = "",
    fault: str | None = None,
    deadline: float | None = None,
    watch: Watch | None = None,
) -> list[Result]:
    """Every case of a profile on every layout of a backend, `torch` or `jax`; or those whose name matches `only`.

    Nothing waits forever: a process that is late is killed with those beside it, which is a failed result.
    """
    if backend not in BACKENDS:
        raise unknown("sharded", "backend", backend, BACKENDS)
    if profile not in PROFILES:
        raise unknown("sharded", "profile", profile, PROFILES)
    if fault is not None and fault not in FAULTS:
        raise unknown("sharded", "fault", fault, FAULTS)
    if find_spec(backend) is None:
        return [
            Result(backend, "skipped", f"{backend} is not installed; install it with: pip install refopt[{backend}]")
        ]
    results, seconds = [], DEADLINES[profile] if deadline is None else deadline
    for plan in _PLANS[backend]:
        results += merged(launch(plan, fault=fault, only=only, profile=profile, deadline=seconds, watch=watch))
    return results
