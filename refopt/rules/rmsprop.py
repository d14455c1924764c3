"""RMSprop: the gradient divided by the root of a running mean of its squares.

The lecture divides by the bare root. Everybody adds an epsilon, after the root or inside it; with eps = 0 the canonical
lines are the lecture's own.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def rmsprop(w, g, v, *, t, lr, rho, eps):
    v = rho * v + (1 - rho) * g * g
    d = sqrt(v) + eps
    x = g / d
    w = w - lr * x
    return w, v


U = Slot("u", "u", "velocity")
NOT_L2 = ("none", "decoupled", "decoupled_after", "decoupled_no_lr", "decoupled_no_lr_after")
RIDING = ("heavy_ball", "nesterov")

RMSPROP = Rule(
    name="rmsprop",
    title="RMSprop",
    function=rmsprop,
    hyper_parameters=(
        lr_of(0.001),
        HyperParameter("rho", "ρ", 0.9, "[0, 1)", "decay of the mean square", ("alpha", "decay", "gamma"),
                       (0.9375, 0.875)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("start", "v₀", 0.0, "[0, inf)", "what the mean square starts from", ("initial_scale",),
                       (0.25, 0.5)),
        HyperParameter("mu", "μ", 0.0, "[0, 1)", "momentum", ("momentum",), (0.75, 0.875, 0.9375)),
        WD,
    ),
    slots=(Slot("v", "v", "mean square of the gradients"),),
    axes=(
        decay_axis(l2=before("v", "g = g + wd * w")),
        Axis("init", "what the mean square starts from", (
            Choice("zeros", "zero: the first steps are long", "torch, Keras"),
            Choice("ones", "one: at first the step is nearly that of gradient descent",
                   "tf.compat.v1.train.RMSPropOptimizer, timm's RMSpropTF",
                   (before("v", "v = full_like(v, 1) if t == 1 else v"),)),
            Choice("value", "a number", "optax.rmsprop with initial_scale",
                   (before("v", "v = full_like(v, start) if t == 1 else v"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside", "added to the root", "torch, chainer, optax with eps_in_sqrt=False"),
            Choice("inside", "inside the root", "Graves 2013, equation (40); TensorFlow, Keras, optax",
                   (line("d = sqrt(v + eps)"),)),
        )),
        Axis("centered", "whether the step is divided by the deviation of the gradient, not by its size", (
            Choice("no", "by the root of the mean square", "Tieleman & Hinton 2012"),
            Choice("yes", "by the root of the variance: the mean square less the square of the mean",
                   "Graves 2013, equations (38) to (40); torch, Keras, optax with centered=True",
                   (after("v", "m = rho * m + (1 - rho) * g"), within("d", v="(v - m * m)")),
                   slots=(Slot("m", "m", "mean of the gradients"),), cancels=True),
        )),
        Axis("bias", "whether the start of the mean square at zero is divided out", (
            Choice("none", "the mean square is used as it is", "Tieleman & Hinton 2012"),
            # Not with a variance: of the first gradient alone it is zero, and what is left of it is rounding. Nor with
            # a decayed gradient, which nobody has: its square, divided by a small number, overflows too soon.
            Choice("corrected", "by 1 - rho**t", "optax.rmsprop with bias_correction=True",
                   (before("d", "c = 1 - rho**t"), within("d", v="(v / c)")),
                   only_with={"centered": ("no",), "decay": NOT_L2}),
        )),
        Axis("velocity", "whether steps are gathered in a velocity", (
            Choice("none", "each step is made for itself", "Tieleman & Hinton 2012"),
            Choice("heavy_ball", "the step is the velocity", "Graves 2013, equation (40); torch, Keras, optax",
                   (after("x", "u = mu * u + x"), within("w", x="u")), (U,)),
            Choice("nesterov", "the step looks ahead along the new velocity", "optax.rmsprop with nesterov=True",
                   (after("x", "u = mu * u + x"), within("w", x="(x + mu * u)")), (U,)),
        )),
        Axis("lr_at", "where the learning rate acts", (
            Choice("outside", "on the velocity: a new rate acts on all past steps at once", "torch"),
            Choice("inside", "on what enters the velocity: each step keeps the rate of its day",
                   "Graves 2013, equation (40); TensorFlow, Keras, optax",
                   (line("x = lr * (...)"), within("w", lr="1")), only_with={"velocity": RIDING}),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Tieleman & Hinton 2012, with a guard of the division", {}, {"rho": 0.9}),
        Dialect("torch", "torch.optim.RMSprop", {"decay": "l2", "velocity": "heavy_ball", "complex": "parts"},
                {"lr": 0.01, "rho": 0.99, "eps": 1e-8}),
        Dialect("optax", "optax.rmsprop",
                {"init": "value", "eps_at": "inside", "velocity": "heavy_ball", "lr_at": "inside",
                 "complex": "modulus"},
                {"rho": 0.9, "eps": 1e-8}),
        Dialect("keras", "keras.optimizers.RMSprop",
                {"decay": "decoupled", "eps_at": "inside", "velocity": "heavy_ball", "lr_at": "inside"},
                {"lr": 0.001, "rho": 0.9, "eps": 1e-7}),
        Dialect("tf1", "tf.compat.v1.train.RMSPropOptimizer, timm.optim.RMSpropTF",
                {"init": "ones", "eps_at": "inside", "velocity": "heavy_ball", "lr_at": "inside"},
                {"rho": 0.9, "eps": 1e-10}),
    ),
    references=(
        Reference("Tieleman & Hinton, Lecture 6.5: rmsprop (2012)", "slide 29",
                  "https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf"),
        Reference("Graves, Generating Sequences With Recurrent Neural Networks (2013)", "equations (38) to (45)",
                  "https://arxiv.org/abs/1308.0850"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("c"),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its own root, which is far larger",
              reports("keras-team/keras/issues/435", "tensorflow/tensorflow/issues/58412"),
              axes={"eps_at": "inside"}, only_with={"eps_at": ("outside",)}),
        Fault("eps-outside", "epsilon is added to the root, where it belongs inside: large ones, as of published "
              "settings, act as their squares would",
              reports("chainer/chainer/issues/4754", "pytorch/pytorch/issues/23796", "google-deepmind/optax/issues/532",
                      "apache/mxnet/pull/6235"),
              axes={"eps_at": "outside"}, only_with={"eps_at": ("inside",)}),
        Fault("eps-times-ten", "epsilon is ten times what was asked for", reads={"eps": "(10 * eps)"}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: a gradient of zero gives NaN",
              reads={"eps": "(eps * 0)"}),
        Fault("v-unscaled", "the square enters without 1 - rho: a decaying sum, not a mean; steps are too short",
              reports("Devinterview-io/gradient-descent-interview-questions/issues/1"),
              (line("v = rho * v + g * g"),)),
        Fault("weights-exchanged", "the new square has the weight of the old mean: it hardly averages",
              edits=(within("v", rho="(1 - rho)"),)),
        Fault("first-square-copied", "the first square is taken for the mean, unscaled: the first step is short",
              reports("zc911/MatrixSlow/issues/28"), (line("v = g * g if t == 1 else ..."),),
              only_with={"init": ("zeros",)}),
        Fault("v-of-magnitudes", "v averages |g|, not g*g",
              edits=(line("v = rho * v + (1 - rho) * abs(g)"),)),
        Fault("v-stale", "the step is divided by the root before its update: the first divides by eps",
              edits=(before("v", "v_old = v"), within("d", v="v_old"))),
        Fault("root-missing", "the step is divided by the mean square itself: large gradients hardly move",
              edits=(line("d = v + eps"),), only_with={"centered": ("no",), "bias": ("none",)}),
        Fault("v-of-plain-gradient", "the decayed gradient is divided by the mean square of the gradient as it came",
              edits=(line("v = rho * v + (1 - rho) * (g - wd * w) * (g - wd * w)"),), only_with={"decay": ("l2",)}),
        Fault("v-in-bfloat16", "the mean square is kept in bfloat16: with rho of 0.99 it soon stands still",
              begin=("v = bfloat16(v)",)),
        rounded_early("v"),
        Fault("rho-in-bfloat16", "rho is rounded to bfloat16: 0.99 becomes 0.9883, and 0.999 becomes 1",
              reads={"rho": "bfloat16(rho)"}),
        Fault("starts-from-zero", "the mean square starts from zero, though it should start from more: the first steps "
              "are too long",
              reports("google-deepmind/optax/issues/49", "torch/optim/issues/87"),
              axes={"init": "zeros"}, only_with={"init": ("ones", "value")}),
        Fault("starts-from-one", "the mean square starts from one: the first steps are too short",
              reports("torch/optim/pull/130", "jax-ml/jax/pull/975", "BRML/climin/issues/30"),
              axes={"init": "ones"}, only_with={"init": ("zeros", "value")}),
        Fault("centered-lost", "the mean is not subtracted, though the variance was asked for",
              axes={"centered": "no"}, only_with={"centered": ("yes",)}),
        Fault("mean-not-squared", "the mean itself is subtracted from the mean square: the root of negative numbers",
              edits=(line("d = sqrt(v - m) + eps"),), only_with={"centered": ("yes",), "eps_at": ("outside",)}),
        Fault("mean-stale", "the variance is that about the mean of the step before",
              edits=(before("m", "m_old = m"), within("d", m="m_old")), only_with={"centered": ("yes",)}),
        Fault("deviation-of-step", "the mean is subtracted from the gradient too: a constant slope is not followed",
              edits=(within("x", g="(g - m)"),), only_with={"centered": ("yes",)}),
        Fault("bias-missing", "the mean square is not corrected: early steps are too long",
              axes={"bias": "none"}, only_with={"bias": ("corrected",)}),
        Fault("bias-by-mistake", "the mean square is corrected as Adam's is, though RMSprop was asked for",
              axes={"bias": "corrected"}, only_with={"bias": ("none",)}),
        Fault("bias-without-power", "1 - rho is divided out at every step, not 1 - rho**t",
              edits=(line("c = 1 - rho"),), only_with={"bias": ("corrected",)}),
        Fault("nesterov-by-mistake", "the step looks ahead though heavy ball was asked for",
              axes={"velocity": "nesterov"}, only_with={"velocity": ("heavy_ball",)}),
        Fault("nesterov-lost", "heavy ball, though Nesterov was asked for",
              axes={"velocity": "heavy_ball"}, only_with={"velocity": ("nesterov",)}),
        Fault("rate-inside", "the learning rate acts on what enters the velocity: after a change of rate, old steps "
              "keep theirs", axes={"lr_at": "inside"}, only_with={"lr_at": ("outside",)}),
        Fault("rate-outside", "the learning rate acts on the velocity, as torch has it, where TensorFlow was to be "
              "reproduced", reports("pytorch/pytorch/issues/32545"),
              axes={"lr_at": "outside"}, only_with={"lr_at": ("inside",)}),
        Fault("velocity-of-gradients", "the velocity gathers gradients, and is divided as a whole: the newest "
              "denominator divides the oldest gradients",
              edits=(line("u = mu * u + x * d"), within("w", u="(u / d)")), only_with={"velocity": ("heavy_ball",)}),
        Fault("velocity-averaged", "what enters the velocity is scaled by 1 - momentum",
              edits=(line("u = mu * u + (1 - mu) * x"),)),
        Fault("velocity-stale", "the parameter moves along the velocity of the step before: the first goes nowhere",
              edits=(before("u", "u_old = u"), within("w", u="u_old")), only_with={"velocity": ("heavy_ball",)}),
        Fault("momentum-rounded", "the momentum is rounded to bfloat16: 0.9 becomes 0.8984",
              reads={"mu": "bfloat16(mu)"}),
        Fault("velocity-rounded", "the velocity is kept in bfloat16", begin=("u = bfloat16(u)",),
              only_with={"velocity": RIDING}),
    ),
)  # fmt: skip
