"""LAMB: layer-wise adaptive moments. Adam's direction and the decay, scaled to the norm of the parameter."""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import norm, sqrt


def lamb(w, g, m, v, *, t, lr, beta1, beta2, eps, wd):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    c1 = 1 - beta1**t
    c2 = 1 - beta2**t
    m_hat = m / c1
    v_hat = v / c2
    r = m_hat / (sqrt(v_hat) + eps)
    u = r + wd * w
    w_norm = norm(w)
    u_norm = norm(u)
    d = u_norm
    ratio = w_norm / d
    trust = 1 if w_norm == 0 or u_norm == 0 else ratio
    w = w - lr * trust * u
    return w, m, v


LAMB = Rule(
    name="lamb",
    title="LAMB, layer-wise adaptive moments",
    function=lamb,
    hyper_parameters=(
        lr_of(0.001),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the second moment", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-6, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-8, 2**-6)),
        HyperParameter("max_norm", "c", 1.0, "(0, inf)", "largest norm of the gradient of the model",
                       ("max_grad_norm",), (1.0, 0.5)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("v", "v", "second raw moment")),
    axes=(
        Axis("grad_clip", "whether the gradient of the whole model is clipped before all else", (
            Choice("no", "the gradient is used as it is", "You et al. 2020, Algorithm 2"),
            Choice("max", "divided by its norm over max_norm, if that is above 1",
                   "apex.optimizers.FusedLAMB, timm's Lamb",
                   (before("m", "n = norm(g)", "n_squares = total(n * n)", "n_all = sqrt(n_squares)",
                           "g = g / maximum(1, n_all / max_norm)"),),
                   cancels=True),
            Choice("min", "times max_norm over its norm, to which epsilon is added, if that is below 1",
                   "kozistr/pytorch_optimizer's Lamb with pre_norm",
                   (before("m", "n = norm(g)", "n_squares = total(n * n)", "n_all = sqrt(n_squares)",
                           "g = g * minimum(1, max_norm / (n_all + eps))"),),
                   cancels=True),
        )),
        Axis("decay", "how weight decay enters", (
            Choice("inside", "added to Adam's direction, and measured with it", "You et al. 2020, Algorithm 2"),
            Choice("l2", "added to the gradient, as the gradient of wd/2 * |w|**2",
                   "apex.optimizers.FusedLAMB with adam_w_mode=False",
                   (before("m", "g = g + wd * w"), line("u = r"))),
            Choice("decoupled", "scaled by lr, on the parameter before it is measured and stepped",
                   "Keras; timm's Lamb with decoupled_decay",
                   (line("u = r"), before("w_norm", "w = w - lr * wd * w"))),
        )),
        Axis("bias", "whether the moments are corrected for their start at zero", (
            Choice("both", "both moments", "You et al. 2020, Algorithm 2"),
            Choice("none", "neither moment", "arXiv version 3; cybertronai/pytorch-lamb",
                   (line("c1 = 1"), line("c2 = 1"))),
            Choice("rate", "both, on the learning rate: the direction is measured, and decay added to it, uncorrected",
                   "torch_optimizer.Lamb with debias",
                   (line("m_hat = m"), line("v_hat = v"), within("w", lr="(lr * sqrt(c2) / c1)"))),
        )),
        Axis("grad_averaging", "whether the first moment is an average", (
            Choice("yes", "the gradient is scaled by 1 - beta1", "You et al. 2020, Algorithm 2"),
            Choice("no", "the gradient enters the first moment unscaled",
                   "apex.optimizers.FusedLAMB and timm's Lamb with grad_averaging=False",
                   (line("m = beta1 * m + g"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside_hat", "added to the root of the second moment", "You et al. 2020, Algorithm 2"),
            Choice("both", "eps_root inside the root of the second moment, eps outside", "optax with eps_root",
                   (line("r = m_hat / (sqrt(v_hat + eps_root) + eps)"),)),
        )),
        Axis("clamp", "their phi: what of the norm of the parameter is used", (
            Choice("no", "the norm as it is", "You et al. 2020, section 4, phi(z) = z"),
            Choice("ten", "the norm, but at most 10", "cybertronai/pytorch-lamb, torch_optimizer.Lamb",
                   (line("w_norm = minimum(..., 10)"),)),
        )),
        Axis("ratio_eps", "whether the division of the norms is guarded", (
            Choice("no", "the division is not guarded", "You et al. 2020, Algorithm 2"),
            Choice("yes", "epsilon is added to the norm of the direction", "kozistr/pytorch_optimizer's Lamb",
                   (line("d = ... + eps"),)),
        )),
        Axis("clip", "whether a tensor may move faster than the learning rate", (
            Choice("no", "the trust ratio is used as it is", "You et al. 2020, Algorithm 2"),
            Choice("one", "the trust ratio is at most 1", "LAMBC: timm's Lamb with trust_clip",
                   (line("ratio = minimum(..., 1)"),)),
        )),
        Axis("zero_norm", "what happens when a norm is zero, or NaN", (
            Choice("one", "the trust is 1 if one is zero; a NaN spreads over its tensor", "optax, apex"),
            Choice("positive", "the trust is 1 unless both are above zero: a NaN stays where it is",
                   "Keras, timm's Lamb", (line("trust = ratio if w_norm > 0 and u_norm > 0 else 1"),)),
        )),
        Axis("when", "which tensors are scaled", (
            Choice("always", "every tensor", "You et al. 2020; apex with use_nvlamb, timm with always_adapt"),
            Choice("decay", "every tensor, if there is weight decay", "apex.optimizers.FusedLAMB, timm's Lamb",
                   (line("trust = 1 if wd == 0 else ..."),)),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "You et al. 2020, Algorithm 2", {}, {"wd": 0.01, "eps": 1e-6}),
        Dialect("cybertronai", "pytorch_lamb.Lamb, torch_optimizer.Lamb", {"bias": "none", "clamp": "ten"},
                {"eps": 1e-6}),
        Dialect("apex", "apex.optimizers.FusedLAMB", {"grad_clip": "max", "when": "decay"},
                {"wd": 0.01, "eps": 1e-6}),
        Dialect("timm", "timm.optim.Lamb", {"grad_clip": "max", "zero_norm": "positive", "when": "decay"},
                {"eps": 1e-6}),
        Dialect("optax", "optax.lamb", {"complex": "modulus"}, {"eps": 1e-6}),
        Dialect("keras", "keras.optimizers.Lamb", {"decay": "decoupled", "zero_norm": "positive"},
                {"eps": 1e-7}),
    ),
    references=(
        Reference("You et al., Large Batch Optimization for Deep Learning: Training BERT in 76 Minutes (2020)",
                  "Algorithm 2; section 4 for phi", "https://arxiv.org/abs/1904.00962"),
    ),
    faults=(
        *GRADIENT, *RATE, *(f for f in decay(decoupled=False) if "decay" not in f.only_with), *counter("c1", "c2"),
        Fault("gradient-clip-lost", "the gradient of the model is not clipped, though it should be",
              axes={"grad_clip": "no"}, only_with={"grad_clip": ("max", "min")}),
        Fault("gradient-clip-by-mistake", "the gradient of the model is clipped at a norm of 1, as apex clips it",
              axes={"grad_clip": "max"}, only_with={"grad_clip": ("no",)}),
        Fault("gradient-clip-guarded", "epsilon is added to the norm of the model: steps are a little shorter",
              axes={"grad_clip": "min"}, only_with={"grad_clip": ("max",)}),
        Fault("gradient-clip-unguarded", "no epsilon is added to the norm of the model",
              axes={"grad_clip": "max"}, only_with={"grad_clip": ("min",)}),
        Fault("gradient-clip-per-tensor", "each tensor is clipped by its own norm: the direction of the model changes",
              edits=(line("n_squares = n * n"),), only_with={"grad_clip": ("max", "min")}),
        Fault("gradient-clip-of-squares", "the sum of squares is not rooted before it is compared",
              edits=(line("n_all = n_squares"),), only_with={"grad_clip": ("max", "min")}),
        Fault("decay-in-gradient", "the decay is added to the gradient: the moments average it, the root divides it",
              reports("cybertronai/pytorch-lamb/issues/3"), axes={"decay": "l2"}, only_with={"decay": ("inside",)}),
        Fault("decay-decoupled", "the decay is not scaled by the trust: large weights hardly decay",
              axes={"decay": "decoupled"}, only_with={"decay": ("inside", "l2")}),
        Fault("decay-scaled", "the decay is added to the direction, so that the trust scales it too",
              axes={"decay": "inside"}, only_with={"decay": ("l2", "decoupled")}),
        Fault("decay-not-in-norm", "the direction is measured before the decay is added to it",
              edits=(within("u_norm", u="r"),), only_with={"decay": ("inside",)}),
        Fault("bias-missing-m", "the first moment is not corrected: beside the decay it is too small at first",
              edits=(line("c1 = 1"),)),
        Fault("bias-missing-v", "the second moment is not corrected: beside the decay the direction is too large",
              edits=(line("c2 = 1"),)),
        Fault("bias-missing", "neither moment is corrected",
              axes={"bias": "none"}, only_with={"bias": ("both", "rate")}),
        Fault("bias-on-rate", "the learning rate is corrected, not the moments: the trust divides by a norm without it",
              reports("jettify/pytorch-optimizer/issues/443"), axes={"bias": "rate"}, only_with={"bias": ("both",)}),
        Fault("bias-in-vain", "the moments are corrected, where the rate should be: the trust takes the correction out",
              axes={"bias": "both"}, only_with={"bias": ("rate",)}),
        Fault("bias-by-mistake", "the moments are corrected, as Adam's are",
              axes={"bias": "both"}, only_with={"bias": ("none",)}),
        Fault("bias-without-power", "1 - beta is used at every step in place of 1 - beta**t",
              edits=(line("c1 = 1 - beta1"), line("c2 = 1 - beta2"))),
        Fault("bias-kept", "the corrected first moment is kept as the moment: corrections pile up",
              edits=(after("m_hat", "m = m_hat"),), only_with={"bias": ("both",)}),
        Fault("averaging-lost", "the gradient enters the first moment without 1 - beta1",
              axes={"grad_averaging": "no"}, only_with={"grad_averaging": ("yes",)}),
        Fault("averaging-by-mistake", "the gradient is scaled by 1 - beta1, which was to be left out",
              axes={"grad_averaging": "yes"}, only_with={"grad_averaging": ("no",)}),
        Fault("v-unscaled", "the square enters the second moment without 1 - beta2",
              edits=(line("v = beta2 * v + g * g"),)),
        Fault("betas-swapped", "each moment has the other's beta: m averages for too long, v forgets",
              edits=(within("m", beta1="beta2"), within("v", beta2="beta1"))),
        Fault("root-missing", "the direction is the moment divided by the second moment itself",
              edits=(within("r", v_hat="(v_hat * v_hat)"),)),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its square root",
              edits=(line("r = m_hat / sqrt(v_hat + eps)"),)),
        Fault("eps-times-ten", "epsilon is ten times what was asked for, as 10e-6 is ten times 1e-6",
              reads={"eps": "(10 * eps)"}),
        Fault("eps-lost", "epsilon is rounded to zero: an element without a gradient is NaN, and with it its tensor",
              reads={"eps": "(eps * 0)"}),
        Fault("ratio-eps-by-mistake", "the norm of the direction has an epsilon that nobody asked for: 1e-5",
              edits=(line("d = ... + 0.00001"),)),
        Fault("ratio-eps-lost", "the norm of the direction has no epsilon",
              axes={"ratio_eps": "no"}, only_with={"ratio_eps": ("yes",)}),
        Fault("norms-of-a-shard", "each process takes the norms of its own half: the trust follows how a model is cut",
              edits=(within("w_norm", w="first_half(w)"), within("u_norm", u="first_half(u)"))),
        Fault("parameter-norm-of-a-shard", "the norm of the parameter is that of a half, the other is whole",
              edits=(within("w_norm", w="first_half(w)"),)),
        Fault("norm-of-gradient", "the gradient is measured, not the direction of the step",
              edits=(line("u_norm = norm(g)"),)),
        Fault("norm-before-decay", "the parameter is measured before its decay",
              edits=(before("m", "w_old = w"), within("w_norm", w="w_old")), only_with={"decay": ("decoupled",)}),
        Fault("norm-rounded", "the norm of the parameter is rounded to bfloat16",
              edits=(after("w_norm", "w_norm = bfloat16(w_norm)"),)),
        Fault("norms-squared", "squares are not rooted: the trust is the square of what it should be",
              edits=(line("ratio = (...)**2"),)),
        Fault("trust-inverted", "the trust grows with the direction: large directions take larger steps",
              edits=(line("ratio = d / w_norm"),)),
        Fault("trust-missing", "every tensor moves at the learning rate: this is Adam", edits=(line("trust = 1"),)),
        Fault("trust-only-with-decay", "without weight decay no tensor is scaled",
              reports("NUS-HPC-AI-Lab/pytorch-lamb/issues/1"), axes={"when": "decay"}, only_with={"when": ("always",)}),
        Fault("trust-without-decay", "tensors that are not decayed are scaled too",
              axes={"when": "always"}, only_with={"when": ("decay",)}),
        Fault("clamp-lost", "large weights have large norms, though these should be cut at 10",
              axes={"clamp": "no"}, only_with={"clamp": ("ten",)}),
        Fault("clamp-by-mistake", "norms are cut at 10: large tensors hardly move",
              axes={"clamp": "ten"}, only_with={"clamp": ("no",)}),
        Fault("clip-lost", "the trust ratio may exceed 1", axes={"clip": "no"}, only_with={"clip": ("one",)}),
        Fault("clip-by-mistake", "the trust ratio is cut at 1", axes={"clip": "one"}, only_with={"clip": ("no",)}),
        Fault("nan-contained", "a NaN leaves the trust of its tensor at 1: the other elements go on, at another rate",
              axes={"zero_norm": "positive"}, only_with={"zero_norm": ("one",)}),
        Fault("nan-spread", "a NaN in one element makes the whole tensor NaN",
              axes={"zero_norm": "one"}, only_with={"zero_norm": ("positive",)}),
        Fault("zero-norm-frozen", "a tensor of zeros has no trust, so that it never leaves zero",
              edits=(line("trust = 0 if w_norm == 0 or u_norm == 0 else ratio"),)),
        Fault("zero-norm-unguarded", "the ratio is used as it is: a tensor of zeros stays there, 0/0 is NaN",
              edits=(line("trust = ratio"),)),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("v-in-bfloat16", "the second moment is kept in bfloat16", begin=("v = bfloat16(v)",)),
        rounded_early("m", "v"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and v stays zero",
              reads={"beta2": "bfloat16(beta2)"}),
    ),
)  # fmt: skip
