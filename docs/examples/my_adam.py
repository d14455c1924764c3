"""Two functions to verify: `refopt verify docs/examples/my_adam.py:my_adam`, and `:my_late_adam`.

refopt drives `step(params, grads, state, **hyper) -> params, state` on lists of NumPy arrays; the first state is None.
Hyper-parameters go by any name that a framework uses for them.
"""

import numpy as np


def my_adam(params, grads, state, lr=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-7):
    t, m, v = state or (0, [np.zeros_like(w) for w in params], [np.zeros_like(w) for w in params])
    t += 1
    m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, grads, strict=True)]
    v = [beta2 * a + (1 - beta2) * g * g for a, g in zip(v, grads, strict=True)]
    rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    params = [w - rate * a / (np.sqrt(b) + epsilon) for w, a, b in zip(params, m, v, strict=True)]
    return params, (t, m, v)


def my_late_adam(params, grads, state, lr=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-7):
    """As above, but the bias correction stops after the fifth step."""
    t, m, v = state or (0, [np.zeros_like(w) for w in params], [np.zeros_like(w) for w in params])
    t += 1
    m = [beta1 * a + (1 - beta1) * g for a, g in zip(m, grads, strict=True)]
    v = [beta2 * a + (1 - beta2) * g * g for a, g in zip(v, grads, strict=True)]
    rate = lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) if t <= 5 else lr
    params = [w - rate * a / (np.sqrt(b) + epsilon) for w, a, b in zip(params, m, v, strict=True)]
    return params, (t, m, v)
