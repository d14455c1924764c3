"""What a driver drives in this process: optimizers of a framework, and Python functions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from refopt.spec.errors import Broken, Unsupported
from refopt.verifying.drivers.base import DTYPES, Driver, Refusal
from refopt.verifying.drivers.function import Wrong
from refopt.verifying.subjects.base import Interface, names, timed


class LibrarySubject:
    """A driver's target, under refopt's names."""

    def __init__(self, name: str, driver: Driver, options: Mapping[str, Any]) -> None:
        self.name, self.driver, self.options = name, driver, options
        self.step_seconds: list[float] = []
        self.interface = Interface(
            driver.arguments,
            driver.per_step,
            driver.any_argument,
            getattr(driver, "any_number", False),
            getattr(driver, "stated", False),
            driver.average,
            getattr(driver, "dtypes", DTYPES),
            framework=driver.framework,
            versions=driver.versions,
        )
        self.names = names(name, self.interface, options)

    def drive(
        self, params: list[np.ndarray], grads: list[list[np.ndarray]], hyper: list[dict[str, float]]
    ) -> list[list[np.ndarray]]:
        numbers = [self.names.own(now) for now in hyper]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a stranger's code warns of is not the verdict's business
            try:
                self.driver.start(params, numbers[0], self.names.others)
            except Refusal as refusal:
                raise Unsupported(f"{self.name}: {refusal}") from refusal
            except (Exception, SystemExit) as error:  # a stranger's code may raise anything: that is the answer
                raise Unsupported(f"{self.name} cannot be made so: {_said(error)}") from error
            try:
                steps = (self.driver.step(g, now) for g, now in zip(grads, numbers, strict=True))
                self.step_seconds = []
                return list(timed(steps, self.step_seconds))
            except Refusal as refusal:
                kind = Broken if isinstance(refusal, Wrong) else Unsupported
                raise kind(f"{self.name} {refusal}") from refusal
            except (Exception, SystemExit) as error:
                raise Unsupported(f"{self.name} raised {_said(error)}") from error

    def close(self) -> None:
        pass


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
