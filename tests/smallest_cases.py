"""Optimizers with a mistake each, in files that anybody may import: what the smallest case is looked for in."""

from __future__ import annotations

import numpy as np


def sgd_uphill_when_large(params, grads, state, lr):
    """The sign is wrong where a gradient is above 1."""
    return [w - lr * np.where(g > 1, -g, g) for w, g in zip(params, grads, strict=True)], state


def sgd_of_two_tensors(params, grads, state, lr):
    """The second tensor moves by the first one's gradient as well."""
    extra = [0.0, *(grads[0].mean() for _ in grads[1:])]
    return [w - lr * (g + more) for w, g, more in zip(params, grads, extra, strict=True)], state


def momentum_that_skips_zeros(params, grads, state, lr, mu):
    """A tensor whose gradient is zero stands still."""
    velocity = [mu * u + g for u, g in zip(state or [0.0] * len(params), grads, strict=True)]
    moves = [u if g.any() else np.zeros_like(g) for u, g in zip(velocity, grads, strict=True)]
    return [w - lr * u for w, u in zip(params, moves, strict=True)], velocity


def adam(params, grads, state, lr, beta1, beta2, eps, counted=10**9):
    t, m, v = state or (0, [0.0] * len(params), [0.0] * len(params))
    t = min(t + 1, counted)
    m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, grads, strict=True)]
    v = [beta2 * a + (1 - beta2) * g * g for a, g in zip(v, grads, strict=True)]
    moves = [a / (1 - beta1**t) / (np.sqrt(b / (1 - beta2**t)) + eps) for a, b in zip(m, v, strict=True)]
    return [w - lr * u for w, u in zip(params, moves, strict=True)], (t, m, v)


def adam_counting_to_ten(params, grads, state, lr, beta1, beta2, eps):
    return adam(params, grads, state, lr, beta1, beta2, eps, counted=10)


def adam_counting_to_300(params, grads, state, lr, beta1, beta2, eps):
    return adam(params, grads, state, lr, beta1, beta2, eps, counted=300)


def adam_that_hides_nan(params, grads, state, lr, beta1, beta2, eps):
    return adam(params, [np.nan_to_num(g) for g in grads], state, lr, beta1, beta2, eps)


def lars_of_another_norm(params, grads, state, lr, mu, tc, wd):
    """The sum of magnitudes in place of the Euclidean norm."""
    velocity = []
    for w, g, u in zip(params, grads, state or [0.0] * len(params), strict=True):
        trust = tc * np.abs(w).sum() / (np.abs(g).sum() + wd * np.abs(w).sum())
        velocity.append(mu * u + lr * trust * (g + wd * w))
    return [w - u for w, u in zip(params, velocity, strict=True)], velocity


def average_of_half(params, state, decay=0.5):
    """An average that takes in every second parameter only."""
    t, mean = state or (0, [0.0] * len(params))
    if t % 2 == 0:
        mean = [decay * a + (1 - decay) * w for a, w in zip(mean, params, strict=True)]
    return mean, (t + 1, mean)


def sgd_of_matrices(params, grads, state, lr):
    """What has two dimensions moves twice as far."""
    return [w - lr * g * max(g.ndim, 1) for w, g in zip(params, grads, strict=True)], state


def sgd_with_a_mode(params, grads, state, lr, mode=None, shape=None):
    """What is above 1 is moved by its magnitude; arguments that are no numbers say so."""
    assert mode == [1, 2]
    return [w - lr * shape(g) for w, g in zip(params, grads, strict=True)], state
