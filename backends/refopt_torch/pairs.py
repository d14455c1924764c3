"""Complex parameters: run as pairs of real numbers, as torch.optim runs them.

By the modulus (axis `complex`) a square is |x|**2, a size |x| and a direction x/|x| of the number, and what is real
stands beside both of its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper
from refopt_torch._shared import Axes
from refopt_torch.sharded import is_cut


def refused_complex(hyper: Hyper) -> str | None:
    """Why complex parameters cannot be updated by these conventions, or None: they are, in pairs."""
    if reason := hyper.refuses_complex:
        return f"torch: {reason}"
    return None


def seen(tensor: Tensor) -> Tensor:
    """The tensor as it is run: of complex numbers the pairs, in the same memory."""
    if not tensor.is_complex():
        return tensor
    if is_cut(tensor):
        raise Unsupported("torch: complex parameters cannot be sharded; replicate them, or shard their parts")
    return torch.view_as_real(tensor.detach().resolve_conj())


def read_as(axes: Axes, is_complex: bool) -> Axes:
    """The axes of one parameter: of a real one, `complex` says nothing."""
    return axes if is_complex or axes.get("complex") != "modulus" else {**axes, "complex": "parts"}


def squares(axes: Axes, x: list[Tensor]) -> list[Tensor]:
    """x*x of each number, or |x|**2 by the modulus."""
    return _of_both(axes, list(torch._foreach_mul(x, x)))


def add_squares_(axes: Axes, kept: list[Tensor], x: list[Tensor], scale: float) -> None:
    """kept += scale * x*x, or scale * |x|**2 by the modulus.

    Not addcmul_(kept, x, x, scale): where x*x is computed first it overflows sooner.
    """
    scaled = list(torch._foreach_mul(x, scale)) if scale != 1 else x
    if axes["complex"] == "modulus":
        torch._foreach_add_(kept, _of_both(axes, list(torch._foreach_mul(scaled, x))))
    else:
        torch._foreach_addcmul_(kept, scaled, x)


def sizes(axes: Axes, x: list[Tensor]) -> list[Tensor]:
    """|x|, in new tensors."""
    if axes["complex"] != "modulus":
        return list(torch._foreach_abs(x))
    return [torch.hypot(*y.unbind(-1)).unsqueeze(-1).repeat(*[1] * (y.ndim - 1), 2) for y in x]


def directions(axes: Axes, x: list[Tensor]) -> list[Tensor]:
    """x/|x|, 0.0 of either zero, NaN of NaN."""
    if axes["complex"] != "modulus":
        return [torch.where(y.isnan(), y, y.sign()) for y in x]
    return [torch.where(size == 0, 0.0, y / size) for y, size in zip(x, sizes(axes, x), strict=True)]


def once(axes: Axes, x: list[Tensor]) -> list[Tensor]:
    """What stands beside both parts of each number, once."""
    return x if axes["complex"] != "modulus" else [y[..., 0] for y in x]


def _of_both(axes: Axes, products: list[Tensor]) -> list[Tensor]:
    if axes["complex"] != "modulus":
        return products
    return [y.sum(-1, keepdim=True).expand_as(y) for y in products]
