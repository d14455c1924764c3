"""LARS: layer-wise adaptive rate scaling. The learning rate of each tensor follows |w| / |g|."""

from refopt.rules._faults import GRADIENT, RATE, decay, reports, velocity
from refopt.rules._shared import STATE_DTYPE, WD, lr_of, mu_of, nesterov_axis
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, drop, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import norm


def lars(w, g, u, *, t, lr, mu, wd, tc):
    p = g + wd * w
    w_norm = norm(w)
    g_norm = norm(g)
    d = g_norm + wd * w_norm
    ratio = tc * w_norm / d
    trust = 1 if w_norm == 0 or g_norm == 0 else ratio
    h = lr * trust * p
    u = mu * u + h
    w = w - u
    return w, u


LARS = Rule(
    name="lars",
    title="LARS, layer-wise adaptive rate scaling",
    function=lars,
    hyper_parameters=(
        lr_of(0.1),
        mu_of(0.9),
        WD,
        HyperParameter("tc", "τ", 0.001, "[0, inf)", "trust coefficient", ("trust_coefficient", "trust_coeff"),
                       (0.5, 0.25, 2**-6)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the trust ratio's division", ("epsilon",),
                       (2**-5, 2**-4)),
    ),
    slots=(Slot("u", "u", "velocity"),),
    axes=(
        Axis("denominator", "what the norm of the parameter is compared with", (
            Choice("split", "the norm of the gradient plus that of the decay",
                   "You et al. 2017, equation (6); objax"),
            Choice("joint", "the norm of the decayed gradient", "optax",
                   (line("g_norm = norm(p)"), line("d = g_norm"))),
        )),
        Axis("eps_at", "whether the division is guarded", (
            Choice("none", "the division is not guarded", "You et al. 2017, Algorithm 1"),
            Choice("denominator", "epsilon is added to the denominator", "objax, optax", (line("d = ... + eps"),)),
        )),
        Axis("clip", "whether the rate of a tensor may exceed the learning rate", (
            Choice("no", "the trust ratio is used as it is", "You et al. 2017"),
            Choice("min", "the trust ratio is cut at the learning rate", "apex.LARC with clip",
                   (line("ratio = minimum(... / lr, 1)"),)),
        )),
        Axis("zero_norm", "what happens when a norm is zero", (
            Choice("one", "the trust is 1", "optax"),
            Choice("max", "the trust is the ratio, but at least 1", "objax",
                   (line("trust = maximum(1, ratio) if w_norm == 0 or g_norm == 0 else ratio"),)),
            Choice("raw_no_decay", "the trust is 1, and the gradient is not decayed", "apex.LARC",
                   (after("trust", "p = g + (0 if w_norm == 0 or g_norm == 0 else wd) * w"),),
                   only_with={"trust_of": ("gradient",)}),
            Choice("denominator_only", "the trust is 1 only where the denominator is zero", "",
                   (line("trust = 1 if d == 0 else ratio"),)),
        )),
        Axis("when", "which tensors are scaled", (
            Choice("always", "every tensor", "You et al. 2017"),
            Choice("decay", "every tensor, if there is weight decay", "timm's Lars",
                   (line("trust = 1 if wd == 0 else ..."),)),
            Choice("matrices", "tensors of two or more dimensions", "the usual exclusion of biases and norms",
                   (line("trust = 1 if ndim(w) < 2 else ..."),)),
        )),
        Axis("trust_of", "whose norm the trust ratio is made from", (
            Choice("gradient", "the norm of the gradient", "You et al. 2017, Algorithm 1"),
            Choice("velocity", "the norm of the velocity, which is scaled as a whole", "",
                   (drop("h"), drop("u"), before("w_norm", "h = lr * p", "u = mu * u + h"),
                    within("g_norm", g="u", p="u"), line("w = w - trust * u"))),
        )),
        Axis("lr_at", "where the learning rate acts", (
            Choice("inside", "on the gradient: each gradient keeps the rate of its day",
                   "You et al. 2017, Algorithm 1"),
            Choice("outside", "on the velocity: a new rate acts on all past gradients at once",
                   "apex.LARC over torch SGD",
                   (within("h", lr="1"), within("w", u="lr * u"))),
        )),
        nesterov_axis("h"),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "You, Gitman & Ginsburg 2017, Algorithm 1", {}, {"wd": 5e-4}),
        Dialect("objax", "objax.optimizer.LARS, the code", {"eps_at": "denominator", "zero_norm": "max"},
                {"wd": 1e-4, "eps": 1e-5}),
        Dialect("optax", "optax.lars", {"denominator": "joint", "eps_at": "denominator"}, {"eps": 0.0}),
    ),
    references=(
        Reference("You, Gitman & Ginsburg, Large Batch Training of Convolutional Networks (2017)",
                  "equation (6) and Algorithm 1", "https://arxiv.org/abs/1708.03888"),
    ),
    faults=(
        *GRADIENT, *RATE, *(f for f in decay(decoupled=False) if "decay" not in f.only_with),
        *(f for f in velocity() if "first_step" not in f.axes),
        Fault("norms-of-a-shard", "each process takes the norms of its own half: the trust follows how a model is cut",
              reports("radixark/miles_diffusion/pull/35", "facebookresearch/fairscale/issues/696"),
              (line("w_norm = norm(first_half(w))"),
               within("g_norm", g="first_half(g)", p="first_half(p)", u="first_half(u)"))),
        Fault("parameter-norm-of-a-shard", "the norm of the parameter is that of a half, the other is whole",
              edits=(line("w_norm = norm(first_half(w))"),)),
        Fault("norms-squared", "squares are not rooted: the trust is the square of what it should be",
              edits=(line("w_norm = ... * norm(w)"), line("g_norm = (...)**2"))),
        Fault("norm-of-decayed-gradient", "the decayed gradient is measured, and the decay counted twice",
              edits=(line("g_norm = norm(p)"),), only_with={"trust_of": ("gradient",), "denominator": ("split",)}),
        Fault("norm-of-gradient", "the bare gradient is measured, where the decayed one was asked for",
              edits=(line("g_norm = norm(g)"),), only_with={"trust_of": ("gradient",), "denominator": ("joint",)}),
        Fault("norm-rounded", "the norm of the parameter is rounded to bfloat16",
              edits=(line("w_norm = bfloat16(norm(w))"),)),
        Fault("trust-inverted", "the trust grows with the gradient: large gradients take larger steps",
              edits=(line("ratio = tc * d / w_norm"),)),
        Fault("trust-missing", "every tensor moves at the learning rate", edits=(line("trust = 1"),)),
        Fault("coefficient-missing", "the trust coefficient is taken for 1: a thousand times too fast",
              reads={"tc": "(tc / tc)"}),
        Fault("decay-not-in-norm", "the denominator is the gradient's norm alone",
              edits=(line("d = g_norm"),), only_with={"denominator": ("split",), "eps_at": ("none",)}),
        Fault("eps-times-ratio", "epsilon is added to the ratio, not to its denominator",
              edits=(line("ratio = ... + eps"),), axes={"eps_at": "none"}, only_with={"eps_at": ("denominator",)}),
        Fault("eps-lost", "the denominator has no epsilon",
              axes={"eps_at": "none"}, only_with={"eps_at": ("denominator",)}),
        Fault("eps-by-mistake", "the denominator has an epsilon that nobody asked for: 1e-5",
              edits=(line("d = ... + 0.00001"),)),
        Fault("zero-norm-frozen", "a tensor of zeros has no trust, so that it never leaves zero",
              edits=(line("trust = 0 if w_norm == 0 or g_norm == 0 else ratio"),)),
        Fault("zero-norm-unguarded", "the ratio is used as it is: a tensor of zeros stays there, 0/0 is NaN",
              edits=(line("trust = ratio"),)),
    ),
)  # fmt: skip
