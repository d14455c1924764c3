"""One of the processes of jax, which all see eight virtual devices, as a mesh of four by two, Auto or Explicit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from refopt.clocks import estimates
from refopt.spec.hyper import Hyper
from refopt_conformance.cases import Case, canonical
from refopt_conformance.driver import Driver
from refopt_conformance.reference import State, Step
from refopt_conformance.sharded.compare import follow, judged
from refopt_conformance.sharded.models import (
    Leaf,
    along_dimensions,
    cases,
    chain,
    dealt,
    exchanging,
    first,
    refusal,
    takes_norms,
)
from refopt_conformance.sharded.results import Result
from refopt_conformance.sharded.worker import Checks, Task, work
from refopt_jax import ports
from refopt_jax.backend import BACKEND

WIDE = jax.config.read("jax_enable_x64")  # as the environment says
TIMEOUT = 30  # seconds for the processes to meet
MESH = {"x": 4, "y": 2}

ONE_EACH = "of one each"
LEAVES = (
    Leaf("scalar", (), ()),
    Leaf("vector", (16,), ("x",)),
    Leaf(ONE_EACH, (2,), ("y",)),
    Leaf("empty", (0, 5), ("x", None)),
    Leaf("rows", (24, 5), ("x", None)),
    Leaf("columns", (3, 16), (None, "y")),
    Leaf("both", (16, 8), ("x", "y")),
    Leaf("rows over both", (16, 32), (("x", "y"), None)),
    Leaf("replicated", (5,), (None,)),
)
UNEVEN = Leaf("uneven", (7,), ("x",))


def checks(task: Task) -> Checks:
    together = task.processes > 1 and not task.apart
    if together:
        jax.distributed.initialize(f"127.0.0.1:{task.port}", task.processes, task.rank, initialization_timeout=TIMEOUT)
    where = "processes-" if together else "devices-"
    if not hasattr(jax.sharding, "AxisType"):
        said = f"jax {jax.__version__} has no Explicit meshes and no jax.shard_map: install 0.7 or newer"
        yield where + "mesh", lambda: Result(where + "mesh", "skipped", said)
        return
    driver = Driver(BACKEND, None, "jax")
    meshes = {}
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        layout = where + str(kind.name).lower() + ("" if WIDE else "-x32")
        meshes[layout] = jax.make_mesh(tuple(MESH.values()), tuple(MESH), axis_types=(kind,) * len(MESH))
    gathered = task.fault is None and (task.profile != "brief" or (WIDE and not together))
    for case in along_dimensions() if task.mine(0) and gathered else ():  # XLA gathers what Auto meshes cut
        for layout, mesh in meshes.items():
            name, of_mesh = f"{layout}/{case.name}/{case.precision}", partial(check, layout, case, driver, mesh, None)
            yield name, of_mesh if "auto" in layout else partial(refusal, name, of_mesh)
    runs_here = {"brief": in_brief, "fast": in_fast, "full": in_full}[task.profile]
    for number, case in enumerate(exchanging(task.profile) if task.fault is None and not together else ()):
        for layout, mesh in meshes.items():
            if case.name in canonical() and runs_here(case, together, layout) and task.mine(number):
                yield f"{layout}/{case.name}/exchange", partial(exchange, layout, case, mesh, driver)
    number = 0
    for case in cases(task.profile):  # on all meshes, one after the other: the unsharded run is compiled once for them
        here = {layout: mesh for layout, mesh in meshes.items() if runs_here(case, together, layout)}
        number += bool(here)
        for layout, mesh in here.items() if task.mine(number) else ():
            update = own_shards(driver, mesh) if task.fault == "local-norm" else None
            yield f"{layout}/{case.name}/{case.precision}", partial(check, layout, case, driver, mesh, update)
    for layout, mesh in meshes.items():
        if task.mine(0):
            yield f"{layout}/uneven", partial(refused, f"{layout}/uneven", mesh)
    if together:
        jax.distributed.shutdown()


def in_fast(case: Case, together: bool, layout: str) -> bool:
    """What takes time is to compile, so dtypes are dealt to the meshes; the dialects in float32 run on both.

    Without jax_enable_x64 there is no float64, and what it changes is how norms are taken.
    """
    dialect, auto = case.name in canonical(), "auto" in layout
    if not WIDE:
        return dialect and case.dtype == "float32" and takes_norms(case.conventions)
    if not together:
        return case.dtype == ("bfloat16" if auto else "float64") or (case.dtype == "float32" and (dialect or not auto))
    return dialect and case.dtype == ("float32" if auto else "float64")


def in_brief(case: Case, together: bool, layout: str) -> bool:
    """The first dialect of a rule with norms as in fast. All else on the devices of an Explicit mesh alone.

    On an Auto mesh XLA places the reductions, and knows no dialects; rules of elements exchange nothing.
    """
    if takes_norms(case.conventions) and first(case):
        return in_fast(case, together, layout)
    return WIDE and not together and "auto" not in layout and case.dtype == "float32"


def in_full(case: Case, together: bool, layout: str) -> bool:
    """The dialects in every dtype on every mesh, and every other set of choices in the dtype that it was dealt.

    With norms, which alone exchange anything, choices run in float32 too, and between processes.
    """
    norms, mine = takes_norms(case.conventions), case.precision == dealt()[case.name]
    if not WIDE and case.dtype == "float64":
        return False
    if case.name in canonical():
        return True
    return WIDE and ((mine and (norms or not together)) or (norms and not together and case.precision == "float32"))


def exchange(layout: str, case: Case, mesh: Any, driver: Driver) -> Result:
    """A step of elements exchanges nothing; one with norms reduces these, and moves no tensor."""
    step = next(chain(case, LEAVES))
    params, grads = placed(step.before.params, mesh), step.grads and placed(step.grads, mesh)
    arrays, numbers = apart(driver.backend.init(step.hyper, params))

    def update(w: list[jax.Array], g: Any, s: dict[str, Any]) -> Any:
        if not estimates(step.hyper.program):
            return driver.backend.update(step.hyper, 1, w, g, {**s, **numbers}, in_place=False)
        rule, axes = step.hyper.rule.algorithm, step.hyper.axes
        given = {name: np.float64(value) for name, value in {**step.hyper.values, **numbers}.items()}
        coefficients = ports.PORTS[rule].coefficients(axes, given, np.float64(1), np)
        return ports.step(rule, axes, coefficients, w, g, s, [False] * len(w))  # as the backend compiles it

    with driver.hasty():  # what is exchanged is settled before LLVM
        program = jax.jit(update).lower(params, grads, arrays).compile().as_text() or ""
    found = sorted(set(re.findall(r" (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)", program)))
    fine = found == (["all-reduce"] if takes_norms(case.conventions) else [])
    name, said = f"{layout}/{case.name}/exchange", ", ".join(found) or "nothing"
    return Result(name, "passed" if fine else "failed", said)


def check(layout: str, case: Case, driver: Driver, mesh: Any, update: Callable[..., Any] | None) -> Result:
    def on_mesh(steps: list[Step]) -> Iterator[State]:
        return follow(driver, steps, lambda arrays: placed(arrays, mesh), update)

    return judged(layout, case, LEAVES, driver, on_mesh, lambda arrays: driver.adopt(pieces(arrays)))


def apart(slots: dict[str, Any]) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """The slots of arrays, which are traced, and those that are numbers of the whole model, which are not."""
    arrays = {name: slot for name, slot in slots.items() if isinstance(slot, list)}
    return arrays, {name: slot for name, slot in slots.items() if name not in arrays}


def pieces(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The leaves, but the one whose shards have one element each as tensors of one element.

    XLA compiles these otherwise than longer ones, on one device too: it rounds other products and sums together.
    """
    found = []
    for leaf, array in zip(LEAVES, arrays, strict=True):
        found += np.split(array, array.size) if leaf.name == ONE_EACH else [array]
    return found


