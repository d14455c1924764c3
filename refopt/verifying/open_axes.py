"""Why an axis is left open: two choices are one function here, or the trace has not what would tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from refopt.spec.hyper import complete, conflict, reads
from refopt.spec.program import Program, program
from refopt.verifying.candidates import Candidate, Candidates
from refopt.verifying.distance import Comparison
from refopt.verifying.probes import CHANGE_AT, CHANGES, RATES, SHAPES, STEPS
from refopt.verifying.trace import Arrays
from refopt.verifying.verdict import AxisVerdict

Choices = Mapping[str, str]
Numbers = Mapping[str, float]
PAIRS = 64  # of the variants that fit, how many are tried for a pair that differs in one axis alone
LONG = 300


@dataclass(frozen=True)
class Input:
    """What a trace is made from."""

    params: list[np.ndarray]
    grads: list[list[np.ndarray]]
    hyper: list[dict[str, float]]


def why_open(
    found: Candidates,
    fitting: Sequence[Candidate],
    axes: Mapping[str, AxisVerdict],
    arrays: Arrays,
    steps: Sequence[Numbers],
) -> dict[str, AxisVerdict]:
    """The axes, those that are open or could not be seen with the reason."""
    combinations = [one for candidate in fitting for one in candidate.axes]
    result = {}
    for name, axis in axes.items():
        why = ""
        if name in found.tables and axis.status == "open":
            why = _why(found, combinations, axis, steps[0], arrays.dtype)
        elif name in found.tables and axis.status == "assumed":
            why = _lacking(found, name, steps[0])
        result[name] = replace(axis, why=why)
    return result


def _lacking(found: Candidates, axis: str, numbers: Numbers) -> str:
    """The number without which no other choice can be seen."""
    base = {name: table[0] for name, table in found.tables.items()}
    others = [choice for choice in found.rule.axis(axis).choices if choice not in found.tables[axis]]
    needed = [reads(found.rule, complete(found.rule, {**base, axis: choice})) for choice in others]
    lacking = min(([n for n in names if n not in numbers] for names in needed), key=len)
    return "others need " + " and ".join(f"{n}, the {found.rule.hyper_parameter(n).meaning}" for n in lacking)


def _why(
    found: Candidates, combinations: Sequence[Choices], axis: AxisVerdict, numbers: Numbers, dtype: np.dtype
) -> str:
    """One sentence for all the choices that are open, or one for each."""
    first, *others = axis.choices
    reasons: dict[str, list[str]] = {}
    for other in others:
        pair = _pair(combinations, axis.name, first, other)
        reasons.setdefault(_reason(found, axis.name, *pair, numbers, dtype), []).append(other)
    if len(reasons) == 1:
        return next(iter(reasons))
    return "; ".join(f"{' and '.join(names)}: {reason}" for reason, names in reasons.items())


def _pair(combinations: Sequence[Choices], axis: str, first: str, other: str) -> tuple[Choices, Choices]:
    """Two variants that fit and differ in this axis, and in as little else as can be."""
    those = [one for one in combinations if one[axis] == first][:PAIRS]
    these = [one for one in combinations if one[axis] == other][:PAIRS]
    return min(((a, b) for a in those for b in these), key=lambda pair: len(_differing(*pair)))


def _differing(one: Choices, other: Choices) -> list[str]:
    return [name for name in one if one[name] != other[name]]


def _reason(found: Candidates, axis: str, one: Choices, other: Choices, numbers: Numbers, dtype: np.dtype) -> str:
    a, b = (program(found.rule, complete(found.rule, choices)) for choices in (one, other))
    along = [name for name in _differing(one, other) if name != axis]
    beside = f" (with {', '.join(f'{name}={other[name]}' for name in along)})" if along else ""
    if a.key != b.key:
        plain = _plain(numbers)
        if _apart(found, a, b, plain, dtype):
            return f"{STEPS} steps of ordinary gradients would tell them apart{beside}"
        for words, change in (*FEATURES, (f"{LONG} steps", _longer)):
            changed = change(plain)
            if changed is not None and _apart(found, a, b, changed, dtype):
                return f"{words} would tell them apart{beside}"
        if _apart(found, a, b, _everything(plain), dtype):
            return f"what `refopt verify` tries, all at once, would tell them apart{beside}"
    return f"one function{beside}{_while(found, axis, one, other, numbers, dtype)}"


def _while(found: Candidates, axis: str, one: Choices, other: Choices, numbers: Numbers, dtype: np.dtype) -> str:
    """The choice of another axis under which two are one function, where another would make two of them."""
    usual = {p.name: p.default for p in found.rule.hyper_parameters}
    whole = _everything(_plain({**usual, **numbers}))
    for name in found.tables:
        if name == axis or one[name] != other[name]:
            continue
        for choice in found.rule.axis(name).choices:
            pair = [complete(found.rule, {**choices, name: choice}) for choices in (one, other)]
            if choice != one[name] and not any(conflict(found.rule, choices) for choices in pair):
                a, b = (program(found.rule, choices) for choices in pair)
                if a.key != b.key and _apart(found, a, b, whole, dtype):
                    return f", while {name} is {one[name]}"
    return ""


def _apart(found: Candidates, one: Program, other: Program, given: Input, dtype: np.dtype) -> bool:
    """Whether two programs are told apart by an input, as far apart as a verdict asks."""
    hyper = [{**found.assumed, **now} for now in given.hyper]
    numbers: list[Mapping[str, float]] = [*hyper]
    arrays = Arrays(given.params, given.grads, numbers, given.grads, [f"[{i}]" for i in range(len(given.params))])
    comparison = Comparison(arrays, hyper)
    with np.errstate(all="ignore"):
        results = [[w.astype(dtype) for w in now] for now in comparison.expected(one, comparison.each)]
    return Comparison(replace(arrays, results=results), hyper).fit(other).excludes


def _everything(given: Input) -> Input:
    for _, change in FEATURES:
        given = change(given) or given
    return given


def _plain(numbers: Numbers) -> Input:
    """Gradients of order one on vectors, and the numbers of the trace's first step."""
    random = np.random.default_rng([20150508, STEPS])
    params = [random.standard_normal(5), random.standard_normal(4)]
    grads = [[random.standard_normal(w.shape) for w in params] for _ in range(STEPS)]
    return Input(params, grads, [dict(numbers) for _ in grads])


