"""Stochastic gradient descent."""

from refopt.rules._faults import GRADIENT, RATE, decay
from refopt.rules._shared import WD, decay_axis, lr_of
from refopt.spec.declare import Dialect, Reference, Rule
from refopt.spec.edits import before


def sgd(w, g, *, t, lr):
    w = w - lr * g
    return w


SGD = Rule(
    name="sgd",
    title="Stochastic gradient descent",
    function=sgd,
    hyper_parameters=(lr_of(0.01), WD),
    slots=(),
    # l2 and decoupled-before are one function here: w - lr*(g + wd*w).
    axes=(decay_axis(l2=before("w", "g = g + wd * w"), without=("decoupled",)),),
    dialects=(
        Dialect("paper", "Robbins & Monro 1951", {}, {"lr": 0.01}),
        Dialect("objax", "objax.optimizer.SGD", {}, {}),
        Dialect("torch", "torch.optim.SGD(momentum=0)", {"decay": "l2"}, {"lr": 1e-3}),
        Dialect("optax", "optax.sgd(momentum=None)", {}, {}),
        Dialect("keras", "keras.optimizers.SGD(momentum=0)", {"decay": "l2"}, {"lr": 0.01}),
    ),
    references=(
        Reference("Robbins & Monro, A Stochastic Approximation Method (1951)", "equation (8)",
                  "https://doi.org/10.1214/aoms/1177729586"),
    ),
    faults=(*GRADIENT, *RATE, *decay(decoupled=False)),
)  # fmt: skip
