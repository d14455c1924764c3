"""Schedule-free AdamW: the sequences of schedule-free SGD, the gradient divided as Adam does, and decoupled decay."""

from refopt.rules._schedule_free import BETA1, LR_NEXT, PAPER, POWER, SLOTS, R, decay_axis, faults, weight_axis
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Rule, Slot
from refopt.spec.edits import before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def schedule_free_adamw(w, g, v, x, z, s, *, t, lr, beta1, beta2, eps, wd):
    v = beta2 * v + (1 - beta2) * g * g
    c2 = 1 - beta2**t
    rate = lr * sqrt(c2)
    d = sqrt(v) + eps
    u = g / d + wd * w
    z = z - rate * u
    weight = rate * rate
    s = s + weight
    c = 0 if s == 0 else weight / s
    x = (1 - c) * x + c * z
    w = (1 - beta1) * z + beta1 * x
    return w, v, x, z, s


def average(x, *, t):
    a = x
    return a


SCHEDULE_FREE_ADAMW = Rule(
    name="schedule_free_adamw",
    title="Schedule-free AdamW",
    function=schedule_free_adamw,
    evaluate=average,
    hyper_parameters=(
        lr_of(0.0025),
        BETA1,
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the second moment", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        POWER,
        R,
        LR_NEXT,
        WD,
    ),
    slots=(Slot("v", "v", "second raw moment"), *SLOTS),
    axes=(
        decay_axis(
            Choice("at_x", "taken from the average, so much that the point of the gradient loses lr * wd of itself",
                   "Keras, which decays the variable before the step",
                   (line("u = g / d"), before("v", "x = x - lr * wd * w / beta1"))),
        ),
        Axis("bias", "how the start of the second moment at zero is corrected", (
            Choice("rate", "in the rate, which decays and weighs too; epsilon joins the raw moment",
                   "Defazio et al. 2024, Algorithm 1; schedulefree's AdamWScheduleFreePaper"),
            Choice("v", "in the second moment; epsilon joins the root of the corrected one",
                   "schedulefree from version 1.3, optax, Keras",
                   (line("rate = lr"), line("d = sqrt(v / c2) + eps"))),
        )),
        weight_axis("rate"),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Defazio et al. 2024, Algorithm 1", {}, {"lr": 0.0025}),
        Dialect("facebook", "schedulefree.AdamWScheduleFree", {"bias": "v", "weight": "lr_max_t"}, {"lr": 0.0025}),
        Dialect("optax", "optax.contrib.schedule_free_adamw",
                {"bias": "v", "weight": "lr_max", "complex": "modulus"}, {"lr": 0.0025}),
        Dialect("keras", "keras.optimizers.ScheduleFreeAdamW",
                {"decay": "at_x", "bias": "v", "weight": "equal_steps"}, {"lr": 0.0025}),
    ),
    references=(PAPER,),
    faults=(
        *faults(("c2", "weight", "c"), ("v", "x", "z")),
        Fault("decay-of-average", "the decay is taken from the average, not from the iterate",
              axes={"decay": "at_x"}, only_with={"decay": ("at_y", "at_z")}),
        Fault("bias-missing", "the second moment is not corrected: the first steps are many times too long",
              edits=(line("c2 = 1"),)),
        Fault("bias-in-rate", "the rate is corrected, and decays less at first; epsilon joins the raw moment",
              axes={"bias": "rate"}, only_with={"bias": ("v",)}),
        Fault("bias-in-moment", "the second moment is corrected, and the decay is not",
              axes={"bias": "v"}, only_with={"bias": ("rate",)}),
        Fault("bias-not-weighted", "the first iterates count as if their rate had not been corrected",
              edits=(within("weight", rate="lr"), within("lr_max", rate="lr")), only_with={"bias": ("rate",)}),
        Fault("bias-without-power", "1 - beta2 is used at every step in place of 1 - beta2**t",
              edits=(line("c2 = 1 - beta2"),)),
        Fault("root-of-correction-missing", "the rate is corrected by the correction itself, not by its root",
              edits=(within("rate", c2="(c2 * c2)"),), only_with={"bias": ("rate",)}),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its square root",
              edits=(before("d", "v_root = v + eps"), within("d", v="v_root", eps="0")),
              only_with={"bias": ("rate",)}),
        Fault("eps-times-ten", "epsilon is ten times what was asked for, as 10e-8 is ten times 1e-8",
              reads={"eps": "(10 * eps)"}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: a gradient of zero gives NaN",
              reads={"eps": "(eps * 0)"}),
        Fault("v-unscaled", "the square enters the second moment without 1 - beta2: steps are far too short",
              edits=(line("v = beta2 * v + g * g"),)),
        Fault("v-stale", "the step is made from the second moment before its update: the first step divides by eps",
              edits=(before("v", "v_old = v"), within("d", v="v_old"))),
        Fault("root-missing", "the step is divided by the second moment itself", edits=(within("d", v="(v * v)"),)),
        Fault("betas-swapped", "the second moment has the share of the average for its decay, and the other way round",
              edits=(within("v", beta2="beta1"), within("w", beta1="beta2"))),
        Fault("v-in-bfloat16", "the second moment is kept in bfloat16: with beta2 of 0.999 it soon stands still",
              begin=("v = bfloat16(v)",)),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and v stays zero",
              reads={"beta2": "bfloat16(beta2)"}),
    ),
)  # fmt: skip
