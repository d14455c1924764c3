"""Adafactor: of the squares of a matrix it keeps the means of rows and columns, whose product stands for all."""

from refopt.rules._faults import GRADIENT, RATE, decay, rounded_early
from refopt.rules._shared import STATE_DTYPE, WD, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, drop, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import column_means, maximum, minimum, ndim, norm, outer, row_means, size, sqrt, vector


def adafactor(w, g, r, c, v, *, t, lr, kappa, eps1, eps2, d):
    rho = minimum(lr, 1 / sqrt(t))
    w_rms = norm(w) / sqrt(size(w))
    scale = maximum(eps2, w_rms)
    alpha = scale * rho
    beta = 1 - t ** (-kappa)
    y = g * g + eps1
    r = beta * r + (1 - beta) * row_means(y, g)
    c = beta * c + (1 - beta) * column_means(y, g)
    v = beta * v + (1 - beta) * vector(y)
    mean = column_means(r, g)
    p = outer(r / mean, c)
    v_hat = p if ndim(g) > 1 else v
    u = g / sqrt(v_hat)
    u_rms = norm(u) / sqrt(size(u))
    excess = u_rms / d
    over = maximum(1, excess)
    u_hat = u / over
    w = w - alpha * u_hat
    return w, r, c, v


ADAFACTOR = Rule(
    name="adafactor",
    title="Adafactor",
    function=adafactor,
    hyper_parameters=(
        lr_of(0.01),
        HyperParameter("kappa", "κ", 0.8, "[0, 1]", "how fast the decay of the second moment approaches 1",
                       ("decay_rate", "-beta2_decay", "-beta_2_decay"), (0.75, 0.5)),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "momentum"), (0.875, 0.75)),
        HyperParameter("eps1", "ε₁", 1e-30, "[0, inf)", "guard of the second moment", ("eps", "epsilon_1"),
                       (2**-6, 2**-7)),
        HyperParameter("eps2", "ε₂", 1e-3, "[0, inf)", "least scale of a parameter", ("epsilon_2",), (2**-3, 2**-1)),
        HyperParameter("d", "d", 1.0, "(0, inf)", "largest root mean square of a step",
                       ("clip_threshold", "clipping_threshold"), (1.0, 1.5)),
        WD,
    ),
    slots=(
        Slot("r", "r", "means of the squares of rows", clock="set", of="rows"),
        Slot("c", "c", "means of the squares of columns", clock="set", of="columns"),
        Slot("v", "v", "second raw moment, of tensors that have no columns", clock="set", of="vectors"),
    ),
    axes=(
        Axis("factored", "of which tensors rows and columns stand for the elements", (
            Choice("matrices", "of those of two or more dimensions, over the last two", "Shazeer & Stern 2018, "
                   "Algorithm 4; torch, Keras"),
            Choice("large", "of those of two or more dimensions of at least 128, over the two largest",
                   "optax.adafactor, whose min_dim_size_to_factor is 128",
                   (line("r = beta * r + (1 - beta) * row_means(y, g, 128)"),
                    line("c = beta * c + (1 - beta) * column_means(y, g, 128)"),
                    line("v = beta * v + (1 - beta) * vector(y, 128)"),
                    line("mean = column_means(r, g, 128)"),
                    line("v_hat = p if second_size(g) >= 128 else v")),
                   (Slot("r", "r", "means of the squares of rows", clock="set", of="rows", least=128),
                    Slot("c", "c", "means of the squares of columns", clock="set", of="columns", least=128),
                    Slot("v", "v", "second raw moment, of small tensors", clock="set", of="vectors", least=128))),
            Choice("no", "of none", "optax.adafactor with factored=False",
                   (line("v = beta * v + (1 - beta) * y"), line("v_hat = v"), *map(drop, ("p", "mean", "r", "c"))),
                   (Slot("v", "v", "second raw moment"),)),
        )),
        Axis("eps_at", "where the first epsilon acts", (
            Choice("squares", "it is added to the squares", "Shazeer & Stern 2018, Algorithm 4; optax, Keras"),
            Choice("estimate", "the mean of the rows' means is at least epsilon, and so is the root of the estimate",
                   "torch.optim.Adafactor",
                   (line("y = g * g"), line("p = outer(r, c) / maximum(eps1, mean)"),
                    line("u = g / maximum(eps1, sqrt(v_hat))"))),
        )),
        Axis("rate", "what the step is scaled by", (
            Choice("relative", "the smaller of lr and one over the root of the step's number",
                   "Shazeer & Stern 2018, Algorithm 6; torch, Keras"),
            Choice("given", "lr", "optax.adafactor; Hugging Face with relative_step=False", (line("rho = lr"),)),
        )),
        Axis("scale", "whether the step is scaled to the parameter", (
            Choice("parameter", "by its root mean square, or eps2 if that is larger",
                   "Shazeer & Stern 2018, Algorithm 4"),
            Choice("no", "it is not", "optax.adafactor with multiply_by_parameter_scale=False", (line("alpha = rho"),)),
        )),
        Axis("clip", "whether the root mean square of the step is bounded", (
            Choice("yes", "by d", "Shazeer & Stern 2018, section 6"),
            Choice("no", "it is not", "optax.adafactor with clipping_threshold=None", (line("u_hat = u"),)),
        )),
        Axis("nan", "what a root mean square that is no number does", (
            Choice("spreads", "it makes the whole tensor NaN", "optax, Keras"),
            Choice("stays", "it counts as small: neither the parameter's nor the step's is used",
                   "torch.optim.Adafactor, by Python's max",
                   (line("scale = w_rms if w_rms > eps2 else eps2"), line("over = excess if excess > 1 else 1"))),
        )),
        Axis("decay", "how weight decay enters", (
            Choice("none", "no weight decay", "Shazeer & Stern 2018"),
            Choice("decoupled", "scaled by lr, on the parameter before the step", "torch.optim.Adafactor",
                   (before("w", "w = w - lr * wd * w"),)),
            Choice("decoupled_first", "scaled by lr, on the parameter before its root mean square is taken", "Keras",
                   (before("w_rms", "w = w - lr * wd * w"),), only_with={"scale": ("parameter",)}),
            Choice("decoupled_alpha", "scaled as the step is, on the parameter before the step",
                   "Hugging Face's Adafactor", (before("w", "w = w - alpha * wd * w"),)),
            Choice("decoupled_no_lr", "not scaled, on the parameter before the step", "optax.adafactor",
                   (before("w", "w = w - wd * w"),)),
        )),
        Axis("momentum", "whether steps are averaged", (
            Choice("none", "they are not", "Shazeer & Stern 2018, Algorithm 4"),
            Choice("ema", "they are, scaled, without correction", "optax.adafactor, Hugging Face with beta1",
                   (before("w", "m = beta1 * m + (1 - beta1) * (alpha * u_hat)"), line("w = w - m")),
                   (Slot("m", "m", "average of the steps"),)),
        )),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "Shazeer & Stern 2018, Algorithms 4, 5 and 6", {}, {"lr": 0.01}),
        Dialect("torch", "torch.optim.Adafactor", {"eps_at": "estimate", "nan": "stays", "decay": "decoupled"},
                {"lr": 0.01, "eps1": 2.0**-23, "eps2": 1e-3, "d": 1.0}),
        Dialect("optax", "optax.adafactor", {"factored": "large", "rate": "given", "decay": "decoupled_no_lr"},
                {"eps1": 1e-30}),
        Dialect("keras", "keras.optimizers.Adafactor", {"decay": "decoupled_first"}, {"lr": 0.001, "eps1": 1e-30}),
    ),
    references=(
        Reference("Shazeer & Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost (2018)",
                  "Algorithm 4 for matrices, 5 for vectors, 6 for the numbers", "https://arxiv.org/abs/1804.04235"),
    ),
    faults=(
        *GRADIENT, *RATE, *(f for f in decay(decoupled=False) if "decay" not in f.only_with),
        Fault("decay-lost", "weights are not decayed, though they should be",
              axes={"decay": "none"},
              only_with={"decay": ("decoupled", "decoupled_first", "decoupled_alpha", "decoupled_no_lr")}),
        Fault("decay-without-lr", "decay is not scaled: with the usual coefficient weights vanish",
              axes={"decay": "decoupled_no_lr"},
              only_with={"decay": ("decoupled", "decoupled_first", "decoupled_alpha")}),
        Fault("decay-with-alpha", "decay is scaled to the parameter: large weights decay faster",
              axes={"decay": "decoupled_alpha"}, only_with={"decay": ("decoupled", "decoupled_first")}),
        Fault("scale-after-decay", "the root mean square is that of the decayed parameter: a slightly smaller step",
              axes={"decay": "decoupled_first"}, only_with={"decay": ("decoupled",)}),
        Fault("scale-before-decay", "the root mean square is that of the parameter before its decay",
              axes={"decay": "decoupled"}, only_with={"decay": ("decoupled_first",)}),
        Fault("rows-ignored", "columns alone are kept: rows of rare features are slowed by frequent ones",
              edits=(line("r = beta * r + (1 - beta) * row_means(column_means(y, g), g)"),),
              only_with={"factored": ("matrices",)}),
        Fault("columns-ignored", "rows alone are kept: columns of rare features are slowed by frequent ones",
              edits=(line("p = outer(r, c * 0 + 1)"),), only_with={"factored": ("matrices",)}),
        Fault("mean-missing", "the product of the means is not divided by their mean: steps depend on the loss's scale",
              edits=(line("p = outer(r, c)"),), only_with={"factored": ("matrices",)}),
        Fault("decay-of-squares-late", "the decay of the second moment is that of the step after: the first gradient "
              "is half forgotten", edits=(line("beta = 1 - (t + 1) ** (-kappa)"),)),
        Fault("decay-of-squares-constant", "the decay of the second moment stays at 0.999: it starts at zero, and is "
              "not corrected", edits=(line("beta = 0.999"),)),
        Fault("eps-lost", "the first epsilon is rounded to zero: a tensor without a gradient is NaN",
              reads={"eps1": "(eps1 * 0)"}),
        Fault("eps-on-the-estimate", "epsilon bounds the estimate, in place of being added to the squares",
              axes={"eps_at": "estimate"}, only_with={"eps_at": ("squares",)}),
        Fault("eps-on-the-squares", "epsilon is added to the squares, in place of bounding the estimate",
              axes={"eps_at": "squares"}, only_with={"eps_at": ("estimate",)}),
        Fault("rate-not-bounded", "the rate stays at lr, though it should fall with the root of the step",
              axes={"rate": "given"}, only_with={"rate": ("relative",)}),
        Fault("rate-bounded", "the rate is at most one over the root of the step, though a schedule was given",
              axes={"rate": "relative"}, only_with={"rate": ("given",)}),
        Fault("scale-lost", "the step is not scaled to the parameter: embeddings and biases move alike",
              axes={"scale": "no"}, only_with={"scale": ("parameter",)}),
        Fault("scale-by-mistake", "the step is scaled to the parameter: with the usual rates nothing moves",
              axes={"scale": "parameter"}, only_with={"scale": ("no",)}),
        Fault("scale-of-norm", "the step is scaled by the norm of the parameter: large tensors take larger steps",
              edits=(line("w_rms = norm(w)"),), only_with={"scale": ("parameter",)}),
        Fault("scale-unbounded", "a tensor of zeros has no scale, so that it never leaves zero",
              edits=(line("scale = w_rms"),), only_with={"scale": ("parameter",)}),
        Fault("clip-lost", "steps are not bounded: a burst moves a tensor far",
              axes={"clip": "no"}, only_with={"clip": ("yes",)}),
        Fault("clip-by-mistake", "steps are bounded, though nobody asked for it",
              axes={"clip": "yes"}, only_with={"clip": ("no",)}),
        Fault("clip-of-norm", "the norm of the step is bounded, not its root mean square: large tensors hardly move",
              edits=(line("u_rms = norm(u)"),), only_with={"clip": ("yes",)}),
        Fault("clip-always", "every step has the root mean square d: small steps are enlarged",
              edits=(line("over = excess"),), only_with={"clip": ("yes",)}),
        Fault("norms-of-a-shard", "each process measures its own half: the step follows how a model is cut",
              edits=(within("w_rms", w="first_half(w)"), within("u_rms", u="first_half(u)"))),
        Fault("nan-contained", "a root mean square that is no number counts as small: other elements go on",
              axes={"nan": "stays"}, only_with={"nan": ("spreads",)}),
        Fault("nan-spread", "a NaN in one element makes the whole tensor NaN",
              axes={"nan": "spreads"}, only_with={"nan": ("stays",)}),
        Fault("momentum-lost", "steps are not averaged, though they should be",
              axes={"momentum": "none"}, only_with={"momentum": ("ema",)}),
        Fault("rows-in-bfloat16", "the means of rows are kept in bfloat16", begin=("r = bfloat16(r)",),
              only_with={"factored": ("matrices",)}),
        Fault("moment-in-bfloat16", "the second moment of vectors is kept in bfloat16", begin=("v = bfloat16(v)",)),
        rounded_early("r", "c", "v"),
    ),
)  # fmt: skip
