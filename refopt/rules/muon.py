"""Muon: momentum, orthogonalized by Newton and Schulz's iteration, so that every direction of a matrix moves alike.

Implementations use it for matrices alone, and Adam for all else; tensors of more dimensions are matrices of the first
by all others, and here a vector is one column. Most iterate in bfloat16, whose rounding the iteration multiplies by up
to 485: what they compute are a few correct digits of the rule below.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, rounded_early
from refopt.rules._shared import STATE_DTYPE, WD, decay_axis, lr_of, mu_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import newton_schulz, norm


def muon(w, g, u, *, lr, mu, eps):
    h = g
    u = mu * u + h
    a = u
    a_norm = norm(a)
    d = a_norm + eps
    x = a / d
    o = newton_schulz(x)
    w = w - lr * o
    return w, u


MUON = Rule(
    name="muon",
    title="Muon, momentum orthogonalized by Newton-Schulz",
    function=muon,
    hyper_parameters=(
        lr_of(0.02),
        mu_of(0.95, aliases=("beta",)),
        HyperParameter("eps", "ε", 1e-7, "[0, inf)", "guard of the division by the norm", (), (2**-6, 2**-7)),
        HyperParameter("rms", "ρ", 0.2, "[0, inf)", "root mean square of the steps of a matrix",
                       ("rms_rate", "consistent_rms"), (0.25, 0.5)),
        WD,
    ),
    slots=(Slot("u", "u", "velocity"),),
    axes=(
        decay_axis(l2=before("h", "g = g + wd * w"), without=("decoupled_after", "decoupled_no_lr_after")),
        Axis("buffer", "what the velocity accumulates", (
            Choice("sum", "the gradient as it is", "Jordan 2024, Algorithm 2; Keras"),
            Choice("ema", "the gradient scaled by 1 - mu: the velocity is an average, beside which epsilon is larger",
                   "Jordan's code since 2025, torch, optax", (line("h = (1 - mu) * g"),)),
        )),
        Axis("nesterov", "whether the step looks ahead along the new velocity", (
            Choice("no", "heavy ball: what is orthogonalized is the velocity", "Jordan 2024, Algorithm 2"),
            Choice("yes", "mu times the velocity, and the gradient as it enters that",
                   "Jordan's code, torch, optax, Keras", (line("a = mu * u + h"),)),
        )),
        Axis("bias", "whether the velocity is corrected for its start at zero", (
            Choice("none", "it is not", "Jordan 2024, Algorithm 2; torch, Keras"),
            Choice("standard", "by 1 - mu**t, which matters beside epsilon alone", "optax.contrib.muon, nesterov=False",
                   (before("a_norm", "c1 = 1 - mu**t", "a = a / c1"),), only_with={"buffer": ("ema",)}),
            Choice("ahead", "as that of the next step; the gradient as that of this one", "optax.contrib.muon",
                   (before("a", "c1 = 1 - mu**t", "c2 = 1 - mu ** (t + 1)"), within("a", u="(u / c2)", h="(h / c1)")),
                   only_with={"buffer": ("ema",), "nesterov": ("yes",)}),
        )),
        Axis("eps_at", "where epsilon acts", (
            Choice("sum", "it is added to the norm", "Jordan's code, optax"),
            Choice("max", "the norm is at least epsilon", "torch.optim.Muon", (line("d = maximum(a_norm, eps)"),)),
            Choice("constant", "1e-7 is added to the norm, whatever epsilon is", "Keras, whose epsilon is Adam's",
                   (line("d = a_norm + 0.0000001"),)),
        )),
        Axis("coefficients", "those of the iteration's five steps", (
            Choice("jordan", "3.4445, -4.7750, 2.0315 in each: the largest slope at zero", "Jordan 2024; torch, Keras"),
            Choice("dion", "others in each, made for what the step before leaves",
                   "optax.contrib.muon with ns_coeffs='dion'; microsoft/dion",
                   (line("o = newton_schulz_dion(x)"),)),
        )),
        Axis("shape_factor", "what the rate is multiplied by, for the shape of the matrix", (
            Choice("none", "nothing", "Jordan 2024, Algorithm 2"),
            Choice("tall", "the root of rows over columns, if that is above 1", "Jordan's code, torch.optim.Muon",
                   (before("w", "scale = sqrt(maximum(1, rows(g) / columns(g)))"), within("w", lr="(lr * scale)"))),
            Choice("wide", "the root of columns over rows, if that is above 1: the matrix stands at the right",
                   "optax.contrib.muon",
                   (before("w", "scale = sqrt(maximum(1, columns(g) / rows(g)))"), within("w", lr="(lr * scale)"))),
            Choice("rms", "rho times the root of the larger of the two: elements move as Adam's do",
                   "Liu et al. 2025, section 2.2; Keras, torch with adjust_lr_fn='match_rms_adamw'",
                   (before("w", "scale = rms * sqrt(maximum(rows(g), columns(g)))"),
                    within("w", lr="(lr * scale)"))),
        )),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "Jordan 2024, Algorithm 2", {}, {"lr": 0.02, "mu": 0.95}),
        Dialect("jordan", "KellerJordan/Muon, which iterates in bfloat16",
                {"decay": "decoupled", "buffer": "ema", "nesterov": "yes", "shape_factor": "tall"},
                {"lr": 0.02, "mu": 0.95, "eps": 1e-7}),
        Dialect("torch", "torch.optim.Muon, which iterates in bfloat16",
                {"decay": "decoupled", "buffer": "ema", "nesterov": "yes", "eps_at": "max", "shape_factor": "tall"},
                {"lr": 0.001, "mu": 0.95, "eps": 1e-7, "wd": 0.1}),
        Dialect("optax", "optax.contrib.muon, of matrices",
                {"decay": "decoupled", "buffer": "ema", "nesterov": "yes", "bias": "ahead", "shape_factor": "wide"},
                {"mu": 0.95, "eps": 1e-8}),
        Dialect("keras", "keras.optimizers.Muon, of matrices",
                {"decay": "decoupled", "nesterov": "yes", "eps_at": "constant", "shape_factor": "rms"},
                {"lr": 0.001, "mu": 0.95, "rms": 0.2, "wd": 0.004}),
    ),
    references=(
        Reference("Jordan, Muon: An optimizer for hidden layers in neural networks (2024)",
                  "Algorithm 2, and the iteration below it", "https://kellerjordan.github.io/posts/muon/"),
        Reference("Liu et al., Muon is Scalable for LLM Training (2025)",
                  "section 2.2, for decay and the size of steps", "https://arxiv.org/abs/2502.16982"),
    ),
    faults=(
        *GRADIENT, *RATE, *(f for f in decay() if f.name != "decay-late"), *counter("c1", "c2"),
        Fault("decay-late", "the weight is decayed after the step: the step is decayed too", axes={"decay": "none"},
              edits=(after("w", "w = w - lr * wd * w"),), only_with={"decay": ("decoupled",)}),
        Fault("decay-scaled-by-shape", "the factor of the shape scales the decay too: tall matrices decay faster",
              axes={"decay": "none"}, edits=(before("w", "w = w - lr * scale * wd * w"),),
              only_with={"decay": ("decoupled",), "shape_factor": ("tall", "wide", "rms")}),
        Fault("orthogonalized-before-momentum", "gradients are orthogonalized, and then averaged: steps are no longer "
              "orthogonal, and noise counts as much as signal",
              edits=(before("h", "g = newton_schulz(g / (norm(g) + 0.0000001))"), line("o = a"))),
        Fault("not-orthogonalized", "the step is the velocity divided by its norm: one direction takes all of it",
              edits=(line("o = x"),)),
        Fault("cubic", "the coefficients are those of the cubic iteration: after five steps small singular values are "
              "still small", edits=(line("o = newton_schulz_cubic(x)"),)),
        Fault("four-steps", "the iteration ends a step early: small singular values are a third of what they should be",
              edits=(line("o = newton_schulz_of_four(x)"),), only_with={"coefficients": ("jordan",)}),
        Fault("coefficients-of-dion", "the coefficients differ from step to step, though they should not",
              axes={"coefficients": "dion"}, only_with={"coefficients": ("jordan",)}),
        Fault("coefficients-of-jordan", "the coefficients are the same in all steps, though they should not be",
              axes={"coefficients": "jordan"}, only_with={"coefficients": ("dion",)}),
        Fault("not-turned-back", "a tall matrix is transposed, and its step is not transposed back: elements get each "
              "other's", edits=(line("o = newton_schulz_unturned(x)"),), only_with={"coefficients": ("jordan",)}),
        Fault("flattened-at-the-end", "of more than two dimensions the last stands for the columns, not the first for "
              "the rows: a convolution's positions are taken for outputs",
              edits=(line("o = newton_schulz_by_last(x)"),), only_with={"coefficients": ("jordan",)}),
        Fault("iterated-in-bfloat16", "the iteration rounds to bfloat16, and multiplies that by up to 485: small "
              "singular values are noise",
              edits=(line("o = newton_schulz_in_bfloat16(x)"),), only_with={"coefficients": ("jordan",)}),
        Fault("norm-missing", "the iteration starts from the velocity as it is: of a norm above 1 it explodes, and "
              "small ones hardly grow", edits=(line("x = a"),)),
        Fault("norm-squared", "the velocity is divided by the sum of its squares: its size is inverted",
              edits=(line("d = a_norm * a_norm + eps"),), only_with={"eps_at": ("sum",)}),
        Fault("norm-of-the-gradient", "the velocity is divided by the norm of the gradient: where gradients agree, its "
              "norm is above 1", edits=(line("a_norm = norm(h)"),)),
        Fault("norm-of-a-shard", "each process divides by the norm of its own half: the step follows how a model is "
              "cut", edits=(within("a_norm", a="first_half(a)"),)),
        Fault("eps-lost", "epsilon is rounded to zero: a tensor without a gradient is NaN",
              reads={"eps": "(eps * 0)"}),
        Fault("eps-times-ten", "epsilon is ten times what was asked for", reads={"eps": "(10 * eps)"}),
        Fault("eps-constant", "epsilon is 1e-7, whatever was asked for",
              axes={"eps_at": "constant"}, only_with={"eps_at": ("sum", "max")}),
        Fault("eps-of-another", "the constant is 1e-8, as optax's: small gradients take longer steps",
              edits=(line("d = a_norm + 0.00000001"),), only_with={"eps_at": ("constant",)}),
        Fault("eps-at-most", "epsilon bounds the norm, in place of being added to it",
              axes={"eps_at": "max"}, only_with={"eps_at": ("sum",)}),
        Fault("eps-added", "epsilon is added to the norm, in place of bounding it",
              axes={"eps_at": "sum"}, only_with={"eps_at": ("max",)}),
        Fault("shape-inverted", "wide matrices take the longer steps, in place of tall ones",
              axes={"shape_factor": "wide"}, only_with={"shape_factor": ("tall",)}),
        Fault("shape-not-inverted", "tall matrices take the longer steps, in place of wide ones",
              axes={"shape_factor": "tall"}, only_with={"shape_factor": ("wide",)}),
        Fault("shape-lost", "the rate does not follow the shape", axes={"shape_factor": "none"},
              only_with={"shape_factor": ("tall", "wide", "rms")}),
        Fault("shape-by-mistake", "the rate follows the shape, though it should not",
              axes={"shape_factor": "tall"}, only_with={"shape_factor": ("none",)}),
        Fault("shape-not-rooted", "the factor of the shape is not rooted",
              edits=(after("scale", "scale = scale * scale"),), only_with={"shape_factor": ("tall", "wide")}),
        Fault("shape-not-bounded", "the factor of the shape may be below 1: wide matrices hardly move",
              edits=(line("scale = sqrt(rows(g) / columns(g))"),), only_with={"shape_factor": ("tall",)}),
        Fault("rms-of-the-smaller", "the smaller dimension is taken: long matrices take short steps",
              edits=(line("scale = rms * sqrt(minimum(rows(g), columns(g)))"),), only_with={"shape_factor": ("rms",)}),
        Fault("buffer-averaged", "the gradient is scaled by 1 - mu: beside epsilon the velocity is too small",
              axes={"buffer": "ema"}, only_with={"buffer": ("sum",)}),
        Fault("buffer-summed", "the gradient is not scaled by 1 - mu: after a change of mu it has another weight",
              axes={"buffer": "sum", "bias": "none"}, only_with={"buffer": ("ema",)}),
        Fault("buffer-reset", "there is no momentum: each step is that of its gradient",
              edits=(line("u = h"),)),
        Fault("nesterov-by-mistake", "the step looks ahead, though heavy ball was asked for",
              axes={"nesterov": "yes"}, only_with={"nesterov": ("no",)}),
        Fault("nesterov-lost", "heavy ball, though Nesterov was asked for",
              axes={"nesterov": "no"}, only_with={"nesterov": ("yes",), "bias": ("none", "standard")}),
        Fault("nesterov-unscaled", "the gradient of the look-ahead is not scaled by 1 - mu, though the velocity is",
              edits=(line("a = mu * u + g"),), only_with={"nesterov": ("yes",), "buffer": ("ema",), "bias": ("none",)}),
        Fault("velocity-stale", "the step is made from the velocity before its update: it comes one step late",
              edits=(before("u", "u_old = u"), within("a", u="u_old"))),
        Fault("velocity-orthogonalized", "what has been orthogonalized is kept as the velocity",
              edits=(after("o", "u = o"),)),
        Fault("bias-missing", "nothing is corrected for its start at zero",
              axes={"bias": "none"}, only_with={"bias": ("standard", "ahead")}),
        Fault("bias-by-mistake", "the velocity is corrected, though it should not be",
              axes={"bias": "standard"}, only_with={"bias": ("none",), "buffer": ("ema",)}),
        Fault("bias-not-ahead", "velocity and gradient are corrected alike: the first gradient counts too much",
              axes={"bias": "standard"}, only_with={"bias": ("ahead",)}),
        Fault("momentum-rounded", "the momentum is rounded to bfloat16: 0.95 becomes 0.9492",
              reads={"mu": "bfloat16(mu)"}),
        Fault("velocity-in-bfloat16", "the velocity is kept in bfloat16", begin=("u = bfloat16(u)",)),
        rounded_early("u"),
    ),
)  # fmt: skip
