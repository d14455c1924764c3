"""Drive an implementation through the probes, and read what it did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from refopt.rules import RULES, get_rule
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.candidates import neutral_axes
from refopt.verifying.identify import nearest_of, rules_with
from refopt.verifying.subjects.base import Subject
from refopt.verifying.subjects.resolve import resolve
from refopt.verifying.trial import Trial
from refopt.verifying.verdict import Verdict


def verify(target: Any, *, rule: str | Rule | None = None, dialect: str | None = None, **options: Any) -> Verdict:
    """Which rule and which conventions an implementation follows, proven by running it.

    Args:
        target: `"torch.optim:Adam"`, `"my_file.py:MyAdam"`, `"exec:./my_program"`, or the thing itself: a torch or
            Keras optimizer class, an optax factory, a function `(params, grads, state, **hyper) -> params, state` on
            lists of NumPy arrays, or the `Command` of a program.
        rule: the rule to look in; if None, the simplest rule that fits.
        dialect: the dialect that it is said to follow: it deviates if it follows another, and that fault is named.
        options: the implementation's own arguments (`momentum=0.9, nesterov=True`). Numbers that are given stay as
            they are; the others are set by the probes.

    Returns:
        The verdict; its status is "unsupported", with the reason, if the implementation cannot be driven.

    Raises:
        RefoptError: an unknown rule, target or argument.
    """
    chosen = get_rule(rule) if rule is not None else None
    try:
        subject = resolve(target, options, average=chosen is not None and chosen.average)
    except Unsupported as refusal:
        return Verdict(status="unsupported", subject=str(target), reason=str(refusal))
    try:
        return _verify_one_of(subject, chosen, dialect)
    finally:
        subject.close()


def _verify_one_of(subject: Subject, chosen: Rule | None, dialect: str | None) -> Verdict:
    """A subject against the rule that it is said to be of, or against all of them."""
    average = subject.interface.average
    if chosen is not None and chosen.average != average:
        what = "an average, and takes no gradient" if average else "an optimizer, and averages nothing"
        raise RefoptError(f"{subject.name} is {what}; leave out rule={chosen.name!r}, or give the rule that it is of")
    rules = rules_with(dialect, [r for r in RULES.values() if r.average == average] if chosen is None else [chosen])
    trials, refusals, failures = [], [], []
    for one in rules:
        if lacking := _lacking(subject, one):
            refusals.append(lacking)
            continue
        try:
            trial = Trial(subject, one, dialect)
            if trial.conforms():
                return trial.verdict()
            trials.append(trial)
        except Unsupported as failure:
            failures.append(str(failure))
    verdicts: dict[str, Verdict] = {}
    for trial in trials:
        try:
            verdicts[trial.rule.name] = trial.verdict()
        except Unsupported as failure:
            failures.append(str(failure))
    if verdicts:
        nearest = nearest_of(list(verdicts.values()))
        (trial,) = (trial for trial in trials if trial.rule.name == nearest.rule)
        return replace(nearest, case=trial.smallest(nearest))
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
