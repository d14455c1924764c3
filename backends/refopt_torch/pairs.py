"""Complex parameters: run as pairs of real numbers, as torch.optim runs them."""

from __future__ import annotations

import torch
from torch import Tensor

from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper
from refopt_torch.sharded import is_cut


def refused_complex(hyper: Hyper) -> str | None:
    """Why complex parameters cannot be updated by these conventions, or None: by parts they are, in pairs."""
    if reason := hyper.refuses_complex:
        return f"torch: {reason}"
    if hyper.axes.get("complex") == "modulus":
        return "torch: complex parameters are run by complex='parts' here; choose it, or the numpy or numba backend"
    return None


def seen(tensor: Tensor) -> Tensor:
    """The tensor as it is run: of complex numbers the pairs, in the same memory."""
    if not tensor.is_complex():
        return tensor
    if is_cut(tensor):
        raise Unsupported("torch: complex parameters cannot be sharded; replicate them, or shard their parts")
    return torch.view_as_real(tensor.detach().resolve_conj())
