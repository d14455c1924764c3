"""The exponential moving average of parameters, after objax."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from refopt.running.complex_leaves import as_given, as_seen, is_complex
from refopt.running.leaves import check_writable, flatten_like
from refopt.running.optimizers import Optimizer, given
from refopt.spec.errors import RefoptError, Unsupported

Result = TypeVar("Result")


class ExponentialMovingAverage(Optimizer):
    """`m = mu*m + (1 - mu)*w`, and what to evaluate with in place of w.

    `debias=False` evaluates with m. `debias=True` divides the start at zero out, as the dialect does: by
    `1 - (1 - eps)*mu**t` for objax, and wherever an eps is given; by `1 - mu**t` for paper and optax. The axis's own
    choices ("none", "standard", "objax") can be given in its place.

    To evaluate a whole model with its averages (objax's ExponentialMovingAverageModule), wrap the call:
    `evaluate = ema.replace_vars(model)`.
    """

    def __init__(
        self,
        params: Any,
        momentum: float | None = None,
        debias: bool | str = False,
        eps: float | None = None,
        *,
        dialect: str | None = None,
        **options: Any,
    ) -> None:
        if debias is False:
            debias = "none"
        elif debias is True:
            debias = "objax" if dialect == "objax" or eps is not None else "standard"
        super().__init__("ema", params, dialect=dialect, debias=debias, **given(momentum=momentum, eps=eps), **options)

    def __call__(self, params: Any = None) -> None:  # type: ignore[override]  # an average takes no gradient
        """Average in the parameters as they are now, or those given, which are the parameters from then on."""
        leaves, arrays = self._leaves, self._arrays
        if params is not None:
            leaves = replace(leaves, arrays=flatten_like(params, leaves, "params"))
            beside = [self.backend.beside(new, old) for new, old in zip(leaves.arrays, arrays, strict=True)]
            arrays = as_seen(self.backend, (self.backend.adopt(array, self.device) for array in beside))
        elif not self.backend.in_place:
            raise RefoptError(
                f"{self.backend.name} arrays do not change in place; pass the new parameters: ema(params)"
            )
        _, self._slots = self.backend.update(
            self.hyper, self.step + 1, arrays, None, self._slots, in_place=self.backend.in_place
        )
        self._leaves, self._arrays = leaves, arrays
        self.step += 1

    def refs_and_values(self) -> tuple[Any, Any]:
        """The parameters, and the averages to evaluate with in the same tree."""
        values = self.backend.average(self.hyper, self.step, self._arrays, self._slots)
        return self.params, self._leaves.tree(as_given(self.backend, values, self._leaves.arrays))

    def replace_vars(self, f: Callable[..., Result]) -> Callable[..., Result]:
        """A function that runs `f` with the averages in the parameters' place, and restores them even if `f` raises."""
        if not self.backend.in_place:
            raise Unsupported(
                f"{self.backend.name} arrays cannot be replaced in place; call f with ema.refs_and_values()[1] instead"
            )

        @functools.wraps(f, updated=())  # f may be a model, whose attributes are not the wrapper's
        def with_averages(*args: Any, **kwargs: Any) -> Result:
            check_writable(self._leaves)
            arrays = self._arrays
            self._check_not_moved()
            averages = self.backend.average(self.hyper, self.step, arrays, self._slots)
            # A second set is memory of the parameters' kind, wherever they live, to keep them in meanwhile.
            saved = self.backend.average(self.hyper, self.step, arrays, self._slots)
            self.backend.assign(saved, arrays)
            try:
                self.backend.assign(arrays, averages)
                return f(*args, **kwargs)
            finally:
                self.backend.assign(arrays, saved)

        return with_averages

    def _check_not_moved(self) -> None:
        """What is written to the arrays on `device=` must be seen in those that were given."""
        away = self.device not in (None, self.backend.devices()[0])
        for name, given_array, array in zip(self._leaves.names, self._leaves.arrays, self._arrays, strict=True):
            same = array is given_array or (is_complex(given_array) and not away)  # pairs of it share its memory
            if not same and (away or self.backend.owns(given_array)):
                raise RefoptError(
                    f"{name} was moved to device {self.device!r}, so f would not see the averages; "
                    f"call f with ema.refs_and_values()[1] instead"
                )
