"""Adagrad: the gradient divided by the root of the sum of all its squares. The diagonal form, which everybody uses."""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def adagrad(w, g, v, *, t, lr, eps):
    v = v + g * g
    d = sqrt(v) + eps
    w = w - lr * g / d
    return w, v


ADAGRAD = Rule(
    name="adagrad",
    title="Adagrad",
    function=adagrad,
    hyper_parameters=(
        lr_of(0.01),
        HyperParameter("eps", "ε", 1e-10, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("start", "v₀", 0.0, "[0, inf)", "what the sum starts from",
                       ("initial_accumulator_value",), (0.25, 0.5)),
        HyperParameter("lr_decay", "γ", 0.0, "[0, inf)", "fall of the learning rate from step to step", (),
                       (0.125, 0.25)),
        WD,
    ),
    slots=(Slot("v", "v", "sum of the squares of the gradients"),),
    axes=(
        decay_axis(l2=before("v", "g = g + wd * w")),
        Axis("init", "what the sum of squares starts from", (
            Choice("zeros", "zero: the first step is lr, whatever the gradient", "Duchi et al. 2011, Figure 1"),
            Choice("value", "a number", "torch, optax, Keras, TensorFlow: initial_accumulator_value",
                   (before("v", "v = full_like(v, start) if t == 1 else v"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside", "added to the root", "Duchi et al. 2011, Figure 1; torch"),
            Choice("inside", "inside the root", "optax, Keras", (line("d = sqrt(v + eps)"),)),
            Choice("none", "there is none: a sum of zero divides by zero", "tf.compat.v1.train.AdagradOptimizer",
                   (line("d = sqrt(v)"),)),
        )),
        Axis("zero_sum", "what happens where the sum is zero", (
            Choice("divides", "the gradient, zero too, is divided as elsewhere"),
            Choice("no_step", "the parameter stays, even if there is no epsilon",
                   "Duchi et al. 2011, where 0/0 is 0; optax; jax.example_libraries, which has no epsilon",
                   (before("w", "s = where(v > 0, 1 / d, 0)"), line("w = w - lr * g * s")),
                   only_with={"eps_at": ("inside", "none")}),
        )),
        Axis("rate", "whether the learning rate falls by itself", (
            Choice("constant", "it is what is given", "Duchi et al. 2011, Figure 1; optax, Keras"),
            Choice("falling", "divided by 1 + n * lr_decay, n being the steps before this", "torch",
                   (before("w", "r = lr / (1 + (t - 1) * lr_decay)"), within("w", lr="r"))),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Duchi, Hazan & Singer 2011, Figure 1", {}, {"eps": 1e-10}),
        Dialect("torch", "torch.optim.Adagrad", {"decay": "l2", "init": "value", "rate": "falling", "complex": "parts"},
                {"lr": 0.01, "eps": 1e-10}),
        Dialect("jax", "jax.example_libraries.optimizers.adagrad with momentum=0",
                {"eps_at": "none", "zero_sum": "no_step"}),
        Dialect("tf1", "tf.compat.v1.train.AdagradOptimizer", {"init": "value", "eps_at": "none"}, {"start": 0.1}),
        Dialect("optax", "optax.adagrad",
                {"init": "value", "eps_at": "inside", "zero_sum": "no_step", "complex": "modulus"},
                {"eps": 1e-7, "start": 0.1}),
        Dialect("keras", "keras.optimizers.Adagrad", {"decay": "decoupled", "init": "value", "eps_at": "inside"},
                {"lr": 0.001, "eps": 1e-7, "start": 0.1}),
    ),
    references=(
        Reference("Duchi, Hazan & Singer, Adaptive Subgradient Methods for Online Learning and Stochastic "
                  "Optimization (2011)", "Figure 1, with diagonal matrices", "https://jmlr.org/papers/v12/duchi11a.html"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("r"),
        Fault("ascends", "the step is added: the loss grows", reports("PaddlePaddle/Paddle/issues/4184"),
              (within("w", lr="(-lr)"), within("w", r="(-r)"))),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its own root, which is far larger",
              axes={"eps_at": "inside", "zero_sum": "divides"}, only_with={"eps_at": ("outside",)}),
        Fault("eps-outside", "epsilon is added to the root, where it belongs inside: it is far too small there",
              axes={"eps_at": "outside", "zero_sum": "divides"}, only_with={"eps_at": ("inside",)}),
        Fault("eps-by-mistake", "an epsilon, where there should be none",
              edits=(line("d = sqrt(v) + 0.0001"),), only_with={"eps_at": ("none",)}),
        Fault("eps-lost", "epsilon is left out: a first gradient of zero gives NaN",
              reports("lisa-lab/pylearn2/issues/1496", "davharris/mistnet/issues/94"), reads={"eps": "(eps * 0)"}),
        Fault("eps-times-ten", "epsilon is ten times what was asked for", reads={"eps": "(10 * eps)"}),
        Fault("sum-forgets", "the squares are averaged, as RMSprop does: the step does not shrink",
              edits=(line("v = 0.9 * v + 0.1 * g * g"),)),
        Fault("sum-not-kept", "only the newest square counts: the step is lr times the sign of the gradient",
              edits=(line("v = g * g"),), only_with={"init": ("zeros",)}),
        Fault("sum-of-magnitudes", "the sum is of |g|, not of g*g", edits=(line("v = v + abs(g)"),)),
        Fault("root-missing", "the step is divided by the sum itself: it shrinks far too fast",
              edits=(within("d", v="(v * v)"),)),
        Fault("v-stale", "the step is divided by the sum before its update: the first divides by eps",
              edits=(before("v", "v_old = v"), within("d", v="v_old"), within("s", v="v_old"))),
        Fault("v-of-plain-gradient", "the decayed gradient is divided by the sum of those that came",
              edits=(line("v = v + (g - wd * w) * (g - wd * w)"),), only_with={"decay": ("l2",)}),
        Fault("v-in-bfloat16", "the sum is kept in bfloat16: once it is large, small squares change it no more",
              begin=("v = bfloat16(v)",)),
        rounded_early("v"),
        Fault("starts-from-zero", "the sum starts from zero, though it should start from more: the first steps are too "
              "long", axes={"init": "zeros"}, only_with={"init": ("value",)}),
        Fault("starts-from-one", "the sum starts from one: where gradients are small, steps are wrong for long",
              reports("deeplearning4j/deeplearning4j/issues/953"),
              (line("v = 1 + g * g if t == 1 else ..."),), only_with={"init": ("zeros",)}),
        Fault("start-squared", "the sum starts from the square of the number, as if that were a gradient",
              reads={"start": "(start * start)"}),
        Fault("start-at-every-step", "the number that the sum should start from is added at every step",
              edits=(line("v = v + start + g * g if t > 1 else ..."),), only_with={"init": ("value",)}),
        Fault("rate-does-not-fall", "the learning rate stays, though it should fall",
              reports("eaplatanios/tensorflow_scala/pull/55"),
              axes={"rate": "constant"}, only_with={"rate": ("falling",)}),
        Fault("rate-falls-by-root", "the learning rate falls as one over the root of the steps",
              edits=(line("r = lr / sqrt(1 + (t - 1) * lr_decay)"),), only_with={"rate": ("falling",)}),
        Fault("rate-falls-by-power", "the learning rate falls by a part of itself at each step: it is soon nothing",
              edits=(line("r = lr * (1 - lr_decay) ** (t - 1)"),), only_with={"rate": ("falling",)}),
    ),
)  # fmt: skip
