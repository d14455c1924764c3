"""What each framework has: one line of code for each way to make an optimizer of a rule, with its numbers as names."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from refopt.spec.errors import unknown
from refopt.spec.lines import expression

# A rule's name, and the code. A name that is an argument's value is a number; `params` are torch's parameters.
TARGETS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "torch": (
        ("sgd", "torch.optim.SGD(params, lr=lr, weight_decay=weight_decay)"),
        ("momentum",
         "torch.optim.SGD(params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay)"),
        ("momentum", "torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=True)"),
        ("adam", "torch.optim.Adam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)"),
        ("adam", "torch.optim.AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)"),
        ("adam", "torch.optim.Adam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, "
                 "amsgrad=True)"),
        ("adam", "torch.optim.AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, "
                 "amsgrad=True)"),
    ),
    "optax": (
        ("sgd", "optax.sgd(learning_rate=learning_rate)"),
        ("sgd", "optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(learning_rate=learning_rate))"),
        ("momentum", "optax.sgd(learning_rate=learning_rate, momentum=momentum)"),
        ("momentum", "optax.sgd(learning_rate=learning_rate, momentum=momentum, nesterov=True)"),
        ("momentum", "optax.chain(optax.add_decayed_weights(weight_decay), "
                     "optax.sgd(learning_rate=learning_rate, momentum=momentum))"),
        ("momentum", "optax.chain(optax.add_decayed_weights(weight_decay), "
                     "optax.sgd(learning_rate=learning_rate, momentum=momentum, nesterov=True))"),
        ("momentum", "optax.chain(optax.scale_by_learning_rate(learning_rate), optax.trace(decay=momentum))"),
        ("momentum",
         "optax.chain(optax.scale_by_learning_rate(learning_rate), optax.trace(decay=momentum, nesterov=True))"),
        ("momentum", "optax.chain(optax.trace(decay=momentum), optax.add_decayed_weights(weight_decay), "
                     "optax.scale_by_learning_rate(learning_rate))"),
        ("adam", "optax.adam(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps)"),
        ("adam", "optax.adam(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)"),
        ("adam", "optax.adamw(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)"),
        ("adam", "optax.chain(optax.add_decayed_weights(weight_decay), "
                 "optax.adam(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps))"),
        ("adam", "optax.amsgrad(learning_rate=learning_rate, b1=b1, b2=b2, eps=eps)"),
        ("lars", "optax.lars(learning_rate=learning_rate, weight_decay=weight_decay, "
                 "trust_coefficient=trust_coefficient, eps=eps, momentum=momentum)"),
        ("lars", "optax.lars(learning_rate=learning_rate, weight_decay=weight_decay, "
                 "trust_coefficient=trust_coefficient, eps=eps, momentum=momentum, nesterov=True)"),
    ),
    "keras": (
        ("sgd", "keras.optimizers.SGD(learning_rate=learning_rate, weight_decay=weight_decay)"),
        ("momentum",
         "keras.optimizers.SGD(learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay)"),
        ("momentum", "keras.optimizers.SGD(learning_rate=learning_rate, momentum=momentum, "
                     "weight_decay=weight_decay, nesterov=True)"),
        ("adam", "keras.optimizers.Adam(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, "
                 "weight_decay=weight_decay)"),
        ("adam", "keras.optimizers.Adam(learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, "
                 "weight_decay=weight_decay, amsgrad=True)"),
    ),
}  # fmt: skip
OPTIONAL = {"weight_decay", "dampening", "eps_root"}  # left out of the code that is printed where they are zero


@dataclass(frozen=True)
class Target:
    """One line of the table."""

    framework: str
    rule: str
    code: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The numbers that it takes, by the framework's names."""
        found = {node.id for node in ast.walk(self.call) if isinstance(node, ast.Name)}
        return tuple(sorted(found - {"params", self.framework}))

    @cached_property
    def call(self) -> ast.Call:
        found = expression(self.code)
        assert isinstance(found, ast.Call)
        return found

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that are no numbers: `nesterov=True`."""
        found = {str(k.arg): k.value for k in self.call.keywords}
        return {name: value.value for name, value in found.items() if isinstance(value, ast.Constant)}

    @property
    def subject(self) -> str | Callable[..., Any]:
        """What `verify` takes: the name of a class or factory, `torch.optim:SGD`; or a function that composes some."""
        if self.composed:
            return self._function()
        place, _, name = ast.unparse(self.call.func).rpartition(".")
        return f"{place}:{name}"

    @property
    def composed(self) -> bool:
        """Whether it is put together from several; the driver of optax takes functions."""
        return any(isinstance(argument, ast.Call) for argument in self.call.args)

    def recipe(self, numbers: Mapping[str, float]) -> str:
        """The code, with these numbers, by the framework's names."""
        return ast.unparse(_Filled(numbers).visit(copy.deepcopy(self.call)))

    def _function(self) -> Callable[..., Any]:
        module = import_module(self.framework)
        made = eval(f"lambda {', '.join(self.names)}: {self.code}", {self.framework: module})
        made.__qualname__ = self.code
        made.__annotations__ = {"return": "optax.GradientTransformation"}
        return made  # type: ignore[no-any-return]


def targets(framework: str, rule: str | None = None) -> tuple[Target, ...]:
    """The table of a framework, of one rule or all. Raises RefoptError if there is none."""
    if framework not in TARGETS:
        raise unknown("translate", "framework", framework, TARGETS)
    return tuple(Target(framework, of, code) for of, code in TARGETS[framework] if rule in (None, of))


class _Filled(ast.NodeTransformer):
    """Code with numbers in place of their names; an optional one of zero is left out."""

    def __init__(self, numbers: Mapping[str, float]) -> None:
        self.numbers = numbers

    def visit_Call(self, node: ast.Call) -> ast.AST:  # the name that ast gives it
        node.keywords = [k for k in node.keywords if not self._is_neutral(k.value)]
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(self.numbers[node.id]) if node.id in self.numbers else node

    def _is_neutral(self, value: ast.expr) -> bool:
        return isinstance(value, ast.Name) and value.id in OPTIONAL and self.numbers.get(value.id) == 0
