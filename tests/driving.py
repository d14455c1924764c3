"""A subject through the usual probes alone, which takes a tenth of what `verify` takes: for tables of many subjects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.rules import get_rule
from refopt.verifying import Trace, Verdict, identify
from refopt.verifying.probes import probes
from refopt.verifying.subjects.base import Subject, dtype_of_probes
from refopt.verifying.subjects.resolve import resolve


def quick(target: Any, rule: str, options: Mapping[str, Any] | None = None, dtype: str | None = None) -> Verdict:
    """What the usual probes of a rule show of a target."""
    subject = resolve(target, options or {}, average=get_rule(rule).average, dtype=dtype)
    try:
        traces = list(driven(subject, rule))
    finally:
        subject.close()
    assert all(a.dtype == dtype_of_probes(subject) for trace in traces for step in trace.results for a in step)
    fixed = {name: value for name, value in subject.names.fixed.items() if name in numbers_of(rule)}
    return identify(traces, rule=rule, hyper=fixed, prefer=subject.interface.framework)


def driven(subject: Subject, rule: str) -> Any:
    """A trace for each of the usual probes."""
    names, dtype = subject.names, PARAMETER_DTYPES[dtype_of_probes(subject)]
    settable = (names.settable & numbers_of(rule)) - set(names.fixed)
    for probe in probes(get_rule(rule), settable, names.per_step & settable):
        params = [w.astype(dtype) for w in probe.params]
        grads = [[g.astype(dtype) for g in now] for now in probe.grads]
        results = subject.drive(params, grads, [{**now, **names.fixed} for now in probe.hyper])
        yield Trace(params, grads, probe.hyper, results, probe.name)


def numbers_of(rule: str) -> set[str]:
    return {p.name for p in get_rule(rule).hyper_parameters}
