"""Between NumPy and torch, without a silent conversion.

Writable memory on the CPU is shared or refused: a copy would leave the caller's array as it was after an update in
place. Read-only memory counts as constant and is copied. Another device always means a copy.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from refopt.spec.backend import REAL_OF
from refopt.spec.errors import Unsupported
from refopt_torch.pairs import seen
from refopt_torch.sharded import gathered
from refopt_torch.step import refused, working_dtype

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def devices() -> tuple[str, ...]:
    """The devices that can be used now: the CPU first, then the CUDA (or ROCm) devices."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", *(f"cuda:{i}" for i in range(count)))


def absent(device: str | None) -> str | None:
    """Why this device cannot be used, or None."""
    here = devices()
    if device is None or device in here or (device == "cuda" and len(here) > 1):
        return None
    return f"torch: no device {device!r} here; choose from {', '.join(here)}"


def adopt(array: Any, device: str | None) -> Tensor:
    """A tensor as it is, or a NumPy array as a tensor of the same dtype; moved if another device is named."""
    if reason := absent(device):
        raise Unsupported(reason)
    if isinstance(array, Tensor):
        if array.is_conj():
            raise Unsupported("torch: a conjugate view cannot be updated in place; give its resolve_conj()")
        working_dtype(seen(array))  # refuses what cannot be updated
        tensor = array
    elif isinstance(array, np.ndarray | np.generic):
        tensor = _from_numpy(np.asarray(array))
    else:
        raise Unsupported(f"torch: expected a torch.Tensor or a NumPy array; got {type(array).__name__}: convert it")
    return tensor if device is None else tensor.to(device)


def _from_numpy(array: np.ndarray) -> Tensor:
    if reason := refused(REAL_OF.get(array.dtype.name, array.dtype.name)):
        raise Unsupported(reason)
    if not array.flags.writeable:
        array = array.copy()
    try:
        if array.dtype == _BFLOAT16:  # unknown to torch.from_numpy
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:  # negative strides, foreign byte order
        reason = str(error).partition(".")[0]
        raise Unsupported(
            f"torch: cannot share the memory of this NumPy array ({reason}); pass numpy.array(it), and use that"
        ) from None


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The values as a NumPy array of the same dtype, which shares memory with a tensor on the CPU.

    A sharded tensor is gathered: all processes have to ask for it at the same time.
    """
    tensor = gathered(tensor.detach()).cpu()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(_BFLOAT16)
    return tensor.numpy()
