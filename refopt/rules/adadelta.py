"""Adadelta: a step is as long as the steps before it, in the root of their mean square, so that it has their unit.

The paper has no learning rate; every implementation adds one, of which 1 is the paper's algorithm. Epsilon is no mere
guard here: before the first step there is no other, so that epsilon is what steps start to grow from.
"""

from refopt.rules._faults import GRADIENT, RATE, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def adadelta(w, g, v, s, *, t, lr, rho, eps):
    v = rho * v + (1 - rho) * g * g
    h = sqrt(s + eps) / sqrt(v + eps) * g
    s = rho * s + (1 - rho) * h * h
    w = w - lr * h
    return w, v, s


ADADELTA = Rule(
    name="adadelta",
    title="Adadelta",
    function=adadelta,
    hyper_parameters=(
        lr_of(1.0),
        HyperParameter("rho", "ρ", 0.95, "[0, 1)", "decay of both mean squares", (), (0.875, 0.75)),
        HyperParameter("eps", "ε", 1e-6, "[0, inf)", "what the first steps grow from, and guard of the division",
                       ("epsilon",), (2**-6, 2**-7)),
        WD,
    ),
    slots=(Slot("v", "v", "mean square of the gradients"), Slot("s", "s", "mean square of the steps")),
    axes=(
        decay_axis(l2=before("v", "g = g + wd * w")),
        Axis("eps_at", "where epsilon joins the two roots", (
            Choice("inside", "inside both roots", "Zeiler 2012, equation (9); torch, optax, Keras"),
            Choice("outside", "added to both roots: steps grow from epsilon itself, not from its root",
                   "Kochenderfer & Wheeler 2019, the code of Adadelta",
                   (line("h = (sqrt(s) + eps) / (sqrt(v) + eps) * g"),)),
        )),
        Axis("lr_at", "where the learning rate acts", (
            Choice("outside", "on the step that is taken: the mean square of steps does not know of it",
                   "torch, optax, Keras; in the paper it is 1"),
            Choice("inside", "on the step before its square is averaged: the rate of a day acts on later steps too",
                   "climin", (line("h = lr * (...)"), line("w = w - h"))),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Zeiler 2012, Algorithm 1", {}, {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
        Dialect("torch", "torch.optim.Adadelta",
                {"decay": "l2", "complex": "parts"}, {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
        Dialect("optax", "optax.adadelta", {"decay": "l2"}, {"rho": 0.9, "eps": 1e-6}),
        Dialect("keras", "keras.optimizers.Adadelta", {"decay": "decoupled"}, {"lr": 0.001, "rho": 0.95, "eps": 1e-7}),
    ),
    references=(
        Reference("Zeiler, ADADELTA: An Adaptive Learning Rate Method (2012)", "Algorithm 1",
                  "https://arxiv.org/abs/1212.5701"),
        Reference("Kochenderfer & Wheeler, Algorithms for Optimization (2019)",
                  "the code of Adadelta, with epsilon outside the roots", "https://algorithmsbook.com/optimization/"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(),
        Fault("rate-inside", "the learning rate acts on the step before its square is averaged: it shortens every step "
              "again", reports("keras-team/keras/pull/11532"), axes={"lr_at": "inside"},
              only_with={"lr_at": ("outside",)}),
        Fault("rate-outside", "the mean square of steps does not know of the learning rate, though it should",
              axes={"lr_at": "outside"}, only_with={"lr_at": ("inside",)}),
        Fault("rate-ignored", "there is no learning rate, as in the paper: a schedule has no effect",
              reads={"lr": "(lr * 0 + 1)"}),
        Fault("numerator-missing", "the step is the gradient over its root mean square, as RMSprop's is: a thousand "
              "times too long at the first step", edits=(line("h = g / sqrt(v + eps)"),)),
        Fault("numerator-unrooted", "the mean square of steps is not rooted: steps start a thousand times too short",
              reports("tensorflow/tensorflow/pull/2157"), (line("h = (s + eps) / sqrt(v + eps) * g"),)),
        Fault("denominator-unrooted", "the mean square of gradients is not rooted: large gradients hardly move",
              edits=(line("h = sqrt(s + eps) / (v + eps) * g"),)),
        Fault("fraction-inverted", "the root mean square of steps divides: the shorter the steps, the longer they get",
              edits=(line("h = sqrt(v + eps) / sqrt(s + eps) * g"),)),
        Fault("numerator-of-gradients", "the mean square in the numerator is of gradients, not of steps",
              edits=(within("s", h="g"),)),
        Fault("step-computed-anew", "the step is computed again from the mean square that it has just entered, as by "
              "a lazy expression: it is longer than it should be",
              reports("tensorflow/tensorflow/issues/9058"),
              (after("s", "h = sqrt(s + eps) / sqrt(v + eps) * g"),),
              only_with={"eps_at": ("inside",), "lr_at": ("outside",)}),
        Fault("v-stale", "the step is divided by the mean square before its update: the first one is huge",
              edits=(before("v", "v_old = v"), within("h", v="v_old"))),
        Fault("v-misbracketed", "the square of the gradient multiplies the whole average: where it is small, the past "
              "is forgotten", reports("deeplearning4j/nd4j/issues/1239"), (line("v = (rho * v + (1 - rho)) * g * g"),)),
        Fault("v-added", "the new average is added to the old one: it grows for ever, and steps die out",
              reports("tensorflow/tensorflow/pull/644"), (line("v = v + (...)"),)),
        Fault("v-unscaled", "the square of the gradient enters without 1 - rho: steps are four times too short",
              edits=(line("v = rho * v + g * g"),)),
        Fault("s-unscaled", "the square of the step enters without 1 - rho: steps grow faster and faster",
              edits=(line("s = rho * s + h * h"),)),
        Fault("v-of-magnitude", "the average is of |g|, not of its square: steps depend on the gradient's scale",
              edits=(line("v = rho * v + (1 - rho) * abs(g)"),)),
        Fault("rho-inverted", "the new value has the weight of the old: the averages hardly average",
              edits=(within("v", rho="(1 - rho)"), within("s", rho="(1 - rho)"))),
        Fault("debiased", "the mean square of gradients is corrected for its start at zero, as Adam's is: early steps "
              "are short", edits=(within("h", v="(v / (1 - rho**t))"),)),
        Fault("s-starts-from-one", "the mean square of steps starts from one, not from zero: the first steps are a "
              "thousand times too long", starts={"s": 1.0}),
        Fault("v-of-gradient-only", "the mean square is of the gradient as it came, the step follows the decayed one",
              edits=(within("v", g="(g - wd * w)"),), only_with={"decay": ("l2",)}),
        Fault("step-of-gradient-only", "the step follows the gradient as it came, the mean square the decayed one",
              edits=(within("h", g="(g - wd * w)"),), only_with={"decay": ("l2",)}),
        Fault("eps-not-in-numerator", "epsilon only guards the division: the first step is zero, and so are all others",
              edits=(line("h = sqrt(s) / sqrt(v + eps) * g"),)),
        Fault("eps-outside", "epsilon is added to the roots: steps start a thousand times too short",
              axes={"eps_at": "outside"}, only_with={"eps_at": ("inside",)}),
        Fault("eps-inside", "epsilon is added inside the roots: it acts as its square root",
              axes={"eps_at": "inside"}, only_with={"eps_at": ("outside",)}),
        Fault("eps-times-ten", "epsilon is ten times what was asked for, as 10e-6 is ten times 1e-6",
              reads={"eps": "(10 * eps)"}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: the first step is zero, and so are all "
              "others", reads={"eps": "(eps * 0)"}),
        Fault("v-in-bfloat16", "the mean square of gradients is kept in bfloat16",
              reports("FluxML/Optimisers.jl/issues/215"), begin=("v = bfloat16(v)",)),
        Fault("s-in-bfloat16", "the mean square of steps is kept in bfloat16",
              reports("FluxML/Optimisers.jl/issues/215"), begin=("s = bfloat16(s)",)),
        rounded_early("v", "s"),
        Fault("rho-in-bfloat16", "rho is rounded to bfloat16: 0.95 becomes 0.9492",
              reports("tenstorrent/tt-metal/issues/55935"), reads={"rho": "bfloat16(rho)"}),
        Fault("rho-in-float32", "1 - rho is computed in float32, whatever the dtype of the parameters",
              reads={"rho": "float32(rho)"}),
    ),
)  # fmt: skip
