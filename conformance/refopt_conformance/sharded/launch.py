"""Starts the processes of a run on this machine, waits for them, and leaves none behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from refopt_conformance.driver import environment as frameworks
from refopt_conformance.sharded.results import Report, read

PAUSE = 0.05  # seconds between two looks at the processes

Watch = Callable[[list[Path]], None]  # is shown, again and again, the files that the processes write


class Plan(NamedTuple):
    """A worker, which is a module of this package, in how many processes, and what else is in their environment.

    Processes that are `apart` do not meet, and share the cases: one for each of two processors.
    """

    worker: str
    processes: int
    environment: dict[str, str]
    apart: bool = False


def launch(
    plan: Plan, *, fault: str | None, only: str, profile: str, deadline: float, watch: Watch | None = None
) -> list[Report]:
    """What the processes of a plan wrote down."""
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{rank}.jsonl" for rank in range(plan.processes)]
        port, more = free_port(), [f"--only={only}", f"--profile={profile}"]
        more += [*(["--apart"] if plan.apart else []), *([] if fault is None else [f"--fault={fault}"])]
        module = f"{__package__}.{plan.worker}"
        commands = [
            [sys.executable, "-m", module, str(rank), str(plan.processes), str(port), str(file), str(deadline), *more]
            for rank, file in enumerate(files)
        ]
        environment = _environment(plan.environment)
        look = None if watch is None else partial(watch, files)
        lost = attend(commands, deadline=deadline, environment=environment, folder=Path(folder), look=look)
        return [Report(read(file), said) for file, said in zip(files, lost, strict=True)]


def attend(
    commands: Sequence[Sequence[str]],
    *,
    deadline: float,
    environment: Mapping[str, str],
    folder: Path,
    look: Callable[[], None] | None = None,
) -> list[str | None]:
    """How each process was lost, or None. When one fails, or time is up, the others are ended too."""
    logs = [folder / f"{rank}.log" for rank in range(len(commands))]
    processes: list[subprocess.Popen[bytes]] = []
    end = time.monotonic() + deadline
    try:
        for command, log in zip(commands, logs, strict=True):
            with log.open("wb") as file:
                processes.append(
                    subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file)
                )
        while any(p.poll() is None for p in processes) and not any(p.poll() for p in processes):
            if time.monotonic() > end:
                break
            time.sleep(PAUSE)
            if look is not None:
                look()
        status = [p.poll() for p in processes]
    finally:
        for p in processes:
            if p.poll() is None:
                p.kill()
            p.wait()
    if any(status):  # the others waited for what will not come: they are not to blame
        return [f"ended with status {s}: {_last_line(log)}" if s else None for s, log in zip(status, logs, strict=True)]
    return [None if s == 0 else f"did not finish within {deadline:g} s, and was ended" for s in status]


def free_port() -> int:
    """A port of the loopback interface that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Of the processes: CPU alone, one thread each, and talking over the loopback interface."""
    with frameworks():
        settled = dict(os.environ)
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    settled |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": loopback}
    settled |= {"JAX_PLATFORMS": "cpu", "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    settled["JAX_TRACEBACK_FILTERING"] = "off"  # which would end what a process says with a word about itself
    return settled | dict(more)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
