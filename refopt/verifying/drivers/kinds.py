"""Which driver a target has."""

from __future__ import annotations

from typing import Any

from .base import Driver, NoTarget, Refusal
from .flax_nnx import NnxDriver
from .function import FunctionDriver
from .keras_optimizer import KerasAverageDriver, KerasDriver
from .objax_module import ObjaxDriver
from .optax_transform import OptaxAverageDriver, OptaxDriver
from .torch_average import TorchAverageDriver
from .torch_optim import TorchDriver

# The first that takes a target has it; a function takes what is left.
KINDS: tuple[type[Driver], ...] = (
    TorchAverageDriver,
    TorchDriver,
    KerasDriver,
    OptaxAverageDriver,
    OptaxDriver,
    ObjaxDriver,
    NnxDriver,
    FunctionDriver,
)
# Those that keep an average beside: what drives it, if that is asked for.
AVERAGES: dict[type[Driver], type[Driver]] = {KerasDriver: KerasAverageDriver}


def driver_of(target: Any, *, average: bool = False, device: str | None = None, as_used: bool = False) -> Driver:
    """The driver of a target; `average` asks for the average that an optimizer keeps.

    Unless it is to be driven `as_used`, its framework's default dtype is that of the parameters.

    Raises NoTarget if it has none, Refusal if it cannot be driven, or not on this device.
    """
    kind = next((kind for kind in KINDS if kind.takes(target)), None)
    if kind is None:
        raise NoTarget(
            f"is a {type(target).__name__}; give an optimizer class, an optimizer, an optax factory, or a function"
        )
    driver = (AVERAGES.get(kind, kind) if average else kind)(target)
    if as_used:
        vars(driver)["widen"] = False
    if device is not None:
        if not hasattr(driver, "put_on"):
            raise Refusal(f"device={device!r} is for optimizers of torch, and this is none; leave it out")
        driver.put_on(device)
    return driver
