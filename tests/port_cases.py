"""What the tests of both ports share: the rules under conventions that their numbers tell apart, and tolerances."""

from collections.abc import Iterator
from itertools import combinations

from refopt.rules import RULES
from refopt.spec.hyper import Hyper, conflict

# In eps * max(|expected|, |before|, scale): one to two ULPs of the latter. A step is at most ten roundings; XLA
# adds those of reciprocals, and without x64 the norms of lars and the coefficients of as_optax are float32. Largest
# seen: 2.3, by a norm.
JAX_EPS = 4
# ULPs of max(|expected|, 1), the data being of order one. FMA and lr/c1 save or move single roundings; over all
# combinations of axes and t = 1, 2, 7 the largest distance was 4.
FLOAT64_ULPS = 8
# ULPs of lr, one step from zero state: 2.4 measured on 400,000 gradients, where torch.optim.Adam has 3.2.
ADAM_FLOAT32_ULPS = 3
# ULPs of max(|expected|, 1) after ten steps, on data of order one: both round every operation, in another order.
TORCH_ULPS = 16


# The rules that the ports began with. All others are held to the reference by the conformance suite, which came later,
# has more inputs, and knows where a definition is ill-conditioned.
FIRST = tuple(RULES[name] for name in ("sgd", "momentum", "adam", "lars", "ema"))


def hyper_of(rule: str, dialect: str | None = None, **axes: str) -> Hyper:
    """A rule under these choices, with numbers at which choices differ: a rate of 0.1, and the last declared probes."""
    plain = RULES[rule].hyper(dialect, **axes)
    probes = {p.name: p.probes[-1] for p in plain.rule.hyper_parameters if p.probes}
    return plain.replace(**{name: value for name, value in {"lr": 0.1, **probes}.items() if name in plain.read})


def varied(from_the_first: int) -> Iterator[Hyper]:
    """One axis at a time from every dialect, and `from_the_first` axes at once from the first dialect."""
    for rule in FIRST:
        seen = set()
        changes = [(axis.name, choice) for axis in rule.axes for choice in axis.choices]
        for i, dialect in enumerate(rule.dialects):
            for change in combinations(changes, from_the_first if i == 0 else 1):
                axes = {**rule.hyper(dialect.name).axes, **dict(change)}
                if tuple(axes.values()) not in seen and conflict(rule, axes) is None:
                    seen.add(tuple(axes.values()))
                    yield hyper_of(rule.name, **axes)


def name_of(hyper: Hyper) -> str:
    """The rule, and what is not canonical about it."""
    odd = [f"{axis}={c}" for axis, c in hyper.axes.items() if c != hyper.rule.axis(axis).choices[0]]
    return "-".join([hyper.rule.name, *odd])
