"""Where torch computes, and in which dtype."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .base import DTYPES, Refusal


def dtypes_on(torch: Any, device: str) -> list[str]:
    """Those of DTYPES that a device has. Raises Refusal if there is no such device here."""
    found = []
    reason = ""
    for name in DTYPES:
        try:
            torch.zeros(1, dtype=getattr(torch, name), device=device).cpu()
            found.append(name)
        except Exception as error:  # torch raises AssertionError, RuntimeError, TypeError, NotImplementedError
            reason = str(error).strip().partition("\n")[0].rstrip(".")
    if not found:
        raise Refusal(
            f"torch {torch.__version__} has no device {device!r} here: {reason}; "
            f"give one of {', '.join(devices(torch))}"
        )
    return found


def devices(torch: Any) -> Sequence[str]:
    """The kinds of device that are here."""
    kinds = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": getattr(torch, "xpu", None)}
    return ["cpu", *(name for name, kind in kinds.items() if kind is not None and kind.is_available())]


def version_of(torch: Any, device: str) -> dict[str, str]:
    """What a verdict says of a device that is not the CPU."""
    kind = torch.device(device).type
    if kind == "cpu":
        return {}
    return {f"torch on {kind}": torch.cuda.get_device_name(device) if kind == "cuda" else kind}


@contextmanager
def default_dtype(torch: Any, tensors: Sequence[Any]) -> Iterator[None]:
    """The dtype of the parameters as torch's default, in which optimizers keep counters on a device (`capturable`)."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(next((w.real.dtype for w in tensors), before))
    try:
        yield
    finally:
        torch.set_default_dtype(before)
