"""Tensors that lie in shards over several processes (DTensor, which FSDP2 makes of parameters too).

An update of elements needs no communication: it runs on this process's shard, which is a plain tensor, and comes to the
bits that the whole tensor would. A norm belongs to the whole tensor: the squares of the shards are summed over the
processes that hold different ones, in one all-reduce for all tensors that are sharded alike. `vector_norm` of a shard,
or `.item()` of that of a DTensor, is the norm of the shard alone.

Shards may be uneven, or empty. A process that has no DTensor never imports torch.distributed.tensor.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from refopt.spec.errors import RefoptError, Unsupported


def is_sharded(x: Any) -> bool:
    """Whether it is a DTensor."""
    module = sys.modules.get("torch.distributed.tensor")  # whoever has a DTensor has imported it
    return module is not None and isinstance(x, module.DTensor)


def is_cut(x: Any) -> bool:
    """Whether this process has a part of it, and not the whole."""
    return is_sharded(x) and not all(placement.is_replicate() for placement in x.placements)


def layout(x: Any) -> tuple[Any, ...] | None:
    """The mesh of a DTensor and its placement on each axis of the mesh; None for a plain tensor."""
    return (x.device_mesh, tuple(x.placements)) if is_sharded(x) else None


def shard(x: Any) -> Tensor:
    """What this process has of a tensor; it shares the tensor's memory."""
    return x.to_local() if is_sharded(x) else x


def like(local: Tensor, x: Any) -> Tensor:
    """A tensor that lies as x does, of which this process has this shard."""
    if not is_sharded(x):
        return local
    lies = {"run_check": False, "shape": x.shape, "stride": x.stride()}
    return type(x).from_local(local, x.device_mesh, x.placements, **lies)


def placed(whole: Tensor, x: Any) -> Tensor:
    """A plain tensor, the same in all processes, placed as x is: each process keeps its shard of it."""
    whole = whole.to(x.device)
    if not is_sharded(x):
        return whole
    replicate = sys.modules["torch.distributed.tensor"].Replicate
    copies = type(x).from_local(whole, x.device_mesh, [replicate()] * x.device_mesh.ndim, run_check=False)
    return copies.redistribute(placements=x.placements)


def gathered(x: Any) -> Tensor:
    """The whole tensor. For a DTensor all processes have to ask at the same time."""
    return x.full_tensor() if is_sharded(x) else x


def check_layout(what: str, x: Any, param: Any) -> None:
    """Refuse what lies otherwise than its parameter, except for a gradient that can be brought there."""
    here, wanted = layout(x), layout(param)
    if here == wanted or (what.startswith("gradient") and here and wanted and here[0] == wanted[0]):
        return
    place = "a plain tensor" if wanted is None else f"a DTensor on {wanted[0]} with placements {wanted[1]}"
    got = "a plain tensor" if here is None else f"a DTensor on {here[0]} with placements {here[1]}"
    raise RefoptError(f"torch: {what} must be {place}, as its parameter is; got {got}: distribute both alike")


def check_parameter(x: Any) -> None:
    """Refuse a parameter that is the sum of what the processes have: it has no elements that could be updated."""
    if is_sharded(x) and any(placement.is_partial() for placement in x.placements):
        raise Unsupported(
            f"torch: a parameter must be sharded or replicated; got placements {tuple(x.placements)}: redistribute it"
        )


def brought(grad: Any, param: Any) -> Tensor:
    """The gradient as its parameter lies: a sum over processes, or copies, may come out of a backward pass."""
    return grad if layout(grad) == layout(param) else grad.redistribute(placements=param.placements)


def norms(x: Sequence[Tensor], params: Sequence[Any]) -> Tensor:
    """The Euclidean norm of each whole tensor, as one float64 vector; `x` are shards that lie as the parameters do."""
    together = [y.contiguous() for y in x]  # else torch adds in the order in which they lie in memory
    own = torch.stack(torch._foreach_norm(together, 2, dtype=torch.float64))
    if any(is_sharded(p) for p in params):
        own = _whole(own**2, params).sqrt()
    return own


def sums(x: Sequence[Tensor], params: Sequence[Any]) -> Tensor:
    """The sum of each whole tensor's elements, as one float64 vector; `x` are shards that lie as the parameters do."""
    return _whole(torch.stack([y.contiguous().sum(dtype=torch.float64) for y in x]), params)


def _whole(own: Tensor, params: Sequence[Any]) -> Tensor:
    """What each whole tensor adds up to, of what this process's shards do."""
    groups: dict[tuple[Any, tuple[int, ...]], list[int]] = {}
    for i, p in enumerate(params):
        if is_sharded(p):
            cut = tuple(axis for axis, placement in enumerate(p.placements) if not placement.is_replicate())
            groups.setdefault((p.device_mesh, cut), []).append(i)
    for (mesh, cut), indices in groups.items():
        if cut:
            parts = own[indices]
            for axis in cut:
                torch.distributed.all_reduce(parts, group=mesh.get_group(axis))
            own[indices] = parts
    return own
