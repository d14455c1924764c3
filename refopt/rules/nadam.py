"""Nadam: Adam whose step looks ahead, with a momentum that warms up.

The gradient of today and the moment that it has made part in the step: each is divided by its own correction, one minus
the product of the momenta so far, and of those and tomorrow's. Hence the product, a number that is kept.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def nadam(w, g, m, v, p, *, t, lr, beta1, beta2, eps, psi):
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * psi))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
    p = p * mu
    m = mu * m + (1 - mu) * g
    v = beta2 * v + (1 - beta2) * g * g
    c1 = 1 - p
    c1_next = 1 - p * mu_next
    c2 = 1 - beta2**t
    m_hat = mu_next * m / c1_next + (1 - mu) * g / c1
    v_hat = beta2 * v / c2
    d = sqrt(v_hat) + eps
    w = w - lr * m_hat / d
    return w, m, v, p


WARM_UPS = ("warm_up", "fast_warm_up")  # under which momenta differ from step to step

NADAM = Rule(
    name="nadam",
    title="Nadam, Adam with Nesterov momentum",
    function=nadam,
    hyper_parameters=(
        lr_of(0.002),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment, once it is warm", ("b1", "beta_1"),
                       (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the second moment", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",),
                       (2**-6, 2**-7, 2**-8)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-8, 2**-6)),
        HyperParameter("psi", "ψ", 0.004, "[0, inf)", "pace of the momentum's warm-up",
                       ("momentum_decay", "schedule_decay"), (8.0, 3.0)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("v", "v", "second raw moment"),
           Slot("p", "π", "product of the momenta so far", 1.0, "step")),
    axes=(
        decay_axis(l2=before("m", "g = g + wd * w")),
        Axis("schedule", "how the momentum depends on the step", (
            Choice("warm_up", "from half of beta1 up to it, at a pace of psi",
                   "Dozat's report of 2015, with psi = 1/250; torch"),
            Choice("fast_warm_up", "at a pace of one: 250 times as fast",
                   "Keras 3, which has lost the 0.004 of Keras 1 and 2",
                   (line("mu = beta1 * (1 - 0.5 * 0.96**t)"), line("mu_next = beta1 * (1 - 0.5 * 0.96 ** (t + 1))"))),
            Choice("constant", "it is beta1, whose powers are the products", "optax.nadam; Flux",
                   (line("mu = beta1"), line("mu_next = beta1"),
                    line("c1 = 1 - beta1**t"), line("c1_next = 1 - beta1 ** (t + 1)"))),
        )),
        Axis("m_decay", "what the first moment decays by", (
            Choice("momentum", "the momentum of the step", "Dozat 2016, Algorithm 2"),
            Choice("beta1", "beta1, however warm the momentum is", "torch, Keras", (within("m", mu="beta1"),)),
        )),
        Axis("m_correction", "what the first moment is corrected by", (
            Choice("next", "one minus the product up to the next step", "Dozat 2016, Algorithm 2"),
            Choice("same", "what the gradient is corrected by: the product up to this step",
                   "timm's NAdamW; MLCommons' AlgoPerf; Choi et al. 2019, Table 1",
                   (line("c1_next = c1"),), only_with={"schedule": ("constant",)}),
        )),
        Axis("v_scale", "what the second moment is scaled by before its correction", (
            Choice("beta2", "its decay", "Dozat 2016, Algorithm 2; Flux"),
            Choice("one", "nothing", "Dozat's report of 2015; torch, Keras, optax", (line("v_hat = v / c2"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside_hat", "added to the root of the corrected moment", "Dozat 2016, Algorithm 2; torch, Keras"),
            Choice("outside_raw", "added to the root of the raw moment", "the page of Keras, not its code",
                   (line("d = sqrt(v_hat) + eps / sqrt(c2)"),)),
            Choice("inside_hat", "inside the root of the corrected moment", "Dozat's own code",
                   (line("d = sqrt(v_hat + eps)"),)),
            Choice("both", "eps_root inside the root of the corrected moment, eps outside", "optax with eps_root",
                   (line("d = sqrt(v_hat + eps_root) + eps"),)),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Dozat 2016, Algorithm 2", {}, {"lr": 0.002, "psi": 0.004}),
        Dialect("torch", "torch.optim.NAdam",
                {"decay": "l2", "m_decay": "beta1", "v_scale": "one", "complex": "parts"}, {"lr": 0.002}),
        Dialect("optax", "optax.nadam",
                {"schedule": "constant", "v_scale": "one", "complex": "modulus"}, {"lr": 0.001}),
        Dialect("nadamw", "optax.nadamw",
                {"decay": "decoupled", "schedule": "constant", "v_scale": "one", "complex": "modulus"},
                {"lr": 0.001, "wd": 1e-4}),
        Dialect("keras", "keras.optimizers.Nadam",
                {"decay": "decoupled", "schedule": "fast_warm_up", "m_decay": "beta1", "v_scale": "one"},
                {"lr": 0.001, "eps": 1e-7}),
    ),
    references=(
        Reference("Dozat, Incorporating Nesterov Momentum into Adam (2016)", "Algorithm 2",
                  "https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ"),
        Reference("Dozat, Incorporating Nesterov Momentum into Adam, report (2015)",
                  "Algorithm 8; the warm-up of the momentum", "http://cs229.stanford.edu/proj2015/054_report.pdf"),
        Reference("Choi et al., On Empirical Comparisons of Optimizers for Deep Learning (2019)", "Table 1, NAdam",
                  "https://arxiv.org/abs/1910.05446"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("mu", "mu_next", "c1", "c1_next", "c2"),
        Fault("decay-times-gradient", "the gradient is multiplied with the decayed weight, not added to it",
              reports("apache/mxnet/issues/8925"),
              axes={"decay": "none"}, begin=("g = g * (1 + wd * w)",), only_with={"decay": ("l2",)}),
        Fault("look-ahead-missing", "the step is Adam's: today's gradient counts no more than in the moment",
              edits=(line("m_hat = m / c1"),)),
        Fault("look-ahead-by-today", "the moment is scaled by the momentum of this step, not of the next",
              edits=(within("m_hat", mu_next="mu"),), only_with={"schedule": WARM_UPS}),
        Fault("product-not-ahead", "the moment is corrected by the product up to this step, not to the next: it is too "
              "large at first", edits=(line("c1_next = c1"),), only_with={"m_correction": ("next",)}),
        Fault("product-too-far", "the product up to the next step has this step's momentum twice",
              reports("pytorch/pytorch/pull/92699", "dotnet/TorchSharp/pull/1155"),
              (line("c1_next = 1 - p * mu * mu_next"),), only_with={"schedule": WARM_UPS}),
        Fault("product-twice", "the product advances for every tensor, not every step: here for two",
              edits=(line("p = p * mu * mu"),), only_with={"schedule": WARM_UPS}),
        Fault("product-from-zero", "the product starts from zero: nothing is corrected",
              reports("dotnet/TorchSharp/pull/1155"), starts={"p": 0.0}, only_with={"schedule": WARM_UPS}),
        Fault("product-of-today", "today's momentum to the power of t, though the momenta before were smaller",
              edits=(line("c1 = 1 - mu**t"), line("c1_next = 1 - mu_next ** (t + 1)")),
              only_with={"schedule": WARM_UPS}),
        Fault("product-in-float32", "the product is kept in float32: parameters of float64 lose half of their digits",
              edits=(line("p = float32(p * float32(mu))"),), only_with={"schedule": WARM_UPS}),
        Fault("bias-missing-m", "neither the moment nor the gradient is corrected: early steps are too short",
              edits=(line("c1 = 1"), line("c1_next = 1"))),
        Fault("bias-missing-v", "the second moment is not corrected: early steps are many times too long",
              edits=(line("c2 = 1"),)),
        Fault("bias-without-power", "powers of the betas do not advance: corrections stay those of the first step",
              reports("FluxML/Flux.jl/issues/789"),
              (within("c1", t="1"), within("c1_next", t="1"), within("c2", t="1"))),
        Fault("gradient-not-corrected", "the gradient in the step is not corrected, the moment is",
              edits=(within("m_hat", c1="1"),)),
        Fault("gradient-unscaled", "the gradient enters the step without 1 - momentum: it counts many times over",
              edits=(line("m_hat = mu_next * m / c1_next + g / c1"),)),
        Fault("moment-overwritten", "what was scaled for the step is kept as the moment",
              reports("deeplearning4j/nd4j/pull/1891"),
              (before("m_hat", "m = mu_next * m / c1_next"), line("m_hat = m + (1 - mu) * g / c1"))),
        Fault("m-stale", "the step is made from the first moment before its update",
              edits=(before("m", "m_old = m"), within("m_hat", m="m_old"))),
        Fault("warm-up-missing", "the momentum is beta1 from the first step on",
              axes={"schedule": "constant"}, only_with={"schedule": WARM_UPS}),
        Fault("warm-up-fast", "the pace of the warm-up is left out: it is over after a hundred steps",
              axes={"schedule": "fast_warm_up"}, only_with={"schedule": ("warm_up",)}),
        Fault("warm-up-from-nothing", "the half is left out: the momentum starts at nearly zero",
              edits=(line("mu = beta1 * (1 - 0.96 ** (t * psi))"),
                     line("mu_next = beta1 * (1 - 0.96 ** ((t + 1) * psi))")), only_with={"schedule": ("warm_up",)}),
        Fault("m-of-beta1", "the first moment decays by beta1, though it should by the momentum of the step",
              axes={"m_decay": "beta1"}, only_with={"m_decay": ("momentum",)}),
        Fault("m-of-momentum", "the first moment decays by the momentum of the step, though it should by beta1",
              axes={"m_decay": "momentum"}, only_with={"m_decay": ("beta1",)}),
        Fault("v-scaled", "the second moment is scaled by beta2: steps are longer by its root",
              axes={"v_scale": "beta2"}, only_with={"v_scale": ("one",)}),
        Fault("v-not-scaled", "the second moment is not scaled by beta2, as the paper has it",
              axes={"v_scale": "one"}, only_with={"v_scale": ("beta2",)}),
        Fault("eps-inside", "epsilon is added inside the root of the corrected moment: it acts as its square root",
              axes={"eps_at": "inside_hat"}, only_with={"eps_at": ("outside_hat", "outside_raw")}),
        Fault("eps-on-raw", "epsilon is added to the root of the raw moment: early steps see a larger one",
              axes={"eps_at": "outside_raw"}, only_with={"eps_at": ("outside_hat", "inside_hat")}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: a gradient of zero gives NaN",
              reads={"eps": "(eps * 0)"}),
        Fault("v-of-magnitude", "the second moment averages |g|, not its square",
              edits=(line("v = beta2 * v + (1 - beta2) * abs(g)"),)),
        Fault("root-missing", "the step is divided by the second moment itself",
              edits=(within("d", v_hat="(v_hat * v_hat)"),)),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("v-in-bfloat16", "the second moment is kept in bfloat16", begin=("v = bfloat16(v)",)),
        rounded_early("m", "v"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and v stays zero",
              reads={"beta2": "bfloat16(beta2)"}),
    ),
)  # fmt: skip
