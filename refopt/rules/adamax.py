"""AdaMax: Adam with the infinity norm of past gradients in place of the root of their second moment.

The paper adds no epsilon: a parameter whose gradients have all been zero is divided by zero, and becomes NaN. Whoever
implements it guards the division, each in a place of its own.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import maximum


def adamax(w, g, m, u, *, t, lr, beta1, beta2):
    m = beta1 * m + (1 - beta1) * g
    u = maximum(beta2 * u, abs(g))
    c1 = 1 - beta1**t
    d = u
    w = w - lr / c1 * (m / d)
    return w, m, u


GUARDED = ("gradient", "norm", "denominator")

ADAMAX = Rule(
    name="adamax",
    title="AdaMax",
    function=adamax,
    hyper_parameters=(
        lr_of(0.002),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the infinity norm", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",), (2**-5, 2**-7)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("u", "u", "infinity norm of past gradients, which fades")),
    axes=(
        decay_axis(l2=before("m", "g = g + wd * w")),
        Axis("power", "what the bias correction takes beta1 to the power of t for", (
            Choice("power", "today's beta1 to the power of t", "Kingma & Ba, Algorithm 2; torch, optax, Keras"),
            Choice("product", "the product of the beta1 of all steps, which differs once beta1 changes",
                   "Paddle's beta1_pow", (before("c1", "p1 = p1 * beta1"), line("c1 = 1 - p1")),
                   slots=(Slot("p1", "π₁", "product of the beta1 so far", 1.0, "step"),)),
        )),
        Axis("bias", "whether the first moment is corrected for its start at zero", (
            Choice("m", "it is; the norm needs no correction", "Kingma & Ba, section 7.1"),
            Choice("none", "it is not: early steps are short", "MLX", (line("c1 = 1"),)),
        )),
        Axis("eps_at", "what epsilon is added to", (
            Choice("none", "nothing: where all gradients have been zero, 0/0 is NaN",
                   "Kingma & Ba, Algorithm 2; MXNet"),
            Choice("gradient", "the size of the gradient, before the maximum is taken: it fades as the norm does",
                   "torch, optax", (line("u = maximum(beta2 * u, abs(g) + eps)"),)),
            Choice("norm", "the norm so far, before the maximum is taken: it adds up over the steps",
                   "Paddle", (line("u = maximum(beta2 * u + eps, abs(g))"),)),
            Choice("denominator", "the norm, where it divides", "Keras, MLX, TensorFlow", (line("d = ... + eps"),)),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Kingma & Ba 2015, Algorithm 2", {}, {"lr": 0.002}),
        Dialect("torch", "torch.optim.Adamax",
                {"decay": "l2", "eps_at": "gradient", "complex": "parts"}, {"eps": 1e-8}),
        Dialect("optax", "optax.adamax", {"eps_at": "gradient", "complex": "modulus"}, {"eps": 1e-8}),
        Dialect("adamaxw", "optax.adamaxw",
                {"decay": "decoupled", "eps_at": "gradient", "complex": "modulus"}, {"eps": 1e-8, "wd": 1e-4}),
        Dialect("keras", "keras.optimizers.Adamax", {"decay": "decoupled", "eps_at": "denominator"},
                {"lr": 0.001, "eps": 1e-7}),
    ),
    references=(
        Reference("Kingma & Ba, Adam: A Method for Stochastic Optimization (2015)", "section 7.1 and Algorithm 2",
                  "https://arxiv.org/abs/1412.6980"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("c1"),
        Fault("bias-missing", "the first moment is not corrected: early steps are ten times too short",
              reports("unslothai/unsloth-zoo/pull/819"), axes={"bias": "none"}, only_with={"bias": ("m",)}),
        Fault("bias-by-mistake", "the first moment is corrected though nobody asked for it: early steps are longer",
              axes={"bias": "m"}, only_with={"bias": ("none",)}),
        Fault("bias-without-power", "1 - beta1 is used at every step in place of 1 - beta1**t: steps stay ten times "
              "too long", edits=(line("c1 = 1 - beta1"),), only_with={"bias": ("m",)}),
        Fault("bias-stops-at-10", "the correction is left out after ten steps, long before beta1**t is small",
              edits=(line("c1 = 1 if t > 10 else ..."),)),
        Fault("bias-kept", "the corrected first moment is kept as the moment: corrections pile up",
              edits=(after("c1", "m = m / c1"), within("w", c1="1")), only_with={"bias": ("m",)}),
        Fault("rate-of-adam", "the rate carries the root of 1 - beta2**t, as Adam's does, though the norm is not "
              "biased: early steps are thirty times too short",
              reports("tensorflow/swift-apis/pull/741"), (line("c1 = ... / sqrt(1 - beta2**t)"),)),
        Fault("norm-corrected", "the norm is divided by 1 - beta2**t as a second moment would be: early steps are a "
              "thousand times too short", edits=(within("d", u="(u / (1 - beta2**t))"),)),
        Fault("norm-averaged", "the norm averages |g| where it should take the largest: it starts near zero",
              edits=(line("u = beta2 * u + (1 - beta2) * abs(g)"),)),
        Fault("norm-never-fades", "the norm is the largest gradient ever: one burst slows a weight down for good",
              edits=(within("u", beta2="1"),)),
        Fault("norm-signed", "negative gradients do not count, as where the absolute value is forgotten",
              edits=(within("u", g="maximum(g, 0)"),)),
        Fault("norm-squared", "the norm is of squares, as Adam's second moment is: small gradients take huge steps",
              edits=(within("u", g="(g * g)"),)),
        Fault("norm-rooted", "the root of the norm divides, as in Adam: steps depend on the gradient's scale",
              edits=(within("d", u="sqrt(u)"),)),
        Fault("norm-of-moment", "the norm is that of the first moment, not of the gradient",
              edits=(within("u", g="m"),)),
        Fault("norm-of-gradient-only", "the norm is of the gradient as it came, the moment of the decayed one",
              edits=(within("u", g="(g - wd * w)"),), only_with={"decay": ("l2",)}),
        Fault("norm-stale", "the step is divided by the norm before its update: the first one by zero",
              edits=(before("u", "u_old = u"), within("d", u="u_old"))),
        Fault("m-stale", "the step is made from the first moment before its update: it comes one step late",
              edits=(before("m", "m_old = m"), within("w", m="m_old"))),
        Fault("m-unscaled", "the gradient enters the first moment without 1 - beta1: steps are ten times too long",
              edits=(line("m = beta1 * m + g"),)),
        Fault("nesterov-by-mistake", "the step looks ahead, as Nadam's does",
              edits=(within("w", m="(beta1 * m + (1 - beta1) * g)"),)),
        Fault("betas-swapped", "each slot has the other's beta: the moment averages for too long, the norm forgets",
              edits=(within("m", beta1="beta2"), within("u", beta2="beta1"))),
        Fault("eps-by-mistake", "the division is guarded by an epsilon that nobody asked for: 1e-8",
              edits=(line("d = ... + 0.00000001"),), only_with={"eps_at": ("none",)}),
        Fault("eps-lost", "there is no epsilon, or as good as none: gradients of zero give NaN",
              reports("mlpack/mlpack/pull/887", "pytorch/pytorch/pull/895"), axes={"eps_at": "none"},
              only_with={"eps_at": GUARDED}),
        Fault("eps-times-ten", "epsilon is ten times what was asked for, as 10e-8 is ten times 1e-8",
              reads={"eps": "(10 * eps)"}),
        Fault("eps-in-denominator", "epsilon is added where the norm divides, not before the maximum is taken",
              reports("PaddlePaddle/Paddle/issues/36712"), axes={"eps_at": "denominator"},
              only_with={"eps_at": ("gradient", "norm")}),
        Fault("eps-on-gradient", "epsilon is added to the gradient before the maximum is taken: it fades",
              reports("PaddlePaddle/Paddle/issues/36712"), axes={"eps_at": "gradient"},
              only_with={"eps_at": ("norm", "denominator")}),
        Fault("eps-on-norm", "epsilon is added to the norm so far: it adds up to a thousand times its size at 0.999",
              reports("PaddlePaddle/Paddle/issues/36712"), axes={"eps_at": "norm"},
              only_with={"eps_at": ("gradient", "denominator")}),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", reports("FluxML/Optimisers.jl/issues/215"),
              begin=("m = bfloat16(m)",)),
        Fault("norm-in-bfloat16", "the norm is kept in bfloat16: at 0.999 it never fades",
              reports("FluxML/Optimisers.jl/issues/215"), begin=("u = bfloat16(u)",)),
        rounded_early("m", "u"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and the norm never fades",
              reports("tenstorrent/tt-metal/issues/55935"), reads={"beta2": "bfloat16(beta2)"}),
        Fault("beta1-in-float32", "1 - beta1 is computed in float32, whatever the dtype of the parameters",
              reads={"beta1": "float32(beta1)"}),
        Fault("product-of-today", "today's beta1 to the power of t, where the product of all was asked for",
              edits=(line("c1 = 1 - beta1**t"),), only_with={"power": ("product",)}),
    ),
)  # fmt: skip