def _numbers(**values: float) -> Callable[[Input], Input | None]:
    """Other numbers, where the rule has them."""

    def change(given: Input) -> Input | None:
        new = {name: value for name, value in values.items() if name in given.hyper[0]}
        return replace(given, hyper=[now | new for now in given.hyper]) if new else None

    return change


def _rates(given: Input) -> Input | None:
    if "lr" not in given.hyper[0]:
        return None
    pattern = [RATES[step % STEPS] / RATES[0] for step in range(len(given.hyper))]
    return replace(given, hyper=[now | {"lr": now["lr"] * k} for now, k in zip(given.hyper, pattern, strict=True)])


def _betas(given: Input) -> Input | None:
    new = {name: value for name, value in CHANGES.items() if name in given.hyper[0]}
    late = [now | (new if step >= CHANGE_AT else {}) for step, now in enumerate(given.hyper, 1)]
    return replace(given, hyper=late) if new else None


def _grads(scale: Callable[[int], float]) -> Callable[[Input], Input]:
    """Gradients scaled by a function of the step, from 1."""
    return lambda given: replace(given, grads=[[g * scale(t) for g in now] for t, now in enumerate(given.grads, 1)])


def _zeros(given: Input) -> Input:
    return replace(given, params=[np.zeros_like(given.params[0]), *given.params[1:]])


def _large(given: Input) -> Input:
    return replace(given, params=[64.0 * w for w in given.params])


def _shapes(given: Input) -> Input:
    random = np.random.default_rng([20150508, len(SHAPES)])
    grads = [[*now, *(random.standard_normal(shape) for shape in SHAPES)] for now in given.grads]
    return replace(given, params=[*given.params, *(random.standard_normal(shape) for shape in SHAPES)], grads=grads)


def _longer(given: Input) -> Input:
    times = LONG // len(given.grads)
    return replace(given, grads=given.grads * times, hyper=given.hyper * times)


# What a trace may lack. In words that go before "would tell them apart".
FEATURES: tuple[tuple[str, Callable[[Input], Input | None]], ...] = (
    ("a learning rate that changes", _rates),
    ("an eps that is not small", _numbers(eps=2**-6, eps_root=2**-8)),
    ("a weight decay that is not 0", _numbers(wd=2**-3)),
    ("a momentum that is not 0", _numbers(mu=0.875)),
    ("a dampening that is not 0", _numbers(dampening=0.25)),
    ("a momentum, or betas, changed midway", _betas),
    ("large gradients followed by small ones", _grads(lambda t: 16.0 if t == 3 else 1.0)),
    ("small gradients", _grads(lambda t: 2.0**-6)),
    ("gradients that are zero at the first step", _grads(lambda t: float(t > 1))),
    ("gradients that are zero now and then", _grads(lambda t: float(t % 3 > 0))),
    ("a tensor of zeros", _zeros),
    ("large parameters", _large),
    ("tensors of other dimensions", _shapes),
    ("a larger trust coefficient", _numbers(tc=0.5)),
)
