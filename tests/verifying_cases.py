"""Traces recorded from the reference itself: what the identifier must give back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refopt.engines.numpy_engine import BACKEND as NUMPY
from refopt.rules import RULES
from refopt.spec.hyper import Hyper, conflict
from refopt.verifying import Trace
from refopt.verifying.probes import Probe, probes

# How far a fitted number may be from the true one, as a part of it. 1024 ULP of float64, which count as rounding, are
# 2.3e-13: a number by which a result moves a millionth as much is free by 2.3e-7.
FITTED = 1e-6


def record(hyper: Hyper, probe: Probe, dtype: str) -> Trace:
    """What the reference makes of a probe in this dtype."""
    params = [np.asarray(w, dtype) for w in probe.params]
    slots, results = NUMPY.init(hyper, params), []
    for t, (given, numbers) in enumerate(zip(probe.grads, probe.hyper, strict=True), start=1):
        now = hyper.replace(**{name: value for name, value in numbers.items() if name in hyper.read})
        arrays = [np.asarray(g, dtype) for g in given]
        if hyper.program.reads_gradient:
            params, slots = NUMPY.update(now, t, params, arrays, slots, in_place=False)
            results.append(params)
        else:
            _, slots = NUMPY.update(now, t, arrays, None, slots, in_place=False)
            results.append(NUMPY.average(now, t, arrays, slots))
    return Trace(probe.params, probe.grads, probe.hyper, results)


def record_all(hyper: Hyper, dtype: str) -> list[Trace]:
    """Every probe of the rule, all its hyper-parameters free to change."""
    settable = {p.name for p in hyper.rule.hyper_parameters}
    return [record(hyper, probe, dtype) for probe in probes(hyper.rule, settable, settable)]


def choices(rule: str) -> Iterator[dict[str, str]]:
    """The canonical variant, and each choice changed alone."""
    base = {axis.name: axis.choices[0] for axis in RULES[rule].axes}
    yield {}
    for axis in (axis for axis in RULES[rule].axes if not axis.storage):
        for choice in axis.choices[1:]:
            if conflict(RULES[rule], base | {axis.name: choice}) is None:
                yield {axis.name: choice}
