"""Prodigy: Adam that estimates its own rate d, the distance from the start to a solution, from below.

The gradients' way back to the start, over the length of their sum, is a lower bound of that distance. All parameters of
the model share it, so that a step adds over the model before it moves.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import maximum, sqrt, total


def prodigy(w, g, m, v, s, w0, d, r, *, t, lr, beta1, beta2, eps, d0, d_coef, wd):
    d = d0 if t == 1 else d
    beta3 = sqrt(beta2)
    c = 1
    rate = d * lr * c
    m = beta1 * m + (1 - beta1) * d * g
    v = beta2 * v + (1 - beta2) * d * d * g * g
    share = rate * d / d0
    back = total(g * (w0 - w))
    r = beta3 * r + share * back
    summed = share
    s = beta3 * s + summed * g
    length = total(abs(s))
    d_hat = d_coef * r / length
    d_next = maximum(d, d_hat)
    w = w - rate * m / (sqrt(v) + d * eps)
    d = d_next
    return w, m, v, s, w0, d, r


PRODIGY = Rule(
    name="prodigy",
    title="Prodigy",
    function=prodigy,
    hyper_parameters=(
        lr_of(1.0),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1",), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the second moment; its root is that of the sums",
                       ("b2",), (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division, in units of d", ("epsilon",),
                       (2**-6, 2**-7)),
        HyperParameter("d0", "d₀", 1e-6, "(0, inf)", "first estimate of the distance", ("estim_lr0",), (0.5, 0.25)),
        HyperParameter("d_coef", "κ", 1.0, "(0, inf)", "what new estimates are multiplied by", ("estim_lr_coef",),
                       (128.0, 32.0)),
        WD,
    ),
    slots=(
        Slot("m", "m", "first moment of the gradient times d"),
        Slot("v", "v", "second raw moment of the gradient times d"),
        Slot("s", "s", "weighted sum of gradients"),
        Slot("w0", "w₀", "the parameter before the first step", "params"),
        Slot("d", "d", "estimate of the distance", 0.0, "step"),
        Slot("r", "r", "weighted sum of the ways back to the start", 0.0, "step"),
    ),
    axes=(
        Axis("decay", "how weight decay enters", (
            Choice("none", "no weight decay", "Mishchenko & Defazio 2024, Algorithm 4"),
            Choice("l2", "added to the gradient, as the gradient of wd/2 * |w|**2", "prodigyopt with decouple=False",
                   (before("d", "g = g + wd * w"),)),
            Choice("decoupled", "scaled by d and the learning rate, on the parameter before the step",
                   "prodigyopt, optax", (before("w", "w = w - rate * wd * w"),)),
        )),
        Axis("bias", "whether the rate is corrected for the moments' start at zero", (
            Choice("none", "not corrected", "Mishchenko & Defazio 2024, Algorithm 4"),
            Choice("rate", "on the rate, which weighs the gradients too", "optax; prodigyopt with use_bias_correction",
                   (line("c = sqrt(1 - beta2**t) / (1 - beta1**t)"),)),
        )),
        Axis("summed_by", "what gradients are summed by", (
            Choice("rate", "d and the rate: a warm-up makes early gradients count less",
                   "Mishchenko & Defazio 2024, Algorithm 4"),
            Choice("d", "the square of d, without the learning rate", "safeguard_warmup of prodigyopt and optax",
                   (line("summed = d * d / d0"),)),
        )),
        Axis("eps_d", "which d scales epsilon", (
            Choice("old", "that which the moments were made with", "Mishchenko & Defazio 2024, Algorithm 4"),
            Choice("new", "that which the step has estimated", "prodigyopt, optax",
                   (within("w", d="d_next"),)),
        )),
        Axis("nan", "what a gradient of NaN does to the estimate", (
            Choice("spreads", "d is NaN from there on, and so are all parameters", "optax"),
            Choice("stays", "d stays what it is for ever, and elements without a NaN go on", "prodigyopt",
                   (line("d_next = d_hat if d_hat > d else d"),)),
        )),
        Axis("no_gradient", "what happens while all gradients have been zero", (
            Choice("nan", "0/0 is NaN, and so are d and all parameters from there on", "optax"),
            Choice("waits", "the estimate stays what it is, and nothing moves", "prodigyopt",
                   (line("d_hat = d if length == 0 else ..."), after("length", "rate = 0 if length == 0 else rate"))),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Mishchenko & Defazio 2024, Algorithm 4", {}, {"lr": 1.0}),
        Dialect("prodigyopt", "prodigyopt.Prodigy",
                {"eps_d": "new", "nan": "stays", "no_gradient": "waits"}, {"lr": 1.0}),
        Dialect("optax", "optax.contrib.prodigy", {"bias": "rate", "eps_d": "new"}, {"lr": 1.0}),
    ),
    references=(
        Reference("Mishchenko & Defazio, Prodigy: An Expeditiously Adaptive Parameter-Free Learner (2024)",
                  "Algorithm 4", "https://arxiv.org/abs/2306.06101"),
    ),
    faults=(
        *GRADIENT, *RATE, *(f for f in decay(decoupled=False) if "decay" not in f.only_with), *counter("c"),
        Fault("decay-coupled", "decoupled decay is added to the gradient: it enters the estimate, the root divides it",
              axes={"decay": "l2"}, only_with={"decay": ("decoupled",)}),
        Fault("decay-decoupled", "L2 regularisation is taken out of the gradient: the estimate does not know of it",
              axes={"decay": "decoupled"}, only_with={"decay": ("l2",)}),
        Fault("decay-without-d", "decay is scaled by the learning rate alone, which is 1: weights vanish at once",
              edits=(line("w = w - lr * wd * w"),), only_with={"decay": ("decoupled",)}),
        Fault("bias-missing", "the rate is not corrected: the first steps are three times too short",
              axes={"bias": "none"}, only_with={"bias": ("rate",)}),
        Fault("bias-by-mistake", "the rate is corrected, as Adam's is",
              axes={"bias": "rate"}, only_with={"bias": ("none",)}),
        Fault("bias-not-in-sums", "the rate is corrected where it moves, not where it weighs gradients",
              edits=(line("share = d * lr * d / d0"),), only_with={"bias": ("rate",)}),
        Fault("d-falls", "the newest estimate is used, though it may be below earlier ones",
              edits=(line("d_next = d_hat"),)),
        Fault("d-stands-still", "the estimate is made, and not used: steps stay a millionth of what they could be",
              edits=(line("d_next = d"),)),
        Fault("d-begins-anew", "each step starts from the first estimate", edits=(line("d = d0"),)),
        Fault("d-used-at-once", "the step is made with the estimate that it has led to",
              edits=(within("w", rate="(rate / d * d_next)"),)),
        Fault("d-not-in-m", "the first moment is that of the gradient itself: steps are not scaled by the estimate",
              edits=(line("m = beta1 * m + (1 - beta1) * g"),)),
        Fault("d-once-in-v", "the square is scaled by d, not by its square",
              edits=(line("v = beta2 * v + (1 - beta2) * d * g * g"),)),
        Fault("d-coef-missing", "new estimates are used as they are", reads={"d_coef": "1"}),
        Fault("way-of-a-shard", "each process adds up its own half: the estimate follows how a model is cut",
              edits=(line("back = total(first_half(g * (w0 - w)))"),)),
        Fault("length-of-a-shard", "each process measures its own half of the sum",
              edits=(line("length = total(first_half(abs(s)))"),)),
        Fault("way-from-zero", "the way is measured from zero, not from where training started",
              edits=(line("back = total(g * (0 - w))"),)),
        Fault("way-forward", "the way back has the other sign: the estimate never grows",
              edits=(line("back = total(g * (w - w0))"),)),
        Fault("way-after-step", "the way is that from where the step before started",
              edits=(after("w", "w0 = w"),)),
        Fault("way-of-magnitudes", "products count as positive: the estimate grows wherever it goes",
              edits=(line("back = total(abs(g * (w0 - w)))"),)),
        Fault("length-euclidean", "the sum is measured by its Euclidean norm: the estimate is too large by far",
              edits=(before("length", "n = norm(s)"), line("length = total(n * n)"),
                     after("length", "length = sqrt(length)"))),
        Fault("length-signed", "elements of either sign cancel: the estimate is too large, or negative",
              edits=(line("length = total(s)"),)),
        Fault("length-of-gradient", "the gradient is measured, not the sum of gradients",
              edits=(line("length = total(abs(share * g))"),)),
        Fault("sums-forget-faster", "the sums have the decay of the second moment, not its root",
              edits=(line("beta3 = beta2"),)),
        Fault("sums-forget-nothing", "the sums do not decay: this is D-Adaptation", edits=(line("beta3 = 1"),)),
        Fault("sum-not-divided", "the sum of gradients is not divided by the first estimate, as that of ways is",
              edits=(line("summed = ... * d0"),)),
        Fault("summed-by-d", "the learning rate is left out of the sum of gradients, though not of that of ways",
              axes={"summed_by": "d"}, only_with={"summed_by": ("rate",)}),
        Fault("summed-by-rate", "the learning rate is in the sum of gradients: a warm-up keeps it too small",
              axes={"summed_by": "rate"}, only_with={"summed_by": ("d",)}),
        Fault("eps-of-new-d", "epsilon is scaled by the estimate that the step has made",
              axes={"eps_d": "new"}, only_with={"eps_d": ("old",)}),
        Fault("eps-of-old-d", "epsilon is scaled by the estimate before the step",
              axes={"eps_d": "old"}, only_with={"eps_d": ("new",)}),
        Fault("eps-not-scaled", "epsilon is not scaled by d: while d is small, it is far above the root",
              edits=(line("w = w - rate * m / (sqrt(v) + eps)"),)),
        Fault("eps-times-ten", "epsilon is ten times what was asked for, as 10e-8 is ten times 1e-8",
              reads={"eps": "(10 * eps)"}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: a gradient of zero gives NaN",
              reads={"eps": "(eps * 0)"}),
        Fault("nan-spread", "a NaN in one element makes all parameters NaN",
              axes={"nan": "spreads"}, only_with={"nan": ("stays",)}),
        Fault("nan-contained", "a NaN stops the estimate for ever, and nobody learns that training broke",
              axes={"nan": "stays"}, only_with={"nan": ("spreads",)}),
        Fault("no-gradient-nan", "gradients of zero at the start make everything NaN",
              axes={"no_gradient": "nan"}, only_with={"no_gradient": ("waits",)}),
        Fault("no-gradient-waits", "gradients of zero at the start are passed over",
              axes={"no_gradient": "waits"}, only_with={"no_gradient": ("nan",)}),
        Fault("v-unscaled", "the square enters the second moment without 1 - beta2",
              edits=(line("v = beta2 * v + d * d * g * g"),)),
        Fault("root-missing", "the step is divided by the second moment itself", edits=(within("w", v="(v * v)"),)),
        Fault("betas-swapped", "each moment has the other's beta",
              edits=(within("m", beta1="beta2"), within("v", beta2="beta1"))),
        Fault("start-in-bfloat16", "the start is kept in bfloat16: the way begins with its rounding",
              begin=("w0 = bfloat16(w0)",)),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("v-in-bfloat16", "the second moment is kept in bfloat16", begin=("v = bfloat16(v)",)),
        Fault("sum-in-bfloat16", "the sum of gradients is kept in bfloat16", begin=("s = bfloat16(s)",)),
        rounded_early("m", "v"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and v stays zero",
              reads={"beta2": "bfloat16(beta2)"}),
    ),
)  # fmt: skip
