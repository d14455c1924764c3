"""Drive an implementation through the probes, and read what it did."""

from __future__ import annotations

import dataclasses
from typing import Any

from refopt.engines.dtypes import PARAMETER_DTYPES
from refopt.rules import RULES, get_rule
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.candidates import neutral_axes
from refopt.verifying.identify import identify, nearest_of
from refopt.verifying.probes import Probe, further_probes, probes
from refopt.verifying.subjects.base import Subject, dtype_of_probes
from refopt.verifying.subjects.resolve import resolve
from refopt.verifying.trace import Trace
from refopt.verifying.verdict import Verdict


def verify(
    target: Any,
    *,
    rule: str | Rule | None = None,
    dtype: str | None = None,
    device: str | None = None,
    **options: Any,
) -> Verdict:
    """Which rule and which conventions an implementation follows, proven by running it.

    Args:
        target: `"torch.optim:Adam"`, `"my_file.py:MyAdam"`, `"exec:./my_program"`, or the thing itself: a torch or
            Keras optimizer class, an optax factory, a function `(params, grads, state, **hyper) -> params, state` on
            lists of NumPy arrays, or the `Command` of a program.
        rule: the rule to look in; if None, the simplest rule that fits.
        dtype: of the parameters and gradients that it is given; if None, float64, or the finest that it takes.
        device: where a torch optimizer is driven, e.g. `"cuda"`; if None, on the CPU.
        options: the implementation's own arguments (`momentum=0.9, nesterov=True`). Numbers that are given stay as
            they are; the others are set by the probes.

    Returns:
        The verdict; its status is "unsupported", with the reason, if the implementation cannot be driven.

    Raises:
        RefoptError: an unknown rule, target or argument.
    """
    chosen = get_rule(rule) if rule is not None else None
    try:
        subject = resolve(target, options, average=chosen is not None and chosen.average, dtype=dtype, device=device)
    except Unsupported as refusal:
        return Verdict(status="unsupported", subject=str(target), reason=str(refusal))
    try:
        return _verify_one_of(subject, chosen)
    finally:
        subject.close()


def _verify_one_of(subject: Subject, chosen: Rule | None) -> Verdict:
    """A subject against the rule that it is said to be of, or against all of them."""
    average = subject.interface.average
    if chosen is not None and chosen.average != average:
        what = "an average, and takes no gradient" if average else "an optimizer, and averages nothing"
        raise RefoptError(f"{subject.name} is {what}; leave out rule={chosen.name!r}, or give the rule that it is of")
    rules = [r for r in RULES.values() if r.average == average] if chosen is None else [chosen]
    verdicts, refusals, failures = [], [], []
    for one in rules:
        if lacking := _lacking(subject, one):
            refusals.append(lacking)
            continue
        try:
            verdicts.append(_verify(subject, one))
        except Unsupported as failure:
            failures.append(str(failure))
            continue
        if verdicts[-1].conforms:
            return verdicts[-1]
    if verdicts:
        return nearest_of(verdicts)
    reason = "; ".join(dict.fromkeys(failures or refusals))  # what one rule after the other ran into, once
    return Verdict(status="unsupported", subject=subject.name, versions=subject.interface.versions, reason=reason)


def _lacking(subject: Subject, rule: Rule) -> str | None:
    """Why a subject cannot be of this rule: it has not its numbers. Or None."""
    _, name = neutral_axes(rule, subject.names.settable)
    if name is None:
        return None
    parameter = rule.hyper_parameter(name)
    names = " or ".join((name, *parameter.aliases))
    return f"{subject.name} takes no {parameter.meaning}: none of its arguments is called {names}"


def _verify(subject: Subject, rule: Rule) -> Verdict:
    """One subject against one rule. Raises Unsupported if it cannot be run."""
    ours = {p.name for p in rule.hyper_parameters}
    settable = (subject.names.settable & ours) - set(subject.names.fixed)
    traces: list[Trace] = []
    notes: list[str] = []
    while not traces:
        try:
            traces = [_trace(subject, probe) for probe in probes(rule, settable, subject.names.per_step & settable)]
        except Unsupported as reason:
            # Some numbers exclude each other (torch: nesterov and dampening). Neutral ones can be left alone.
            neutral = [n for n in ("dampening",) if n in settable]
            if not neutral:
                raise
            settable = settable - set(neutral)
            notes.append(f"{', '.join(neutral)} left at the default: {reason}")
    held = {name: value for name, value in subject.names.fixed.items() if name in ours}
    framework, versions = subject.interface.framework, subject.interface.versions
    verdict = identify(traces, rule=rule, hyper=held, subject=subject.name, prefer=framework)
    if verdict.conforms:
        for probe in further_probes(rule, settable, subject.names.per_step & settable):
            try:
                traces.append(_trace(subject, probe))
            except Unsupported as reason:
                notes.append(f"not seen: {probe.name}: {reason}")
        verdict = identify(traces, rule=rule, hyper=held, subject=subject.name, prefer=framework)
    if verdict.dtype != (given := dtype_of_probes(subject)):
        notes.append(f"its results are {verdict.dtype}, though its parameters were {given}")
    return dataclasses.replace(
        verdict, defaults=subject.names.defaults, versions=versions, notes=(*verdict.notes, *notes)
    )


def _trace(subject: Subject, probe: Probe) -> Trace:
    hyper = [{**now, **subject.names.fixed} for now in probe.hyper]
    dtype = PARAMETER_DTYPES[dtype_of_probes(subject)]
    params = [w.astype(dtype) for w in probe.params]
    grads = [[g.astype(dtype) for g in now] for now in probe.grads]
    names = set(probe.hyper[0])
    results = subject.drive(params, grads, hyper)
    known = [{k: v for k, v in now.items() if k in names} for now in hyper]
    trace = Trace(params, grads, known, results, probe.name)
    try:
        trace.arrays()
    except RefoptError as problem:
        raise Unsupported(f"{subject.name}: {problem}") from problem
    return trace
