"""refopt's rules in PyTorch: an independent port, written from the equations, that updates tensors in place.

`BACKEND` runs it behind refopt's functions; `Optimizer` is a `torch.optim.Optimizer` for every rule with gradients.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refopt_torch.backend import BACKEND
    from refopt_torch.optimizer import Optimizer

__all__ = ["BACKEND", "Optimizer"]


def __getattr__(name: str) -> Any:
    if name == "BACKEND":
        from refopt_torch.backend import BACKEND

        return BACKEND
    if name == "Optimizer":
        from refopt_torch.optimizer import Optimizer

        return Optimizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
