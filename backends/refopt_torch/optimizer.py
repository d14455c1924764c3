"""A `torch.optim.Optimizer` for every rule with gradients.

    hyper = refopt.rules.RULES["adam"].hyper(dialect="torch", lr=1e-3)
    optimizer = refopt_torch.Optimizer(model.parameters(), hyper)

A parameter group holds the numbers that the rule reads (`lr`, `beta1`, ...: groups may differ, and schedulers may
change them) and, as plain strings, the rule and its axes, which are the same for all groups. They travel in the
state_dict as torch's own options do.

Each parameter counts its own steps, `state[p]["step"]`: one without a gradient is skipped, and neither its state nor
its count moves, so that its bias correction starts when it does. State of a complex parameter is that of its parts,
with one dimension more, of 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from refopt.spec.errors import RefoptError, Unsupported, unknown
from refopt.spec.hyper import Hyper
from refopt_torch.pairs import refused_complex, seen
from refopt_torch.step import (
    Call,
    check_step,
    check_whole,
    get_port,
    initial_slot,
    keeping_dtype,
    run_step_,
    slot_shape,
    working_dtype,
)

_CONVENTIONS = ("rule", "axes")
_OF_SCHEDULERS = ("initial_lr", "max_lr", "min_lr", "swa_lr")  # what they keep in a group


class Optimizer(torch.optim.Optimizer):
    """Updates parameters in place by `hyper`'s rule; `lr`, if given, replaces its learning rate."""

    def __init__(self, params: ParamsT, hyper: Hyper, *, lr: float | None = None) -> None:
        if not isinstance(hyper, Hyper):
            raise RefoptError(f"torch: hyper must be made by a rule, as in RULES['adam'].hyper(lr=0.1); got {hyper!r}")
        self.hyper = hyper if lr is None else hyper.replace(lr=lr)
        rule = hyper.rule.algorithm
        if not get_port(rule, hyper.axes).reads_gradient:
            raise RefoptError(f"torch: {rule} reads no gradient, so it is no optimizer; call refopt.update on it")
        numbers = {name: self.hyper.values[name] for name in hyper.read}
        super().__init__(params, {**numbers, "rule": rule, "axes": dict(hyper.axes)})

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "hyper": self.hyper}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's, but numbers that the rule does not read, and parameters that it cannot update, are refused."""
        names = self.hyper.read
        for name, value in param_group.items():
            if name in _CONVENTIONS and value != self.defaults[name]:
                raise RefoptError(f"torch: {name!r} holds for all groups; give it to the optimizer, as part of hyper")
            if name not in (*names, *_CONVENTIONS, *_OF_SCHEDULERS) and isinstance(value, float | int):
                raise unknown(self.hyper.rule.name, "hyper-parameter", name, names)
        super().add_param_group(param_group)
        try:
            self._values(self.param_groups[-1])
            for p in self.param_groups[-1]["params"]:
                if p.is_complex() and (reason := refused_complex(self.hyper)):
                    raise Unsupported(reason)
                working_dtype(seen(p))
        except RefoptError:
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
        rule, axes = self.hyper.rule.algorithm, self.hyper.axes
        stepped = [one for group in self.param_groups for one in self._calls(group)]
        calls = [call for _, call in stepped]
        for call in calls:
            check_step(rule, axes, call.params, call.grads, call.slots)
        run_step_(rule, axes, calls)
        for params, call in stepped:
            numbers = {name: value for name, value in call.slots.items() if not isinstance(value, list)}
            for p in params:
                self.state[p].update({"step": call.t, **numbers})
        return loss

    def _calls(self, group: dict[str, Any]) -> Iterator[tuple[list[Tensor], Call]]:
        """The steps of a group's parameters that have a gradient: those with the same count and numbers together."""
        values, inits, axes = self._values(group), self._slots(), self.hyper.axes
        together: dict[tuple[float, ...], list[Tensor]] = {}
        for p in group["params"]:
            if p.grad is not None:
                state = self.state[p]
                if not state:
                    check_whole(get_port(self.hyper.rule.algorithm, axes), axes, [p])
                    start = {n: initial_slot(axes, seen(p), i) if isinstance(i, str) else i for n, i in inits.items()}
                    state.update(start, step=0)
                numbers = [state[name] for name, init in inits.items() if not isinstance(init, str)]
                together.setdefault((int(state["step"]), *numbers), []).append(p)
        for (done, *_), params in together.items():
            states = [self.state[p] for p in params]
            slots = {n: [s[n] for s in states] if isinstance(i, str) else states[0][n] for n, i in inits.items()}
            grads = [seen(p.grad) for p in params if p.grad is not None]
            are_complex = [p.is_complex() for p in params]
            yield params, Call(values, int(done) + 1, [*map(seen, params)], grads, slots, are_complex)

    def _slots(self) -> dict[str, str | float]:
        return get_port(self.hyper.rule.algorithm, self.hyper.axes).slots(self.hyper.axes)

    def _values(self, group: Mapping[str, Any]) -> Mapping[str, float]:
        """The hyper-parameters of a group. A tensor is refused: to read it, the host would wait for the device."""
        for name in self.hyper.read:
            if name not in group:
                raise RefoptError(f"torch: a group must hold {', '.join(self.hyper.read)}; it lacks {name}: add it")
            if isinstance(group[name], Tensor):
                raise RefoptError(f"torch: {name} must be a Python number; got a tensor: pass {name}.item()")
        return self.hyper.replace(**{name: group[name] for name in self.hyper.read}).values

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but slots keep their dtype, and the state of another rule or other axes is refused."""
        final: dict[str, Any] = {}

        def pairs(given: dict[str, Any]) -> Iterator[tuple[Any, Tensor]]:
            lists = ([p for g in x["param_groups"] for p in g["params"]] for x in (given, vars(self)))
            return zip(*lists, strict=False)  # torch refuses groups of other sizes

        def check(_: torch.optim.Optimizer, given: dict[str, Any]) -> None:
            for group in given["param_groups"]:
                for name in _CONVENTIONS:
                    if group.get(name) != self.defaults[name]:
                        raise RefoptError(
                            f"torch: the state_dict must come from {name}={self.defaults[name]!r};"
                            f" got {group.get(name)!r}: make the optimizer with the same hyper"
                        )
                self._values(group)
            for key, p in pairs(given):
                self._check_state(p, given["state"].get(key, {}))
            final.update(given)

        def restore(_: torch.optim.Optimizer) -> None:
            # torch has cast every tensor to its parameter's dtype: float32 slots of bfloat16 parameters are lost.
            for key, p in pairs(final):
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

    def _check_state(self, p: Tensor, state: Mapping[str, Any]) -> None:
        """The state of a parameter that has taken a step must be such as this rule makes for it."""
        p = seen(p)
        inits, dtype = self._slots(), keeping_dtype(self.hyper.axes, p)
        if state and state.keys() != {"step", *inits}:
            wanted = ", ".join(["step", *inits])
            raise RefoptError(f"torch: a parameter's state must hold {wanted}; got {', '.join(state)}: save it anew")
        for name, x in state.items():
            init = inits.get(name)
            if isinstance(init, str) and (tuple(x.shape), x.dtype) != (shape := slot_shape(init, p), dtype):
                raise RefoptError(
                    f"torch: {name} must be {dtype} of shape {shape}, as its parameter needs;"
                    f" got {x.dtype} of shape {tuple(x.shape)}: load what was saved for this model"
                )
