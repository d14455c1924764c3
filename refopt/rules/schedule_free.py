"""Schedule-free SGD. The gradient is taken at w, between an iterate z and the average x of iterates.

z moves by the gradient, x averages z, and w is what both are mixed to: momentum by interpolation. A model is evaluated
with x. The papers call w y.
"""

from refopt.rules._schedule_free import BETA1, LR_NEXT, PAPER, POWER, SLOTS, R, decay_axis, faults, weight_axis
from refopt.rules._shared import STATE_DTYPE, WD, lr_of
from refopt.spec.declare import Dialect, Rule


def schedule_free(w, g, x, z, s, *, t, lr, beta1, wd):
    u = g + wd * w
    z = z - lr * u
    weight = lr * lr
    s = s + weight
    c = 0 if s == 0 else weight / s
    x = (1 - c) * x + c * z
    w = (1 - beta1) * z + beta1 * x
    return w, x, z, s


def average(x, *, t):
    a = x
    return a


SCHEDULE_FREE = Rule(
    name="schedule_free",
    title="Schedule-free SGD",
    function=schedule_free,
    evaluate=average,
    hyper_parameters=(lr_of(1.0), BETA1, POWER, R, LR_NEXT, WD),
    slots=SLOTS,
    axes=(decay_axis(), weight_axis("lr"), STATE_DTYPE),
    dialects=(
        Dialect("paper", "Defazio et al. 2024, equations (3), (4) and (23)", {}, {"lr": 1.0}),
        Dialect("equations", "Defazio et al. 2024, equations (3) to (5)", {"weight": "equal"}, {"lr": 1.0}),
        Dialect("facebook", "schedulefree.SGDScheduleFree", {"weight": "lr_max_t"}, {"lr": 1.0}),
        Dialect("optax", "optax.contrib.schedule_free_sgd", {"weight": "lr_max"}, {"lr": 1.0}),
    ),
    references=(PAPER,),
    faults=faults(("weight", "c")),
)  # fmt: skip
