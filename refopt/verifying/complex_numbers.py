"""What a subject that conforms makes of complex parameters and gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refopt.spec.backend import REAL_OF
from refopt.spec.complex_numbers import MODULUS, PARTS, by_modulus, readable
from refopt.spec.errors import Unsupported
from refopt.verifying.candidates import canonical_hyper
from refopt.verifying.distance import Comparison
from refopt.verifying.identification import Identification
from refopt.verifying.probes import of_kind
from refopt.verifying.shared import of_tensors
from refopt.verifying.subjects.base import dtype_of_probes
from refopt.verifying.subjects.library import LibrarySubject
from refopt.verifying.trace import Arrays
from refopt.verifying.trial import Trial
from refopt.verifying.verdict import Verdict

EITHER, ANALYTIC, REFUSED, REAL, NEITHER = "either", "analytic", "refused", "real", "neither"
MEANING = {
    PARTS: "real and imaginary parts are numbers of their own",
    MODULUS: "a square is |g|**2, an absolute value |g|, a sign g/|g|",
    EITHER: "by parts or by the modulus: of this rule, they are the same",
    REFUSED: "it takes no complex parameters",
    REAL: "it drops the imaginary parts",
    ANALYTIC: "in complex arithmetic: g * g is the complex square, which may be negative or imaginary",
    NEITHER: "neither by parts nor by the modulus, nor, if it takes no norms, in complex arithmetic as it stands",
}
COMPLEX = {real: name for name, real in REAL_OF.items()}


def with_complex(verdict: Verdict, trial: Trial) -> Verdict:
    """The verdict, with how the subject means complex numbers, where it can be shown some and the rule has a reading.

    It takes one more run of twelve steps, beside which the variant that fits is run on pairs of real numbers.
    """
    dtype = COMPLEX.get(dtype_of_probes(trial.subject))
    found = trial.found
    if dtype is None or not isinstance(found, Identification) or not isinstance(trial.subject, LibrarySubject):
        return verdict
    program = found.fitting[0].program
    if not readable(program) or not (program.writes_parameter and program.reads_gradient):
        return verdict
    params, grads, hyper = _numbers(trial, np.dtype(dtype))
    try:
        results = trial.subject.drive(params, grads, hyper)
    except Unsupported as refusal:
        reason = str(refusal).removeprefix(trial.subject.name).lstrip(": ")
        return replace(verdict, complex_numbers=REFUSED, complex_reason=" ".join(reason.split()))
    if not all(np.iscomplexobj(w) for now in results for w in now):
        return replace(verdict, complex_numbers=REAL)
    if any(w.shape != like.shape for now in results for w, like in zip(now, params, strict=True)):
        return replace(verdict, complex_numbers=NEITHER)
    shown = [{name: now[name] for name in now if name in found.known} for now in hyper]
    steps = [{**found.found.assumed, **found.held, **canonical_hyper(trial.rule, now)} for now in shown]
    paths = [""] * len(params)
    whole = Arrays(params, grads, [*shown], results, paths)
    pairs = Arrays(_pairs(params), [*map(_pairs, grads)], [*shown], [*map(_pairs, results)], paths)
    other = by_modulus(program)
    same = other is not None and other.code == program.code
    plain = None if of_tensors(program.lines) else program  # the norm of the reference is one of real numbers
    readings = [(EITHER if same else PARTS, pairs, program), (MODULUS, pairs, other), (ANALYTIC, whole, plain)]
    fits = (name for name, arrays, one in readings if one is not None and Comparison(arrays, steps).agrees(one))
    return replace(verdict, complex_numbers=next(fits, NEITHER))


def _numbers(trial: Trial, dtype: np.dtype) -> tuple[list[np.ndarray], list[list[np.ndarray]], list[dict[str, float]]]:
    """A usual probe, whose imaginary parts are those of its real parts in other places and at other steps.

    Of each number of dimensions its largest tensor: what compiles takes as long as there are tensors.
    """
    probe = of_kind(trial.usual[min(1, len(trial.usual) - 1)], trial.kind)
    shown = {w.ndim: i for i, w in sorted(enumerate(probe.params), key=lambda one: one[1].size)}.values()
    real = [probe.params[i] for i in shown]
    late = probe.grads[::-1]
    params = [np.asarray(w + 1j * w.reshape(-1)[::-1].reshape(w.shape), dtype) for w in real]
    grads = [
        [np.asarray(now[i] + 1j * then[i], dtype) for i in shown] for now, then in zip(probe.grads, late, strict=True)
    ]
    return params, grads, [{**now, **trial.subject.names.fixed} for now in probe.hyper]


def _pairs(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [np.stack([w.real, w.imag], axis=-1) for w in arrays]
