"""Who follows no rule: which one it is held against, and how often it is asked."""

from __future__ import annotations

import numpy as np

import refopt


def adam(params, grads, state, *, lr, beta1, beta2, eps):
    """As torch computes it where it is capturable, for a tensor at a time: 0/0 at a rate of 0 where no gradient was."""
    t, m, v = state or (0, [0.0] * len(params), [0.0] * len(params))
    t += 1
    m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, grads, strict=True)]
    v = [beta2 * a + (1 - beta2) * g * g for a, g in zip(v, grads, strict=True)]
    size = -np.float64(lr) / (1 - beta1**t)
    with np.errstate(all="ignore"):
        below = [np.sqrt(b) / (np.sqrt(1 - beta2**t) * size) + eps / size for b in v]
        return [w + a / b for w, a, b in zip(params, m, below, strict=True)], (t, m, v)


def test_what_is_called_adam_and_is_one_almost_everywhere_is_held_against_adam() -> None:
    """Not against yogi, a fault of which makes it an Adam."""
    verdict = refopt.verify(adam, fit=False)
    assert (verdict.status, verdict.rule) == ("deviates", "adam"), str(verdict)
    assert verdict.first is not None
    assert np.isnan(verdict.first.actual)
    assert "numbers that are zero" in str(verdict)
    assert '"lr": 0.0' in verdict.case
    assert verdict.versions


def test_what_a_subject_did_is_remembered() -> None:
    """Rules of the same numbers show the same probes: it is driven through each of them once."""
    starts = []

    def nobody(params, grads, state, *, lr, beta1, beta2, eps):
        if state is None:
            starts.append((lr, beta1, beta2, eps, *(w.tobytes() for w in (*params, *grads))))
        return [w - lr * np.cbrt(g) for w, g in zip(params, grads, strict=True)], True

    verdict = refopt.verify(nobody, fit=False, case=False)
    assert verdict.status == "deviates"
    assert verdict.tried
    assert verdict.case == ""
    assert len(starts) == len(set(starts))
