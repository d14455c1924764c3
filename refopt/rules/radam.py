"""RAdam: Adam whose step is scaled down while the second moment has seen few gradients, and is no Adam before that.

`rho` is the length of the simple average that the second moment is worth: about t at first, `rho_inf` in the end. The
variance of the adaptive rate is finite from a length of four on. Above it, `r` takes out what it exceeds its limit by;
below it, the step is that of gradient descent with momentum.

The paper divides by the bare root of the second moment, which is zero where a gradient always was, or where its square
underflows. Whoever implements it adds an epsilon; with eps = 0 it is the paper's.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def radam(w, g, m, v, *, t, lr, beta1, beta2, eps):
    least = 4
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    c1 = 1 - beta1**t
    c2 = 1 - beta2**t
    m_hat = m / c1
    v_hat = v / c2
    d = sqrt(v_hat) + eps
    u = r * m_hat / d if rho > least else m_hat
    w = w - lr * u
    return w, m, v


SGD = {"warm_up": ("sgd",)}
AUTHORS = "the authors' code"

RADAM = Rule(
    name="radam",
    title="RAdam, rectified Adam",
    function=radam,
    hyper_parameters=(
        lr_of(0.001),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the second moment", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",),
                       (2**-6, 2**-7, 2**-8)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-8, 2**-6)),
        HyperParameter("threshold", "τ", 5.0, "[4, inf)", "length from which on the step is adaptive",
                       ("sma_threshold",), (8.0, 6.0)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("v", "v", "second raw moment")),
    axes=(
        Axis("warm_up", "what is done while the length is too short", (
            Choice("sgd", "a step along the corrected first moment, not adaptive", "Liu et al. 2020, Algorithm 2"),
            Choice("skip", "nothing: the parameter stays what it is, its decay waits too",
                   f"{AUTHORS}, unless degenerated_to_sgd",
                   (before("m", "w_old = w"), line("u = r * m_hat / d"),
                    after("w", "w = w if rho > least else w_old"))),
        )),
        decay_axis(l2=before("m", "g = g + wd * w")),
        Axis("threshold_at", "which length is long enough", (
            Choice("4", "more than four", "Liu et al. 2020, Algorithm 2; Flux"),
            Choice("5", "more than five", f"{AUTHORS}; torch, TensorFlow Addons, timm", (line("least = 5"),)),
            Choice("given", "more than a number", "optax", (line("least = threshold"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside_hat", "added to the root of the corrected moment", "optax; TensorFlow Addons"),
            Choice("outside_raw", "added to the root of the raw moment", f"{AUTHORS}; torch, timm",
                   (line("d = sqrt(v_hat) + eps / sqrt(c2)"),)),
            Choice("both", "eps_root inside the root of the corrected moment, eps outside", "optax with eps_root",
                   (line("d = sqrt(v_hat + eps_root) + eps"),)),
        )),
        Axis("nesterov", "whether the step looks ahead, as Nadam's does", (
            Choice("no", "the step is made of the first moment", "Liu et al. 2020, Algorithm 2"),
            Choice("yes", "of the moment as the next step will weigh it, and of the gradient",
                   "optax with nesterov=True",
                   (line("m_hat = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / c1"),)),
        )),
        Axis("first_t", "the number t of the first step, as the length and the corrections count it", (
            Choice("1", "steps count from 1", "Liu et al. 2020, Algorithm 2"),
            Choice("2", "steps count from 2: the warm-up ends a step sooner, the first corrections are too weak",
                   "a counter raised twice",
                   tuple(within(name, t="t + 1") for name in ("rho", "c1", "c2", "m_hat"))),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Liu et al. 2020, Algorithm 2, with an epsilon", {}, {"lr": 0.001, "eps": 1e-8}),
        Dialect("authors", "LiyuanLucasLiu/RAdam",
                {"warm_up": "skip", "decay": "decoupled", "threshold_at": "5", "eps_at": "outside_raw"}, {"eps": 1e-8}),
        Dialect("torch", "torch.optim.RAdam",
                {"decay": "l2", "threshold_at": "5", "eps_at": "outside_raw", "complex": "parts"},
                {"eps": 1e-8}),
        Dialect("optax", "optax.radam",
                {"threshold_at": "given", "complex": "modulus"}, {"eps": 1e-8, "threshold": 5.0}),
    ),
    references=(
        Reference("Liu et al., On the Variance of the Adaptive Learning Rate and Beyond (2020)",
                  "Algorithm 2, with beta2 where two versions have 1/beta2 by mistake",
                  "https://arxiv.org/abs/1908.03265"),
        Reference("Loshchilov & Hutter, Decoupled Weight Decay Regularization (2019)", "Algorithm 2",
                  "https://arxiv.org/abs/1711.05101"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("rho", "c1", "c2", "m_hat"),
        Fault("step-counted-twice", "each step is counted twice: the warm-up is half as long",
              reports("geoopt/geoopt/issues/164"),
              tuple(within(one, t="(2 * t)") for one in ("rho", "c1", "c2", "m_hat"))),
        Fault("rectification-missing", "the step is Adam's as soon as it is adaptive", edits=(line("r = 1"),)),
        Fault("rectification-without-root", "the rectification is not the root of the ratio, but the ratio",
              edits=(line("r = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)"),)),
        Fault("rectification-without-lengths", "the ratio of the lengths is left out of the rectification",
              edits=(line("r = sqrt((rho - 4) * (rho - 2) / ((rho_inf - 4) * (rho_inf - 2)))"),)),
        Fault("length-without-t", "the factor t is left out of the length: there is no warm-up",
              edits=(line("rho = rho_inf - 2 * beta2**t / (1 - beta2**t)"),)),
        Fault("length-in-float32", "the length is computed in float32: of a difference of two large numbers two digits "
              "are left, and the first rectified steps are off by a hundredth",
              reports("ooples/AiDotNet.Tensors/pull/960"),
              (line("rho = float32(rho_inf - float32(2 * t * float32(beta2**t) / float32(1 - float32(beta2**t))))"),)),
        Fault("warm-up-adaptive", "the first steps are Adam's, unrectified: what the rule is there to avoid",
              edits=(line("u = r * m_hat / d if rho > least else m_hat / d"),), only_with=SGD),
        Fault("warm-up-uncorrected", "the first moment of the first steps is not corrected: they are ten times too "
              "short", edits=(line("u = r * m_hat / d if rho > least else m"),), only_with=SGD),
        Fault("warm-up-skipped", "the first steps are left out", axes={"warm_up": "skip"}, only_with=SGD),
        Fault("warm-up-made", "the first steps are made, though they should be left out",
              axes={"warm_up": "sgd"}, only_with={"warm_up": ("skip",)}),
        Fault("warm-up-uphill", "the step size of -1 that marks a step to leave out is used: the first steps go uphill",
              reports("LiyuanLucasLiu/RAdam/issues/54"),
              (line("u = r * m_hat / d if rho > least else -m"),), axes={"warm_up": "sgd"},
              only_with={"warm_up": ("skip",)}),
        Fault("threshold-of-5", "the adaptive steps begin at a length of five, where the paper has four",
              reports("taki0112/RAdam-Tensorflow/issues/2"),
              axes={"threshold_at": "5"}, only_with={"threshold_at": ("4", "given")}),
        Fault("threshold-of-4", "the adaptive steps begin at a length of four",
              axes={"threshold_at": "4"}, only_with={"threshold_at": ("5", "given")}),
        Fault("v-grows", "the second moment is divided by its decay, as two versions of the paper have it",
              reports("LiyuanLucasLiu/RAdam/issues/55", "LiyuanLucasLiu/RAdam/issues/69"),
              (line("v = v / beta2 + (1 - beta2) * g * g"),)),
        Fault("bias-missing-m", "the first moment is not corrected: early steps are ten times too short",
              edits=(line("c1 = 1"),)),
        Fault("bias-missing-v", "the second moment is not corrected: early steps are many times too long",
              edits=(line("c2 = 1"),)),
        Fault("bias-without-power", "1 - beta is used at every step in place of 1 - beta**t",
              edits=(line("c1 = 1 - beta1"), line("c2 = 1 - beta2"))),
        Fault("m-unscaled", "the gradient enters the first moment without 1 - beta1",
              edits=(line("m = beta1 * m + g"),)),
        Fault("m-stale", "the step is made from the first moment before its update",
              edits=(before("m", "m_old = m"), within("m_hat", m="m_old"))),
        Fault("v-stale", "the step is divided by the second moment before its update",
              edits=(before("v", "v_old = v"), within("v_hat", v="v_old"))),
        Fault("betas-swapped", "each moment has the other's beta",
              edits=(within("m", beta1="beta2"), within("v", beta2="beta1"))),
        Fault("root-missing", "the step is divided by the second moment itself",
              edits=(within("d", v_hat="(v_hat * v_hat)"),)),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its square root",
              reports("CyberZHG/keras-radam/issues/29"),
              (line("d = sqrt(v_hat + eps)"),), only_with={"eps_at": ("outside_hat", "outside_raw")}),
        Fault("eps-on-raw", "epsilon is added to the root of the raw moment: early steps see a larger one",
              reports("geoopt/geoopt/issues/164"),
              axes={"eps_at": "outside_raw"}, only_with={"eps_at": ("outside_hat",)}),
        Fault("eps-on-corrected", "epsilon is added to the root of the corrected moment: early steps see a smaller one",
              axes={"eps_at": "outside_hat"}, only_with={"eps_at": ("outside_raw",)}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: a gradient of zero gives NaN",
              reads={"eps": "(eps * 0)"}),
        Fault("nesterov-lost", "the step does not look ahead, though it should",
              axes={"nesterov": "no"}, only_with={"nesterov": ("yes",)}),
        Fault("nesterov-by-mistake", "the step looks ahead",
              axes={"nesterov": "yes"}, only_with={"nesterov": ("no",)}),
        Fault("nesterov-not-ahead", "the moment of the next step is corrected as that of this one",
              edits=(line("m_hat = beta1 * m / c1 + (1 - beta1) * g / c1"),), only_with={"nesterov": ("yes",)}),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("v-in-bfloat16", "the second moment is kept in bfloat16", begin=("v = bfloat16(v)",)),
        rounded_early("m", "v"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and the length NaN",
              reads={"beta2": "bfloat16(beta2)"}),
    ),
)  # fmt: skip
