"""The optimizers of the frameworks that an interpreter has, as JSON: `python listing.py`. It needs no refopt.

Each is a target for `refopt verify`, with its switches: the arguments that are True or False by default, and a momentum
that is off. An implementation has a convention behind most of them.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

OPTAX_MADE = "GradientTransformation"  # what its factories say that they return
KERAS_BACKENDS = ("tensorflow", "torch", "jax")


def torch() -> Iterator[tuple[str, Any]]:
    """The classes of torch.optim, and what averages parameters in torch.optim.swa_utils."""
    module = importlib.import_module("torch.optim")
    for name, thing in vars(module).items():
        if inspect.isclass(thing) and issubclass(thing, module.Optimizer) and thing is not module.Optimizer:
            yield f"torch.optim:{name}", thing
    averages = importlib.import_module("torch.optim.swa_utils")
    for name in averages.__all__:
        if name == "AveragedModel" or name.endswith("avg_fn"):
            yield f"torch.optim.swa_utils:{name}", getattr(averages, name)


def optax() -> Iterator[tuple[str, Any]]:
    """The aliases, the factories of contrib that take a learning rate, and ema."""
    module, contrib = importlib.import_module("optax"), importlib.import_module("optax.contrib")
    for place in (module, contrib):
        for name, thing in vars(place).items():
            made = getattr(thing, "func", thing) if isinstance(thing, functools.partial) else thing
            if not inspect.isfunction(made) or OPTAX_MADE not in str(inspect.signature(made).return_annotation):
                continue
            alias = place is module and (made.__module__ == "optax._src.alias" or name == "ema")
            rate = next(iter(inspect.signature(made).parameters), "") == "learning_rate"
            if alias or (place is contrib and rate and not name.startswith("scale_by_")):
                yield f"{place.__name__}:{name}", thing


def keras() -> Iterator[tuple[str, Any]]:
    """The classes of keras.optimizers; Keras needs a backend, and is given one that is here if it has none."""
    found = [name for name in KERAS_BACKENDS if importlib.util.find_spec(name)]
    if found:
        os.environ.setdefault("KERAS_BACKEND", found[0])
    module = importlib.import_module("keras").optimizers
    for name, thing in vars(module).items():
        if inspect.isclass(thing) and issubclass(thing, module.Optimizer) and thing is not module.Optimizer:
            yield f"keras.optimizers:{name}", thing


def timm() -> Iterator[tuple[str, Any]]:
    """The classes of timm.optim that are timm's own, not torch's under the same roof."""
    module = importlib.import_module("timm.optim")
    base = importlib.import_module("torch.optim").Optimizer
    for name, thing in vars(module).items():
        if inspect.isclass(thing) and issubclass(thing, base) and thing.__module__.startswith("timm."):
            yield f"timm.optim:{name}", thing


def objax() -> Iterator[tuple[str, Any]]:
    """The modules of objax.optimizer."""
    objax = importlib.import_module("objax")
    for name, thing in vars(objax.optimizer).items():
        if inspect.isclass(thing) and issubclass(thing, objax.Module):
            yield f"objax.optimizer:{name}", thing


FRAMEWORKS: dict[str, Callable[[], Iterator[tuple[str, Any]]]] = {
    "torch": torch,
    "optax": optax,
    "keras": keras,
    "timm": timm,
    "objax": objax,
}


def listing(frameworks: list[str]) -> dict[str, Any]:
    """What is installed of these: the version, the optimizers, the environment that it needs; or why it cannot be."""
    found: dict[str, Any] = {}
    for name in frameworks:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            targets = {target: _switches(thing) for target, thing in FRAMEWORKS[name]()}
            version = str(importlib.import_module(name).__version__)
            environment = {"KERAS_BACKEND": os.environ["KERAS_BACKEND"]} if name == "keras" else {}
            found[name] = {"version": version, "targets": targets, "environment": environment}
        except Exception as error:  # a stranger's: whatever its import raises is the answer
            found[name] = {"reason": f"{type(error).__name__}: {error}"}
    return found


def _switches(thing: Any) -> dict[str, Any]:
    """What is True or False by default, and `momentum` where that is None or 0."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {
        p.name: p.default
        for p in parameters
        if isinstance(p.default, bool) or (p.name == "momentum" and p.default in (None, 0))
    }


if __name__ == "__main__":
    print(json.dumps(listing(sys.argv[1:] or [*FRAMEWORKS])))
