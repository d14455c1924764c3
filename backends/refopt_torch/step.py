"""One step of any rule on any list of parameters: checked, grouped by device and dtype, widened where they are narrow.

float16 and bfloat16 parameters are computed in float32 and rounded once at the end. So are their slots if the axis
`state_dtype` says that these have the parameter's dtype; else slots are float32. Of sharded parameters each process
computes its own shards (`sharded`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from refopt.spec.backend import REAL_OF
from refopt.spec.errors import RefoptError, Unsupported, unknown
from refopt_torch._shared import Axes, Port, factored
from refopt_torch.adabelief import ADABELIEF
from refopt_torch.adadelta import ADADELTA
from refopt_torch.adafactor import ADAFACTOR
from refopt_torch.adagrad import ADAGRAD
from refopt_torch.adam import ADAM
from refopt_torch.adamax import ADAMAX
from refopt_torch.adan import ADAN
from refopt_torch.asgd import ASGD
from refopt_torch.ema import EMA
from refopt_torch.lamb import LAMB
from refopt_torch.lars import LARS
from refopt_torch.lion import LION
from refopt_torch.momentum import MOMENTUM
from refopt_torch.muon import MUON
from refopt_torch.nadam import NADAM
from refopt_torch.novograd import NOVOGRAD
from refopt_torch.pairs import read_as
from refopt_torch.prodigy import PRODIGY
from refopt_torch.radam import RADAM
from refopt_torch.rmsprop import RMSPROP
from refopt_torch.rprop import RPROP
from refopt_torch.schedule_free import SCHEDULE_FREE
from refopt_torch.schedule_free_adamw import SCHEDULE_FREE_ADAMW
from refopt_torch.sgd import SGD
from refopt_torch.sharded import brought, check_layout, check_parameter, is_cut, norms, shard, sums
from refopt_torch.sm3 import SM3
from refopt_torch.yogi import YOGI

PORTS: dict[str, Port] = {
    "sgd": SGD,
    "momentum": MOMENTUM,
    "rprop": RPROP,
    "asgd": ASGD,
    "adagrad": ADAGRAD,
    "rmsprop": RMSPROP,
    "adadelta": ADADELTA,
    "lion": LION,
    "adam": ADAM,
    "adamax": ADAMAX,
    "nadam": NADAM,
    "radam": RADAM,
    "adabelief": ADABELIEF,
    "yogi": YOGI,
    "adan": ADAN,
    "schedule_free": SCHEDULE_FREE,
    "schedule_free_adamw": SCHEDULE_FREE_ADAMW,
    "lars": LARS,
    "lamb": LAMB,
    "novograd": NOVOGRAD,
    "prodigy": PRODIGY,
    "sm3": SM3,
    "adafactor": ADAFACTOR,
    "muon": MUON,
    "ema": EMA,
}

WORKING = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in WORKING}


def get_port(rule: str, axes: Axes) -> Port:
    """The port of a rule; Unsupported if it lacks the rule, or one of the choices."""
    if rule not in PORTS:
        raise Unsupported(str(unknown("torch", "rule", rule, PORTS, "Run other rules on the numpy backend.")))
    choices = PORTS[rule].choices
    for axis, choice in axes.items():
        if choice not in choices.get(axis, ()):
            known = ", ".join(choices.get(axis, ())) or "nothing, the axis is unknown to it"
            raise Unsupported(
                f"torch: {rule} has no {axis}={choice!r}; it knows {known}. Run this choice on the numpy backend."
            )
    return PORTS[rule]


def refused(dtype: str) -> str | None:
    """Why parameters of this dtype cannot be updated, or None."""
    if dtype in DTYPES:
        return None
    remedy = "view them as pairs of real numbers (torch.view_as_real)" if dtype in REAL_OF else "convert them"
    return f"torch: parameters must be {', '.join(DTYPES)}; got {dtype}: {remedy}"


def working_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype of arithmetic for a parameter; Unsupported if there is none, or if it is not dense."""
    if tensor.dtype not in WORKING:
        raise Unsupported(str(refused(str(tensor.dtype).removeprefix("torch."))))
    if tensor.layout is not torch.strided:
        raise Unsupported(f"torch: tensors must be dense; got {tensor.layout}: call .to_dense() on it")
    check_parameter(tensor)
    return WORKING[tensor.dtype]


