"""What implementations make of complex numbers: by parts, by the modulus, or as nobody has meant it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refopt
from refopt.rules import RULES
from refopt.spec.complex_numbers import by_modulus, readable
from refopt.spec.complex_pairs import OF_PAIRS
from refopt.verifying.complex_numbers import MEANING


def adam(square: Callable[[Any], Any], result: Callable[[Any], Any] = np.asarray) -> Callable[..., Any]:
    """Adam with a square of its own, whose parameters go through `result`."""

    def step(params, grads, state, *, lr, beta1, beta2, eps):
        t, m, v = state or (0, [0.0] * len(params), [0.0] * len(params))
        t += 1
        m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, grads, strict=True)]
        v = [beta2 * a + (1 - beta2) * square(g) for a, g in zip(v, grads, strict=True)]
        below = [np.sqrt(b / (1 - beta2**t)) + eps for b in v]
        new = [w - lr * (a / (1 - beta1**t)) / b for w, a, b in zip(params, m, below, strict=True)]
        return [result(w) for w in new], (t, m, v)

    return step


def refuses(g: Any) -> Any:
    if np.iscomplexobj(g):
        raise TypeError("real numbers, please")
    return g * g


# target, options, what it makes of complex numbers, what is said of it
ROWS = [
    ("torch.optim:Adam", {"amsgrad": True}, "parts", "real and imaginary parts are numbers of their own"),
    ("torch.optim:Adagrad", {}, "parts", "numbers of their own"),
    ("torch.optim:Rprop", {}, "parts", "numbers of their own"),
    ("torch.optim:SGD", {"momentum": 0.875}, "either", "they are the same"),
    ("optax:adam", {}, "modulus", "a square is |g|**2"),
    ("optax:adamax", {}, "modulus", "an absolute value |g|"),
    ("optax:lion", {}, "modulus", "a sign g/|g|"),
    ("optax:yogi", {}, "modulus", "a square is |g|**2"),  # its first moment starts at 1e-6, without an imaginary part
    ("keras.optimizers:Adam", {}, "analytic", "the complex square, which may be negative or imaginary"),
    (adam(lambda g: abs(g) ** 2), {}, "modulus", "a square is |g|**2"),
    (adam(lambda g: g * g), {}, "analytic", "the complex square"),
    (adam(lambda g: abs(g) * g if np.iscomplexobj(g) else g * g), {}, "neither", "neither by parts nor by the modulus"),
    (adam(refuses), {}, "refused", "takes no complex parameters: raised TypeError: real numbers, please"),
    (adam(lambda g: g * g, np.real), {}, "real", "it drops the imaginary parts"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "options", "choice", "says"), ROWS)
def test_what_is_made_of_complex_numbers(target: Any, options: dict[str, Any], choice: str, says: str) -> None:
    verdict = refopt.verify(target, fit=False, **options)
    assert verdict.conforms
    assert verdict.complex_numbers == choice
    assert says in " ".join(str(verdict).split())
    assert verdict.as_dict()["complex_numbers"] == choice


@pytest.mark.parametrize("target", ["torch.optim:Adafactor", "torch.optim.swa_utils:AveragedModel"])
def test_where_shapes_matter_or_nothing_descends_nothing_is_said(target: str) -> None:
    verdict = refopt.verify(target, fit=False)
    assert verdict.conforms
    assert verdict.complex_numbers == ""
    assert "complex" not in str(verdict)


# rule, dialect, a line that the modulus changes (nothing: the two readings are one; None: it has none)
READINGS = [
    ("sgd", "torch", ""),
    ("momentum", "torch", ""),
    ("lars", "paper", ""),
    ("adam", "torch", "v = beta2 * v + (1 - beta2) * square_of(g)"),
    ("adamax", "paper", "u = maximum(beta2 * u, size_of(g))"),
    ("lion", "paper", "s = direction_of(c)"),
    ("adadelta", "paper", "s = rho * s + (1 - rho) * square_of(h)"),
    ("yogi", "optax", "m = real_part(full_like(m, 1e-06)) if t == 1 else m"),
    ("prodigy", "paper", "length = total(0.5 * size_of(s))"),
    ("lamb", "apex", "v = beta2 * v + (1 - beta2) * square_of(g)"),  # and not the norms, which are there once
    ("rprop", "torch", None),  # of two signs, it multiplies one with the other
]  # fmt: skip


@pytest.mark.parametrize(("rule", "dialect", "changed"), READINGS)
def test_the_modulus_as_lines(rule: str, dialect: str, changed: str | None) -> None:
    program = RULES[rule].hyper(dialect).program
    assert readable(program)
    found = by_modulus(program)
    if changed is None:
        assert found is None
        return
    assert found is not None
    assert (changed in found.code) if changed else (found.code == program.code)


def test_every_word_is_explained() -> None:
    page = (Path(__file__).parents[1] / "docs" / "verdicts.md").read_text(encoding="utf-8")
    section = page.partition("## Complex numbers")[2].partition("## ")[0]
    assert {word for word in MEANING if f"**{word}**" not in section} == set()


def test_programs_that_need_shapes_are_not_read() -> None:
    assert [name for name, rule in RULES.items() if not rule.average and not readable(rule.hyper().program)] == [
        "sm3",
        "adafactor",
        "muon",
    ]


@pytest.mark.parametrize(
    ("name", "of_complex"),
    [
        ("square_of", lambda z: abs(z) ** 2 * (1 + 1j)),
        ("size_of", lambda z: abs(z) * (1 + 1j)),
        ("direction_of", np.sign),
        ("real_part", np.real),
    ],
)
def test_functions_of_pairs(name: str, of_complex: Callable[[np.ndarray], np.ndarray]) -> None:
    """The same as NumPy's on complex numbers, whose moduli are exact; what is real stands there twice."""
    z = np.array([[3 + 4j, 0, -1j], [-2, 8 - 6j, 5 - 12j]])
    with np.errstate(all="raise"):
        found = OF_PAIRS[name](np.stack([z.real, z.imag], axis=-1))
    wanted = of_complex(z)
    np.testing.assert_array_equal(found, np.stack([wanted.real, wanted.imag], axis=-1))
