"""What is translated, as it is typed: `keras:SGD(momentum=0.9)` is `keras.optimizers:SGD` and its arguments."""

from __future__ import annotations

import ast
from typing import Any

from refopt.spec.errors import RefoptError, given_twice, shown

# Where the optimizers of a framework are.
SHORT = {"torch": "torch.optim", "keras": "keras.optimizers", "objax": "objax.optimizer", "optax": "optax"}


def parse(target: str) -> tuple[str, dict[str, Any]]:
    """A target as `verify` takes it, and the arguments in its brackets: numbers, strings, tuples and the like.

    Raises RefoptError for what is no call, and for arguments without a name or with a value that is none of these.
    """
    if target.startswith("exec:"):  # a command may have brackets of its own
        return target, {}
    place, _, call = target.partition(":")
    if not place or not call:
        raise RefoptError(
            f"{shown(target)} names no optimizer; write FRAMEWORK:NAME or module:name, with its arguments in "
            "brackets if there are any, e.g. 'keras:SGD(momentum=0.9)'"
        )
    name, bracket, _ = call.partition("(")
    found = f"{SHORT.get(place, place)}:{name.strip()}"
    if not bracket:
        return found, {}
    try:
        arguments = ast.parse(f"_{call[len(name) :]}", mode="eval").body
        if not isinstance(arguments, ast.Call) or not isinstance(arguments.func, ast.Name):
            raise SyntaxError
    except SyntaxError:
        raise RefoptError(f"{shown(target)} is no call; close what is open, e.g. 'keras:SGD(momentum=0.9)'") from None
    options: dict[str, Any] = {}
    if arguments.args:
        raise RefoptError(
            f"{shown(target)}: {ast.unparse(arguments.args[0])} has no name; "
            "arguments are given by name, e.g. learning_rate=0.1"
        )
    for keyword in arguments.keywords:
        if keyword.arg is None:
            raise RefoptError(f"{shown(target)}: {ast.unparse(keyword)} cannot be read; give each argument by its name")
        if keyword.arg in options:
            raise given_twice(name, keyword.arg, keyword.arg)
        options[keyword.arg] = _literal(target, keyword)
    return found, options


def _literal(target: str, keyword: ast.keyword) -> Any:
    try:
        return ast.literal_eval(keyword.value)
    except ValueError:
        raise RefoptError(
            f"{shown(target)}: {keyword.arg}={ast.unparse(keyword.value)} is no number, string, tuple, True, False or "
            "None; write the value itself"
        ) from None