def specs(leaves: tuple[Leaf, ...], mesh: Any) -> list[PartitionSpec]:
    """As XLA writes down what comes out of a step. On an Auto mesh that is short, and of an empty array nothing.

    Written otherwise, the second step has inputs that the first one had not, and all is compiled twice.
    """
    if jax.sharding.AxisType.Explicit in mesh.axis_types:
        return [PartitionSpec(*leaf.cut) for leaf in leaves]
    found = []
    for leaf in leaves:
        cut = list(leaf.cut) if 0 not in leaf.shape else []
        while cut and cut[-1] is None:
            cut.pop()
        found.append(PartitionSpec(*cut))
    return found


def placed(arrays: list[np.ndarray], mesh: Any, leaves: tuple[Leaf, ...] = LEAVES) -> list[jax.Array]:
    """Each leaf as its table says; every process brings the shards of its own devices."""
    return [
        jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), array.__getitem__)
        for array, spec in zip(arrays, specs(leaves, mesh), strict=True)
    ]


def refused(name: str, mesh: Any) -> Result:
    """jax has no uneven shards: what does not divide is replicated, or padded, by whoever places it."""
    try:
        placed([np.ones(UNEVEN.shape)], mesh, (UNEVEN,))
    except ValueError as error:
        return Result(name, "skipped", f"there are no uneven shards in jax {jax.__version__}: {error}")
    return Result(name, "failed", f"jax {jax.__version__} takes uneven shards, which this table lacks: add them")


def own_shards(driver: Driver, mesh: Any) -> Callable[..., Any]:
    """The planted fault: the step runs inside shard_map, where an array is a shard, and so is its norm."""

    def update(hyper: Hyper, t: int, params: list[Any], grads: Any, slots: dict[str, Any], *, in_place: bool) -> Any:
        arrays, numbers = apart(slots)
        like = specs(LEAVES, mesh)

        def step(w: list[Any], g: Any, s: dict[str, Any]) -> Any:
            new, after = driver.backend.update(hyper, t, w, g, {**s, **numbers}, in_place=in_place)
            return new, {name: after[name] for name in s}

        given = (like, None if grads is None else like, dict.fromkeys(arrays, like))
        out = (like, dict.fromkeys(arrays, like))
        new, after = jax.shard_map(step, mesh=mesh, in_specs=given, out_specs=out, check_vma=False)(
            params, grads, arrays
        )
        return new, {**slots, **after}

    return update


if __name__ == "__main__":
    work(checks)
