"""One of the processes of torch: DTensors, cut evenly, unevenly and so that a shard is empty, and FSDP2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode

from refopt.spec.hyper import Hyper
from refopt_conformance.cases import Case
from refopt_conformance.driver import Driver
from refopt_conformance.reference import State, Step
from refopt_conformance.sharded.compare import follow, judged
from refopt_conformance.sharded.models import Leaf, along_dimensions, cases, chain, exchanging, refusal, takes_norms
from refopt_conformance.sharded.results import Result
from refopt_conformance.sharded.worker import Checks, Task, work
from refopt_torch import BACKEND, Optimizer

TIMEOUT = timedelta(seconds=30)  # of a collective: whoever waits longer waits for a process that is gone
PLAIN = "plain"  # the leaf that is no DTensor: models have such parameters too

# Over two processes.
LEAVES = (
    Leaf("scalar", (), ()),
    Leaf("even", (8,), ("x",)),
    Leaf("uneven", (7,), ("x",)),
    Leaf("of one", (1,), ("x",)),  # the second shard is empty
    Leaf("empty", (0,), ("x",)),
    Leaf("rows", (33, 17), ("x", None)),
    Leaf("columns", (4, 7), (None, "x")),
    Leaf("one row", (1, 5), ("x", None)),
    Leaf("replicated", (5,), (None,)),
    Leaf(PLAIN, (3, 2), (None, None)),
)
# FSDP2 cuts the first dimension, and takes no tensor without one.
FSDP_LEAVES = tuple(leaf for leaf in LEAVES if leaf.shape and leaf.name not in ("empty", PLAIN))


def checks(task: Task) -> Checks:
    place = f"tcp://127.0.0.1:{task.port}"
    dist.init_process_group("gloo", init_method=place, rank=task.rank, world_size=task.processes, timeout=TIMEOUT)
    mesh, driver = init_device_mesh("cpu", (task.processes,), mesh_dim_names=("x",)), Driver(BACKEND, None, "torch")
    update = own_shards(driver) if task.fault == "local-norm" else None

    def on_dtensors(steps: list[Step]) -> Iterator[State]:
        return follow(driver, steps, lambda arrays: placed(arrays, mesh), update)

    for case in along_dimensions():
        name, params = f"dtensor/{case.name}", placed(next(chain(case, LEAVES)).before.params, mesh)
        yield name, partial(refusal, name, partial(driver.backend.init, case.hyper(1), params))
    for case in exchanging(task.profile) if update is None else ():
        yield f"dtensor/{case.name}/exchange", partial(exchange, case, mesh, driver)
    for case in cases(task.profile):
        check = partial(judged, "dtensor", case, LEAVES, driver, on_dtensors)
        yield f"dtensor/{case.name}/{case.precision}", check
    for case in cases(task.profile) if task.fault is None else ():
        if case.conventions.program.reads_gradient:  # else it is no optimizer
            check = partial(judged, "fsdp2", case, FSDP_LEAVES, driver, partial(on_fsdp, mesh=mesh, driver=driver))
            yield f"fsdp2/{case.name}/{case.precision}", check
    dist.destroy_process_group()


def placed(arrays: list[np.ndarray], mesh: DeviceMesh) -> list[Any]:
    """Each leaf as its table says."""
    tensors: list[Any] = []
    for leaf, array in zip(LEAVES, arrays, strict=True):
        tensor = BACKEND.adopt(array)
        placement = Shard(leaf.cut.index("x")) if "x" in leaf.cut else Replicate()
        tensors.append(tensor if leaf.name == PLAIN else distribute_tensor(tensor, mesh, [placement]))
    return tensors


def exchange(case: Case, mesh: DeviceMesh, driver: Driver) -> Result:
    """A step of elements exchanges nothing; one with norms reduces these, and moves no tensor."""
    step = next(chain(case, LEAVES))
    params, grads = placed(step.before.params, mesh), step.grads and placed(step.grads, mesh)
    slots = driver.backend.init(step.hyper, params)
    with CommDebugMode() as seen:
        driver.backend.update(step.hyper, 1, params, grads, slots, in_place=True)
    counts = {str(operation): count for operation, count in seen.get_comm_counts().items() if count}
    reduced = all("allreduce" in operation.replace("_", "") for operation in counts)
    fine = reduced and bool(counts) == takes_norms(case.conventions)
    said = ", ".join(f"{count} x {operation}" for operation, count in counts.items()) or "nothing"
    return Result(f"dtensor/{case.name}/exchange", "passed" if fine else "failed", said)


def own_shards(driver: Driver) -> Callable[..., Any]:
    """The planted fault: each process updates its own shards as if they were the model, and takes their norms."""

    def shards(tensors: list[Any]) -> list[Tensor]:
        return [x.to_local() if isinstance(x, DTensor) else x for x in tensors]

    @torch.no_grad()
    def update(hyper: Hyper, t: int, params: list[Any], grads: Any, slots: dict[str, Any], *, in_place: bool) -> Any:
        own = {name: shards(slot) if isinstance(slot, list) else slot for name, slot in slots.items()}
        _, new = driver.backend.update(hyper, t, shards(params), grads and shards(grads), own, in_place=True)
        return params, {name: slots[name] if isinstance(slot, list) else slot for name, slot in new.items()}

    return update


class Model(nn.Module):
    """Its parameters times given numbers, summed: these are its gradients, to the last bit."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        super().__init__()
        self.leaves = nn.ParameterList(nn.Parameter(BACKEND.adopt(array)) for array in arrays)

    def forward(self, wanted: list[Tensor]) -> Tensor:
        return torch.stack([(p * g).sum() for p, g in zip(self.leaves, wanted, strict=True)]).sum()


def on_fsdp(steps: list[Step], mesh: DeviceMesh, driver: Driver) -> Iterator[State]:
    """The states of a model under FSDP2 and refopt_torch's own Optimizer: two equal batches, whose mean is exact."""
    model = Model([np.array(w) for w in steps[0].before.params])
    fully_shard(model, mesh=mesh)
    params = list(model.parameters())
    optimizer = Optimizer(params, steps[0].hyper)
    for step in steps:
        optimizer.param_groups[0].update({name: step.hyper.values[name] for name in step.hyper.read})
        optimizer.zero_grad()
        model([BACKEND.adopt(np.array(g)) for g in step.grads or []]).backward()
        optimizer.step()
        state = optimizer.state
        names = [slot.name for slot in step.hyper.program.slots if slot.clock == "element"]
        yield driver.read(step.hyper, step.t, params, {name: [state[p][name] for p in params] for name in names})


if __name__ == "__main__":
    work(checks)