def keeping_dtype(axes: Axes, tensor: Tensor) -> torch.dtype:
    """The dtype of slots for a parameter; Unsupported if it cannot be updated."""
    working = working_dtype(tensor)
    return tensor.dtype if axes.get("state_dtype") == "parameter" else working


def initial_slot(axes: Axes, param: Tensor, init: str) -> Tensor:
    """One slot of one parameter before the first step."""
    dtype = keeping_dtype(axes, param)
    if init == "zero":
        return torch.zeros((), dtype=dtype, device=param.device)
    if init == "params":
        return param.detach().to(dtype, copy=True)
    if init.startswith("zeros of "):
        return torch.zeros(slot_shape(init, param), dtype=dtype, device=param.device)
    return torch.zeros_like(param, dtype=dtype)


def slot_shape(init: str, param: Tensor) -> tuple[int, ...]:
    """The shape of a slot of a parameter."""
    shape = tuple(param.shape)
    if init == "zero":
        return ()
    if init == "zeros of dimensions":
        return (sum(shape) if shape else 1,)
    if not init.startswith("zeros of "):
        return shape
    kind = init.split()[-1]
    found = factored(shape, "large" if "large" in init else "matrices")
    if (found is None) != (kind == "vectors"):
        return (0,)
    short = {"rows": found[1:], "columns": found[:1]}[kind] if found else ()
    return tuple(1 if dim in short else length for dim, length in enumerate(shape))


def check_step(
    rule: str, axes: Axes, params: Sequence[Tensor], grads: Sequence[Tensor] | None, slots: Mapping[str, Any]
) -> None:
    """Raise RefoptError for what `run_step_` cannot take: nothing has been written by then."""
    port = get_port(rule, axes)
    kept = [keeping_dtype(axes, p) for p in params]
    if port.reads_gradient != (grads is not None):
        wanted = "needs a gradient for each parameter; got None" if grads is None else "reads no gradient; pass None"
        raise RefoptError(f"torch: {rule} {wanted}")
    if grads is not None:
        _check_like("gradient", grads, params, [p.dtype for p in params])
    check_whole(port, axes, params)
    for name in port.tensors(axes):
        _check_like(f"slot {name}", slots[name], params, kept, str(port.slots(axes)[name]))


class Call(NamedTuple):
    """Step number t of some of a model's parameters, with these numbers; complex ones are given as pairs."""

    values: Mapping[str, float]
    t: int
    params: Sequence[Tensor]
    grads: Sequence[Tensor] | None
    slots: dict[str, Any]
    are_complex: Sequence[bool]


@torch.no_grad()
def run_step_(rule: str, axes: Axes, calls: Sequence[Call]) -> None:
    """What `check_step` has passed, as one model. Writes to params and to slots: tensors in place, floats anew."""
    port = get_port(rule, axes)
    waiting: list[tuple[Generator[Tensor, Tensor, None], Callable[[], None]]] = []
    for call in calls:
        groups: dict[tuple[torch.device, torch.dtype, bool], list[int]] = {}
        by_modulus = axes.get("complex") == "modulus"
        for i, (p, is_complex) in enumerate(zip(call.params, call.are_complex, strict=True)):
            groups.setdefault((p.device, p.dtype, is_complex and by_modulus), []).append(i)
        numbers = {name: value for name, value in call.slots.items() if not isinstance(value, list)}
        for (_, narrow, is_complex), indices in groups.items():  # every group starts from the same numbers
            running, write_ = _begin(port, read_as(axes, is_complex), call, dict(numbers), WORKING[narrow], indices)
            if running is None:
                write_()
            else:
                waiting.append((running, write_))
    _finish([running for running, _ in waiting])
    for _, write_ in waiting:
        write_()


