"""Adam: adaptive moment estimation, with the conventions of its many implementations.

`outside_raw` and `inside_raw` are published with the bias corrections folded into the learning rate, as
lr * sqrt(c2) / c1 * m / (sqrt(v) + eps). Dividing through by sqrt(c2) gives the lines below, which show at once what
the convention does: it divides eps by the correction, so that early steps see a larger one.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot, view
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def adam(w, g, m, v, *, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    c1 = 1 - beta1**t
    c2 = 1 - beta2**t
    m_hat = m / c1
    v_hat = v / c2
    d = sqrt(v_hat) + eps
    w = w - lr * m_hat / d
    return w, m, v


V_MAX = Slot("v_max", "v̄", "largest second moment so far")

ADAM = Rule(
    name="adam",
    title="Adam",
    function=adam,
    hyper_parameters=(
        lr_of(0.001),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the second moment", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-8, 2**-6)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("v", "v", "second raw moment")),
    axes=(
        decay_axis(l2=before("m", "g = g + wd * w")),
        Axis("power", "what the bias correction takes beta to the power of t for", (
            Choice("power", "today's beta to the power of t", "Kingma & Ba, Algorithm 1"),
            Choice("product", "the product of the betas of all steps, which differs once beta changes",
                   "torch.optim.NAdam's mu_product",
                   (before("c1", "p1 = p1 * beta1"), line("c1 = 1 - p1"),
                    before("c2", "p2 = p2 * beta2"), line("c2 = 1 - p2")),
                   slots=(Slot("p1", "π₁", "product of the beta1 so far", 1.0, "step"),
                          Slot("p2", "π₂", "product of the beta2 so far", 1.0, "step"))),
        )),
        Axis("first_t", "the number t of the first step, as the bias correction counts it", (
            Choice("1", "steps count from 1", "Kingma & Ba, Algorithm 1"),
            Choice("0", "steps count from 0: the first correction divides by zero", "a counter raised after its use",
                   (within("c1", t="t - 1"), within("c2", t="t - 1")), only_with={"power": ("power",)}),
            Choice("2", "steps count from 2: the first correction is too weak", "a counter raised twice",
                   (within("c1", t="t + 1"), within("c2", t="t + 1")), only_with={"power": ("power",)}),
        )),
        Axis("bias", "which moments are corrected for their start at zero", (
            Choice("both", "both moments", "Kingma & Ba, section 3"),
            Choice("none", "neither moment", "BERT's Adam", (line("c1 = 1"), line("c2 = 1"))),
            Choice("m_only", "the first moment only", "", (line("c2 = 1"),)),
            Choice("v_only", "the second moment only", "", (line("c1 = 1"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside_hat", "added to the root of the corrected moment",
                   "Kingma & Ba, Algorithm 1; torch, optax"),
            Choice("outside_raw", "added to the root of the raw moment: their epsilon hat",
                   "Kingma & Ba, end of section 2; Keras", (line("d = sqrt(v_hat) + eps / sqrt(c2)"),)),
            Choice("inside_hat", "inside the root of the corrected moment",
                   "the approximation that objax's page names", (line("d = sqrt(v_hat + eps)"),)),
            Choice("inside_raw", "inside the root of the raw moment", "objax's code",
                   (line("d = sqrt(v_hat + eps / c2)"),)),
            Choice("both", "eps_root inside the root of the corrected moment, eps outside", "optax with eps_root",
                   (line("d = sqrt(v_hat + eps_root) + eps"),)),
        )),
        Axis("amsgrad", "whether the second moment may shrink", (
            Choice("no", "the second moment may shrink", "Kingma & Ba, Algorithm 1"),
            Choice("raw", "its largest value so far is corrected and used", "Reddi et al. 2018; torch, Keras",
                   (after("v", "v_max = maximum(v_max, v)"), within("v_hat", v="v_max")), (V_MAX,)),
            Choice("corrected", "the largest corrected value so far is used", "optax.amsgrad",
                   (after("v_hat", "v_max = maximum(v_max, v_hat)"), within("d", v_hat="v_max")), (V_MAX,)),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Kingma & Ba 2015, Algorithm 1", {}, {"lr": 0.001, "eps": 1e-8}),
        Dialect("objax", "objax.optimizer.Adam, the code", {"eps_at": "inside_raw"}, {"eps": 1e-8}),
        Dialect("torch", "torch.optim.Adam", {"decay": "l2", "complex": "parts"}, {"eps": 1e-8}),
        Dialect("adamw", "torch.optim.AdamW, optax.adamw", {"decay": "decoupled"}, {"eps": 1e-8, "wd": 0.01}),
        Dialect("optax", "optax.adam", {"complex": "modulus"}, {"eps": 1e-8}),
        Dialect("keras", "keras.optimizers.Adam", {"eps_at": "outside_raw", "decay": "decoupled"}, {"eps": 1e-7}),
    ),
    references=(
        Reference("Kingma & Ba, Adam: A Method for Stochastic Optimization (2015)",
                  "Algorithm 1; end of section 2 for the epsilon hat; section 3 for the bias correction",
                  "https://arxiv.org/abs/1412.6980"),
        Reference("Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019)", "Algorithm 2",
                  "https://arxiv.org/abs/1711.05101"),
        Reference("Reddi, Kale & Kumar, On the Convergence of Adam and Beyond (2018)", "Algorithm 2",
                  "https://arxiv.org/abs/1904.09237"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("c1", "c2"),
        Fault("bias-missing-m", "the first moment is not corrected: early steps are ten times too short",
              reports("Oneflow-Inc/oneflow/pull/5960"), (line("c1 = 1"),)),
        Fault("bias-missing-v", "the second moment is not corrected: early steps are many times too long",
              reports("kozistr/pytorch_optimizer/pull/159"), (line("c2 = 1"),)),
        Fault("bias-missing", "neither moment is corrected: the warm-up is another one",
              reports("keras-team/keras/pull/13577"), (line("c1 = 1"), line("c2 = 1"))),
        Fault("bias-without-power", "1 - beta is used at every step in place of 1 - beta**t: steps stay wrong for ever",
              reports("eriklindernoren/ML-From-Scratch/issues/35", "ufal/npfl114/pull/79"),
              (line("c1 = 1 - beta1"), line("c2 = 1 - beta2"))),
        Fault("bias-stops-at-10", "the correction is left out after ten steps, long before beta2**t is small",
              edits=(line("c1 = 1 if t > 10 else ..."), line("c2 = 1 if t > 10 else ..."))),
        Fault("bias-kept", "the corrected first moment is kept as the moment: corrections pile up",
              reports("frgfm/holocron/issues/1"), (after("m_hat", "m = m_hat"),)),
        Fault("eps-inside", "epsilon is added inside the root of the corrected moment: it acts as its square root",
              reports("FluxML/Flux.jl/pull/448", "CyberZHG/keras-radam/issues/29"),
              axes={"eps_at": "inside_hat"},
              only_with={"eps_at": ("outside_hat", "outside_raw", "inside_raw")}),
        Fault("eps-inside-raw", "epsilon is added inside the root of the raw moment",
              axes={"eps_at": "inside_raw"}, only_with={"eps_at": ("outside_hat", "outside_raw", "inside_hat")}),
        Fault("eps-on-raw", "epsilon is added to the root of the raw moment: early steps see a larger one",
              reports("keras-team/keras/issues/17391", "tensorflow/tensorflow/issues/9047"),
              axes={"eps_at": "outside_raw"}, only_with={"eps_at": ("outside_hat", "inside_hat", "inside_raw")}),
        Fault("eps-outside", "epsilon is added to the root, though it belongs inside: it is far too small there",
              reports("sail-sg/Adan/issues/8"),
              axes={"eps_at": "outside_hat"}, only_with={"eps_at": ("outside_raw", "inside_hat", "inside_raw")}),
        Fault("eps-times-ten", "epsilon is ten times what was asked for, as 10e-8 is ten times 1e-8",
              reports("google-deepmind/open_spiel/issues/1339"), reads={"eps": "(10 * eps)"}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: a gradient of zero gives NaN",
              reports("google-deepmind/optax/issues/1754"), reads={"eps": "(eps * 0)"}),
        Fault("m-unscaled", "the gradient enters the first moment without 1 - beta1: steps are ten times too long",
              edits=(line("m = beta1 * m + g"),)),
        Fault("v-unscaled", "the square enters the second moment without 1 - beta2: steps are thirty times too short",
              edits=(line("v = beta2 * v + g * g"),)),
        Fault("m-stale", "the step is made from the first moment before its update: it comes one step late",
              edits=(before("m", "m_old = m"), within("m_hat", m="m_old"))),
        Fault("v-stale", "the step is made from the second moment before its update: the first step divides by eps",
              edits=(before("v", "v_old = v"), within("v_hat", v="v_old"), within("v_max", v="v_old"))),
        Fault("betas-swapped", "each moment has the other's beta: m averages for too long, v forgets",
              edits=(within("m", beta1="beta2"), within("v", beta2="beta1"))),
        Fault("v-of-magnitude", "the second moment averages |g|, not its square: steps depend on the gradient's scale",
              edits=(line("v = beta2 * v + (1 - beta2) * sqrt(g * g)"),)),
        Fault("v-sign", "the square is subtracted, as objax's page has it: the root is NaN",
              ("https://objax.readthedocs.io/en/latest/objax/optimizer.html",),
              (line("v = beta2 * v - (1 - beta2) * g * g"),)),
        Fault("root-missing", "the step is divided by the second moment itself: large gradients hardly move",
              reports("torch/optim/pull/48"),
              (within("d", v_hat="(v_hat * v_hat)"), within("d", v_max="(v_max * v_max)"))),
        Fault("v-of-decayed-gradient-only", "m averages the gradient as it came, v the decayed one",
              edits=(line("m = beta1 * m + (1 - beta1) * (g - wd * w)"),), only_with={"decay": ("l2",)}),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", reports("FluxML/Optimisers.jl/issues/215"),
              begin=("m = bfloat16(m)",)),
        Fault("v-in-bfloat16", "the second moment is kept in bfloat16: with beta2 of 0.999 it soon stands still",
              reports("FluxML/Optimisers.jl/issues/215", "keras-team/keras-hub/issues/2629"),
              begin=("v = bfloat16(v)",)),
        rounded_early("m", "v"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and v stays zero",
              reports("keras-team/keras/pull/21238", "tenstorrent/tt-metal/issues/55935"),
              reads={"beta2": "bfloat16(beta2)"}),
        Fault("beta2-in-float32", "1 - beta2 is computed in float32: 216 ULPs are lost at 0.999",
              reads={"beta2": "float32(beta2)"}),
        Fault("nesterov-by-mistake", "the step looks ahead, as Nadam's does",
              edits=(line("m_hat = (beta1 * m + (1 - beta1) * g) / c1"),)),
        Fault("amsgrad-lost", "the second moment may shrink, though AMSGrad was asked for",
              axes={"amsgrad": "no"}, only_with={"amsgrad": ("raw", "corrected")}),
        Fault("amsgrad-of-other", "the largest raw moment is kept where the corrected was asked for",
              axes={"amsgrad": "raw"}, only_with={"amsgrad": ("corrected",)}),
        Fault("product-of-today", "today's beta to the power of t, where the product of all betas was asked for",
              edits=(line("c1 = 1 - beta1**t"), line("c2 = 1 - beta2**t")), only_with={"power": ("product",)}),
    ),
)  # fmt: skip

ADAMW = view(
    ADAM,
    "adamw",
    "AdamW: Adam with decoupled weight decay",
    (
        Dialect("paper", "Loshchilov & Hutter 2019, Algorithm 2, alpha being lr and the schedule multiplier 1",
                {"decay": "decoupled_no_lr"}, {"lr": 0.001, "eps": 1e-8, "wd": 0.01}),
        Dialect("torch", "torch.optim.AdamW",
                {"decay": "decoupled", "complex": "parts"}, {"lr": 0.001, "eps": 1e-8, "wd": 0.01}),
        Dialect("optax", "optax.adamw", {"decay": "decoupled", "complex": "modulus"}, {"eps": 1e-8, "wd": 1e-4}),
        Dialect("keras", "keras.optimizers.AdamW", {"decay": "decoupled", "eps_at": "outside_raw"},
                {"lr": 0.001, "eps": 1e-7, "wd": 0.004}),
    ),
    ADAM.references[1:2],
)  # fmt: skip

AMSGRAD = view(
    ADAM,
    "amsgrad",
    "AMSGrad: Adam whose second moment never shrinks",
    (
        Dialect("paper", "Reddi, Kale & Kumar 2018, Algorithm 2, without an epsilon and without bias corrections",
                {"amsgrad": "raw", "bias": "none"}, {"lr": 0.001, "eps": 0.0}),
        Dialect("torch", "torch.optim.Adam(amsgrad=True)", {"amsgrad": "raw", "decay": "l2", "complex": "parts"},
                {"lr": 0.001, "eps": 1e-8}),
        Dialect("optax", "optax.amsgrad", {"amsgrad": "corrected", "complex": "modulus"}, {"eps": 1e-8}),
        Dialect("keras", "keras.optimizers.Adam(amsgrad=True)",
                {"amsgrad": "raw", "eps_at": "outside_raw", "decay": "decoupled"}, {"lr": 0.001, "eps": 1e-7}),
    ),
    ADAM.references[2:],
)  # fmt: skip
