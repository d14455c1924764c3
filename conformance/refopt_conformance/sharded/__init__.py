"""Sharded conformance: the cases on tensors that lie in shards over several processes and devices.

A rule whose values belong to the step or the element must come to the bits of the unsharded run of the same backend,
however a tensor is cut. A rule that takes norms adds in another order, and must stay within the budgets of a chain
around the float64 reference; its trust coefficient is 0.5, so that a wrong norm cannot hide.

refopt conform torch --sharded          python -m refopt_conformance.sharded jax --fault local-norm

torch: DTensor and FSDP2 over two processes (gloo). jax: eight virtual devices, and two real processes, on meshes whose
axes are Auto and Explicit. All processes are of this machine, and gone when `run` returns.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from refopt.spec.errors import unknown
from refopt_conformance.sharded.launch import launch
from refopt_conformance.sharded.results import Result, merged
from refopt_conformance.sharded.summary import show, write

__all__ = ["BACKENDS", "DEADLINE", "FAULTS", "Result", "main", "run"]

DEADLINE = 180.0  # seconds for the processes of one plan
# What can be planted: every process, or device, takes the norms of its own shards; one process stops taking part.
FAULTS = ("local-norm", "hang")

_DEVICES = "--xla_force_host_platform_device_count="
# Of each backend: the worker, how many processes, and what else is in their environment.
_PLANS: dict[str, tuple[tuple[str, int, dict[str, str]], ...]] = {
    "torch": (("torch_worker", 2, {}),),
    "jax": (
        ("jax_worker", 1, {"XLA_FLAGS": _DEVICES + "8"}),
        ("jax_worker", 1, {"XLA_FLAGS": _DEVICES + "8", "JAX_ENABLE_X64": "0"}),
        ("jax_worker", 2, {"XLA_FLAGS": _DEVICES + "4"}),
    ),
}
BACKENDS = tuple(_PLANS)


def main(backend: str, *, only: str = "", fault: str | None = None, report: Path | None = None) -> int:
    """Run and print: 0 if all cases have passed or been skipped, 1 if one has failed."""
    results = run(backend, only=only, fault=fault)
    show(backend, results)
    if report is not None:
        write(results, report)
    return int(any(result.outcome == "failed" for result in results))


def run(backend: str, *, only: str = "", fault: str | None = None, deadline: float = DEADLINE) -> list[Result]:
    """Every case on every layout of a backend, `torch` or `jax`; or those in whose name `only` is.

    Nothing waits forever: a process that is late is killed with those beside it, which is a failed result.
    """
    if backend not in BACKENDS:
        raise unknown("sharded", "backend", backend, BACKENDS)
    if fault is not None and fault not in FAULTS:
        raise unknown("sharded", "fault", fault, FAULTS)
    if find_spec(backend) is None:
        return [
            Result(backend, "skipped", f"{backend} is not installed; install it with: pip install refopt[{backend}]")
        ]
    results = []
    for worker, processes, environment in _PLANS[backend]:
        reports = launch(worker, processes, fault=fault, only=only, deadline=deadline, environment=environment)
        results += merged(reports)
    return results