def _begin(
    port: Port, axes: Axes, call: Call, numbers: dict[str, Any], dtype: torch.dtype, indices: Sequence[int]
) -> tuple[Generator[Tensor, Tensor, None] | None, Callable[[], None]]:
    """The update of some parameters that are alike, and what writes its results where they belong."""
    mine, tensors = [call.params[i] for i in indices], port.tensors(axes)
    shards = [shard(p).detach() for p in mine]
    w = [p.to(dtype) for p in shards]  # the tensor itself where its dtype is wide enough
    g = None
    if call.grads is not None:
        g = [shard(brought(call.grads[i], p)).detach().to(dtype) for i, p in zip(indices, mine, strict=True)]
    lists = {name: [shard(call.slots[name][i]) for i in indices] for name in tensors}
    state = {name: [x.to(dtype) for x in some] for name, some in lists.items()} | numbers
    whole: dict[str, Any] = {"norms": partial(norms, params=mine)} if port.takes_norms else {}
    whole |= {"sizes": [p.numel() for p in mine]} if port.takes_sizes else {}
    whole |= {"sums": partial(sums, params=mine)} if port.takes_totals else {}

    def write_() -> None:
        call.slots.update({name: state[name] for name in numbers})  # each group makes the same of the same number
        for kept, wide in [(lists[name], state[name]) for name in tensors] + ([(shards, w)] if g else []):
            if kept[0] is not wide[0]:  # it was widened
                torch._foreach_copy_(kept, wide)

    return port.update(w, g, state, t=call.t, axes=axes, **whole, **call.values), write_


def _finish(calls: Sequence[Generator[Tensor, Tensor, None]]) -> None:
    """Run the calls that wait for totals to their ends: each total is of what all of them add."""
    parts = [part for call in calls for part in islice(call, 1)]
    while parts:
        total = sum((part.to(parts[0].device) for part in parts[1:]), parts[0])
        sent = [_send(call, total.to(part.device)) for call, part in zip(calls, parts, strict=True)]
        parts = [part for part in sent if part is not None]


def _send(call: Generator[Tensor, Tensor, None], total: Tensor) -> Tensor | None:
    """What a call adds to the next total; None if it has ended."""
    try:
        return call.send(total)
    except StopIteration:
        return None


def check_whole(port: Port, axes: Axes, params: Sequence[Tensor]) -> None:
    """Refuse shards of what is looked along."""
    along = port.takes_whole or any(str(init).startswith("zeros of ") for init in port.slots(axes).values())
    if along and any(map(is_cut, params)):
        raise Unsupported(
            "torch: this rule looks along the dimensions of a parameter, of which each process has a shard alone;"
            " replicate the parameter, or use the jax backend"
        )


def _check_like(
    what: str,
    tensors: Sequence[Tensor],
    params: Sequence[Tensor],
    dtypes: Sequence[torch.dtype],
    init: str = "zeros",
) -> None:
    """Refuse what torch would broadcast, promote or fail on in its own words. `init` tells the shape, as of a slot."""
    if len(tensors) != len(params):
        raise RefoptError(f"torch: {what}: got {len(tensors)} for {len(params)} parameters; give one for each")
    for i, (x, p, dtype) in enumerate(zip(tensors, params, dtypes, strict=True)):
        if not isinstance(x, Tensor):
            raise Unsupported(f"torch: {what} {i} must be a torch.Tensor; got {type(x).__name__}: adopt() it first")
        if x.layout is not torch.strided:
            raise Unsupported(f"torch: {what} {i} must be dense; got {x.layout}: call .to_dense() on it")
        shape = slot_shape(init, p)
        if init in ("zeros", "params"):
            check_layout(f"{what} {i}", x, p)
        if (tuple(x.shape), x.dtype, x.device) != (shape, dtype, p.device):
            raise RefoptError(
                f"torch: {what} {i} must be {dtype} of shape {shape} on {p.device}, as its parameter needs;"
                f" got {x.dtype} of shape {tuple(x.shape)} on {x.device}"
            )
