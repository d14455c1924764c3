"""The optimizers, after objax: `opt = Adam(params)`, then `opt(lr, grads)`.

NumPy arrays and torch tensors are updated in place; JAX arrays cannot be, so read `opt.params`. A keyword that is not
given comes from the dialect (`paper` if None). `dialect`, `backend`, `device` and every axis go by keyword:

    opt = refopt.Momentum(params, momentum=0.9, nesterov=True, dialect="keras", backend="numba")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from refopt.rules import get_rule
from refopt.running import saving
from refopt.running.complex_leaves import as_given, as_seen, is_complex, step
from refopt.running.leaves import adopt, check_writable, flatten, flatten_like
from refopt.selection import get_backend, select
from refopt.spec.errors import RefoptError
from refopt.spec.hyper import Hyper


class Optimizer:
    """Any rule on one tree of parameters: `Optimizer("rmsprop", params)`. Those below have objax's signatures.

    A deep copy, or one out of a pickle, shares nothing with the original: read `copy.params`.
    """

    def __init__(
        self,
        rule: str,
        params: Any,
        *,
        dialect: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        self.hyper: Hyper = get_rule(rule).hyper(dialect, **options)
        self.device = device
        self._leaves = flatten(params)
        chosen = select(backend, self._leaves.arrays)
        self.backend, self._backend_name = chosen.backend, chosen.name
        self._complex = [*map(is_complex, self._leaves.arrays)]
        self._arrays = adopt(self.backend, self.hyper, self._leaves, device)
        if self.backend.in_place and self.hyper.program.writes_parameter:
            check_writable(self._leaves)
        self._slots = self.backend.init(self.hyper, self._arrays)
        self.step = 0

    @property
    def params(self) -> Any:
        """The parameters as they are now, in the tree that was given."""
        return self._leaves.tree(as_given(self.backend, self._arrays, self._leaves.arrays))

    @property
    def slots(self) -> Mapping[str, Any]:
        """The state: slot name -> a tree as the parameters (of complex ones, pairs of real numbers), or one float."""
        return {k: v if isinstance(v, float) else self._leaves.tree(v) for k, v in self._slots.items()}

    def _advance(self, hyper: Hyper, grads: Any) -> None:
        """One step. Everything is checked before anything is written."""
        given = flatten_like(grads, self._leaves)
        if not all(map(self.backend.owns, {type(g): g for g in given}.values())):
            given = [self.backend.beside(g, w) for g, w in zip(given, self._arrays, strict=True)]
        if any(self._complex):
            given = as_seen(self.backend, given)
        self._arrays, self._slots = step(
            self.backend, hyper, self.step + 1, self._arrays, given, self._slots, self._complex,
            in_place=self.backend.in_place,
        )  # fmt: skip
        if not self.backend.in_place:  # the old parameters are nobody's any more
            new = as_given(self.backend, self._arrays, self._leaves.arrays) if any(self._complex) else self._arrays
            self._leaves = replace(self._leaves, arrays=new)
        self.step += 1

    def __call__(self, lr: float, grads: Any, **overrides: float) -> None:
        """One step with learning rate `lr`. Overrides are numbers, and hold for this step only."""
        for name in overrides:
            if name in self.hyper.axes:
                raise RefoptError(
                    f"{self.hyper.rule.name}: {name} is an axis, which a step cannot change; choose it when the "
                    f"optimizer is made. A step can change {', '.join(self.hyper.read)}"
                )
        self._advance(self.hyper.replace(lr=lr, **overrides), grads)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The state as plain NumPy arrays by name; `load_state_dict` takes it back, on this backend or another."""
        return saving.export(self.hyper, self.step, self._slots, self._leaves.names, self.backend)

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state_dict` returned. Raises RefoptError, changing nothing, if it belongs elsewhere."""
        shapes = [tuple(array.shape) for array in self._arrays]
        step, slots = saving.restore(self.hyper, state, self._leaves.names, shapes, self.backend, self._slots)
        self.step, self._slots = step, slots

    def save(self, path: str | Path) -> None:
        """Write the state to a `.npz` or `.safetensors` file."""
        saving.write(path, self.state_dict())

    def load(self, path: str | Path) -> None:
        """Restore the state from a file that `save` wrote."""
        self.load_state_dict(saving.read(path))

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled. A backend is one object, found again by its name."""
        arrays = as_given(self.backend, self._arrays, self._leaves.arrays)
        return vars(self) | {"_leaves": replace(self._leaves, arrays=arrays), "backend": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.backend = get_backend(self._backend_name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hyper!r}, backend={self.backend.name!r}, step={self.step})"


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that are not None; the others come from the dialect."""
    return {name: value for name, value in arguments.items() if value is not None}


class SGD(Optimizer):
    """Stochastic gradient descent, `w = w - lr*g` (Robbins & Monro 1951)."""

    def __init__(self, params: Any, **options: Any) -> None:
        super().__init__("sgd", params, **options)


class Momentum(Optimizer):
    """Momentum, `u = mu*u + g; w = w - lr*u`, heavy ball or Nesterov (Polyak 1964; Bengio et al. 2012, eq. 7)."""

    def __init__(self, params: Any, momentum: float | None = None, nesterov: bool | str | None = None, **options: Any):
        super().__init__("momentum", params, **given(momentum=momentum, nesterov=nesterov), **options)

    def __call__(self, lr: float, grads: Any, momentum: float | None = None, **overrides: float) -> None:
        super().__call__(lr, grads, **given(momentum=momentum), **overrides)


class Adam(Optimizer):
    """Adam, `w = w - lr * m_hat / (sqrt(v_hat) + eps)` (Kingma & Ba 2015, Algorithm 1)."""

    def __init__(
        self,
        params: Any,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__("adam", params, **given(beta1=beta1, beta2=beta2, eps=eps), **options)

    def __call__(
        self, lr: float, grads: Any, beta1: float | None = None, beta2: float | None = None, **overrides: float
    ) -> None:
        super().__call__(lr, grads, **given(beta1=beta1, beta2=beta2), **overrides)


class LARS(Optimizer):
    """LARS: the rate of each tensor follows |w| / |g| (You et al. 2017, Algorithm 1).

    The paper's ratio has no eps; giving one adds it to the denominator (`eps_at="denominator"`), as objax does.
    """

    def __init__(
        self,
        params: Any,
        momentum: float | None = None,
        weight_decay: float | None = None,
        tc: float | None = None,
        eps: float | None = None,
        **options: Any,
    ) -> None:
        if eps is not None:
            options.setdefault("eps_at", "denominator")
        numbers = given(momentum=momentum, weight_decay=weight_decay, tc=tc, eps=eps)
        super().__init__("lars", params, **numbers, **options)
