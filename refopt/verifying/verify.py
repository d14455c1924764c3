"""Drive an implementation through the probes, and read what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from refopt.rules import RULES, get_rule
from refopt.spec.declare import Rule
from refopt.spec.errors import RefoptError, Unsupported
from refopt.verifying.candidates import neutral_axes
from refopt.verifying.complex_numbers import with_complex
from refopt.verifying.faults import FEWER
from refopt.verifying.fitting import which_lacking
from refopt.verifying.identification import Identification
from refopt.verifying.identify import nearest_of, resembles, rules_with
from refopt.verifying.subjects.base import Subject, dtype_of_probes, under
from refopt.verifying.subjects.resolve import name_of, resolve
from refopt.verifying.trial import Memory, Trial
from refopt.verifying.verdict import Verdict

Coarser: TypeAlias = Callable[[Sequence[Rule]], Verdict | None]
IN_FLOAT32 = "measured in float32, for in float64 it deviates: it seems to compute some number of its own in float32"


def verify(
    target: Any,
    *,
    rule: str | Rule | None = None,
    dialect: str | None = None,
    dtype: str | None = None,
    device: str | None = None,
    fit: bool = True,
    case: bool = True,
    **options: Any,
) -> Verdict:
    """Which rule and which conventions an implementation follows, proven by running it.

    Args:
        target: `"torch.optim:Adam"`, `"my_file.py:MyAdam"`, `"exec:./my_program"`, or the thing itself: a torch or
            Keras optimizer class, an optax factory, a function `(params, grads, state, **hyper) -> params, state` on
            lists of NumPy arrays, or the `Command` of a program.
        rule: the rule to look in; if None, the simplest rule that fits.
        dialect: the dialect that it is said to follow: it deviates if it follows another, and that fault is named.
        dtype: of the parameters and gradients that it is given; if None, float64, or the finest that it takes; and
            float32 where it follows the rule that its name names in that alone, which a note says.
        device: where a torch optimizer is driven, e.g. `"cuda"`; if None, on the CPU.
        fit: whether numbers that it keeps to itself may be read off what it does under any rule, where none fits
            without; that takes the longest. Under a rule that its name names they always are.
        case: whether to look for the smallest case that shows how it deviates.
        options: the implementation's own arguments (`momentum=0.9, nesterov=True`). Numbers that are given stay as
            they are; the others are set by the probes.

    Returns:
        The verdict; its status is "unsupported", with the reason, if the implementation cannot be driven.

    Raises:
        RefoptError: an unknown rule, target or argument.
    """
    chosen = get_rule(rule) if rule is not None else None
    average = chosen is not None and chosen.average

    def seen_in(dtype: str | None, chosen: Rule | None, coarser: Coarser | None = None) -> Verdict:
        try:
            subject = resolve(target, options, average=average, dtype=dtype, device=device)
        except Unsupported as refusal:
            return Verdict(status="unsupported", subject=name_of(target), reason=str(refusal))
        try:
            return _verify_one_of(subject, chosen, dialect, fit=fit, case=case, coarser=coarser)
        finally:
            subject.close()

    def in_float32(rules: Sequence[Rule]) -> Verdict | None:
        found = (seen_in("float32", one) for one in rules)
        return next((replace(one, notes=(*one.notes, IN_FLOAT32)) for one in found if one.conforms), None)

    return seen_in(dtype, chosen, in_float32 if dtype is None else None)


def _verify_one_of(
    subject: Subject, chosen: Rule | None, dialect: str | None, *, fit: bool, case: bool, coarser: Coarser | None
) -> Verdict:
    """A subject against the rule that it is said to be of, or against all of them.

    Where none fits and no fault of those that its name names explains that, `coarser` looks for less in these, unless
    they lack numbers, which are to be fitted.
    """
    average = subject.interface.average
    if chosen is not None and chosen.average != average:
        what = "an average, and takes no gradient" if average else "an optimizer, and averages nothing"
        raise RefoptError(f"{subject.name} is {what}; leave out rule={chosen.name!r}, or give the rule that it is of")
    every = [r for r in RULES.values() if r.average == average]
    rules = rules_with(dialect, namesakes_first(subject.name, every) if chosen is None else [chosen])
    trials, failures, notes = [], [], []
    lacking: list[Rule] = []
    memory: Memory = {}
    namesakes = _namesakes(subject.name, rules)
    meant = rules if chosen is not None else namesakes
    for one in rules:
        if neutral_axes(one, under(subject, one).names.settable)[1] is not None:
            lacking.append(one)
            continue
        try:
            trial = Trial(under(subject, one), one, dialect, memory=memory)
            if trial.conforms():
                return with_complex(trial.verdict(), trial)
            trials.append(trial)
            if one not in meant and isinstance(trial.found, Identification):
                trial.found.nearest = FEWER
        except Unsupported as failure:
            failures.append(str(failure))
            continue
        if one in namesakes and (kept := _kept_by(subject, one)):
            found, said = _read_off(subject, one, dialect, kept, chosen, only_if_it_conforms=True)
            if found is not None:
                return found
            notes += said
    verdicts: dict[str, Verdict] = {}
    for its_own in (True, False):
        for trial in (one for one in trials if (one.rule in meant) is its_own):
            try:
                verdicts[trial.rule.name] = trial.first_verdict()
            except Unsupported as failure:
                failures.append(str(failure))
        explained = any(verdict.faults for verdict in verdicts.values())
        if its_own and coarser and not explained and dtype_of_probes(subject) == "float64":
            found = coarser([one for one in meant if one not in lacking])
            if found is not None:
                return found
    for one, stage in _stages(subject, lacking) if fit and not explained else ():
        try:
            found, said = _read_off(subject, one, dialect, stage, chosen)
        except RefoptError as failure:
            failures.append(str(failure))
            continue
        if found is not None and found.conforms:
            return found
        notes += said
        if found is not None and not trials:
            verdicts[one.name] = found
    tried = {trial.rule.name: trial for trial in trials}
    while verdicts:
        nearest = nearest_of(list(verdicts.values()), [one.name for one in namesakes])
        its = tried.get(nearest.rule or "")
        if its is None or its.seen_all:
            code = its.smallest(nearest) if its and case else ""
            return replace(nearest, case=code, notes=(*nearest.notes, *notes))
        try:
            verdicts[its.rule.name] = its.verdict()
        except Unsupported as failure:
            failures.append(str(failure))
            del verdicts[its.rule.name]
    if not failures:
        failures.append(f"{subject.name} lets nobody set what a rule needs; with fit=True it is looked for")
    reason = "; ".join(dict.fromkeys(failures))  # what one rule after the other ran into, once
    return Verdict(status="unsupported", subject=subject.name, versions=subject.interface.versions, reason=reason)


def _read_off(
    subject: Subject,
    rule: Rule,
    dialect: str | None,
    lacking: Sequence[str],
    chosen: Rule | None,
    *,
    only_if_it_conforms: bool = False,
) -> tuple[Verdict | None, list[str]]:
    """The verdict under a rule, numbers read off what the subject does; or a note on what it resembles in vain."""
    trial = Trial(under(subject, rule), rule, dialect, lacking)
    conforms = trial.conforms()
    if conforms and trial.vacuous and chosen is None:
        return None, [resembles(trial.verdict(), trial.vacuous)]
    return None if only_if_it_conforms and not conforms else trial.verdict(), []


def namesakes_first(subject: str, rules: Sequence[Rule]) -> list[Rule]:
    """The rules whose names are in that of the subject, the longest name first; then the others, simple ones first."""
    own = _namesakes(subject, rules)
    return [*own, *(r for r in rules if r not in own)]


def _namesakes(subject: str, rules: Sequence[Rule]) -> list[Rule]:
    def letters(name: str) -> str:
        return "".join(filter(str.isalpha, name.lower()))

    return sorted(
        (r for r in rules if letters(r.name) in letters(subject.rpartition(":")[2])), key=lambda r: -len(r.name)
    )


def _kept_by(subject: Subject, rule: Rule) -> list[str]:
    """The numbers that a subject lets nobody set, of those that are not neutral at 0; none if it is lacking others."""
    known = under(subject, rule).names.settable
    if neutral_axes(rule, known)[1] is not None:
        return []
    return which_lacking(rule, {p.name for p in rule.hyper_parameters} & known)[0]


def _stages(subject: Subject, rules: Sequence[Rule]) -> Iterator[tuple[Rule, list[str]]]:
    """The numbers of its own that a subject may have under each rule, to be read off what it does.

    Those that are neutral at 0 only where it lets nobody set anything.
    """
    stages = {}
    for rule in rules:
        known = under(subject, rule).names.settable
        stages[rule.name] = which_lacking(rule, {p.name for p in rule.hyper_parameters} & known)
    yield from ((rule, stages[rule.name][0]) for rule in rules)
    if not subject.names.settable:
        yield from ((rule, stage) for rule in rules for stage in stages[rule.name][1:])
