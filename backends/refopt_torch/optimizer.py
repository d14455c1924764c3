"""A `torch.optim.Optimizer` for every rule with gradients.

    hyper = refopt.rules.RULES["adam"].hyper(dialect="torch", lr=1e-3)
    optimizer = refopt_torch.Optimizer(model.parameters(), hyper)

A parameter group holds the numbers that the rule reads (`lr`, `beta1`, ...: groups may differ, and schedulers may
change them) and, as plain strings, the rule and its axes, which are the same for all groups. They travel in the
state_dict as torch's own options do.

Each parameter counts its own steps, `state[p]["step"]`: one without a gradient is skipped, and neither its state nor
its count moves, so that its bias correction starts when it does. All there is lies in `state`, `param_groups` and
`defaults`, which pickle and deepcopy keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from refopt.spec.errors import RefoptError, Unsupported, unknown
from refopt.spec.hyper import Hyper
from refopt_torch.step import get_port, initial_slot, step_, working_dtype

_CONVENTIONS = ("rule", "axes")
_NOT_OURS = ("initial_lr",)  # what schedulers want in a group from the start


class Optimizer(torch.optim.Optimizer):
    """Updates parameters in place by `hyper`'s rule; `lr`, if given, replaces its learning rate."""

    def __init__(self, params: ParamsT, hyper: Hyper, *, lr: float | None = None) -> None:
        if lr is not None:
            hyper = hyper.replace(lr=lr)
        rule = hyper.rule.name
        if not get_port(rule, hyper.axes).reads_gradient:
            raise RefoptError(f"torch: {rule} reads no gradient, so it is no optimizer; call refopt.update on it")
        numbers = {name: hyper.values[name] for name in hyper.read}
        super().__init__(params, {**numbers, "rule": rule, "axes": dict(hyper.axes)})
        for group in self.param_groups:
            hyper.replace(**self._numbers(group))  # refuses a number outside its interval

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's, but a number that the rule does not read, and parameters that it cannot update, are refused."""
        names = self._names()
        for name, value in param_group.items():
            if name in _CONVENTIONS and value != self.defaults[name]:
                raise RefoptError(f"torch: {name!r} holds for all groups; give it to the optimizer, as part of hyper")
            if name not in (*names, *_CONVENTIONS, *_NOT_OURS) and isinstance(value, float | int):
                raise unknown(self.defaults["rule"], "hyper-parameter", name, names)
        super().add_param_group(param_group)
        try:
            for p in self.param_groups[-1]["params"]:
                working_dtype(p)
        except Unsupported:
            self.param_groups.pop()
            raise

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of every parameter that has a gradient; returns the loss if a closure computes it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        rule, axes = group["rule"], group["axes"]
        inits = get_port(rule, axes).slots(axes)
        values = self._numbers(group)
        scalars = [name for name, init in inits.items() if not isinstance(init, str)]
        together: dict[tuple[float, ...], list[Tensor]] = {}  # parameters at the same step, one call for each such list
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["step"] = 0
                state.update({n: initial_slot(p, i) if isinstance(i, str) else i for n, i in inits.items()})
            together.setdefault((state["step"], *(state[name] for name in scalars)), []).append(p)
        for (done, *_), params in together.items():
            states = [self.state[p] for p in params]
            grads = [p.grad for p in params if p.grad is not None]
            slots = {n: [s[n] for s in states] if isinstance(i, str) else states[0][n] for n, i in inits.items()}
            step_(rule, axes, values, int(done) + 1, params, grads, slots)
            for state in states:
                state.update({"step": int(done) + 1, **{name: slots[name] for name in scalars}})

    def _names(self) -> list[str]:
        """The hyper-parameters that the rule reads: the floats among the defaults, to which torch adds a flag."""
        return [name for name, value in self.defaults.items() if isinstance(value, float)]

    def _numbers(self, group: Mapping[str, Any]) -> dict[str, float]:
        """Their values in a group. A tensor is refused: to read it, the host would have to wait for the device."""
        for name in self._names():
            if isinstance(group[name], Tensor):
                raise RefoptError(f"torch: {name} must be a Python number; got a tensor: pass {name}.item()")
        return {name: float(group[name]) for name in self._names()}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but slots keep their dtype, and the state of another rule or other axes is refused."""
        final: dict[str, Any] = {}

        def check(_: torch.optim.Optimizer, given: dict[str, Any]) -> None:
            for group in given["param_groups"]:
                for name in _CONVENTIONS:
                    if group.get(name) != self.defaults[name]:
                        raise RefoptError(
                            f"torch: the state_dict must come from {name}={self.defaults[name]!r};"
                            f" got {group.get(name)!r}: make the optimizer with the same hyper"
                        )
            final.update(given)

        def restore(_: torch.optim.Optimizer) -> None:
            # torch has cast every tensor to its parameter's dtype: float32 slots of bfloat16 parameters are lost.
            saved = chain.from_iterable(group["params"] for group in final["param_groups"])
            here = chain.from_iterable(group["params"] for group in self.param_groups)
            for key, p in zip(saved, here, strict=True):
                for name, value in final["state"].get(key, {}).items():
                    if isinstance(value, Tensor):
                        self.state[p][name] = value.to(device=p.device, copy=True)

        # Hooks, not code around the call: `check` then sees what other hooks have made of the state_dict, last of the
        # hooks before loading, and those after loading see what `restore` has done, first of them.
        hooks = [
            self.register_load_state_dict_pre_hook(check),
            self.register_load_state_dict_post_hook(restore, prepend=True),
        ]
        try:
            super().load_state_dict(state_dict)
        finally:
            for hook in hooks:
                hook.remove()
