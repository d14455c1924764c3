"""Adan: adaptive Nesterov momentum, which looks ahead along the change of the gradient.

The betas are those of all implementations, weights of the past: the paper's are one minus ours. The paper starts its
averages from the first gradient, and that of differences from the first difference; its authors' code starts them from
zero and corrects for it, as Adam does.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, drop, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def adan(w, g, m, v, n, p, *, t, lr, beta1, beta2, beta3, eps):
    p = g if t == 1 else p
    y = g - p
    z = g + beta2 * y
    m = g if t == 1 else beta1 * m + (1 - beta1) * g
    v = y if t <= 2 else beta2 * v + (1 - beta2) * y
    n = z * z if t == 1 else beta3 * n + (1 - beta3) * z * z
    h = m + beta2 * v
    d = sqrt(n + eps)
    w = w - lr * h / d
    p = g
    return w, m, v, n, p


FROM_ZERO = (
    line("m = beta1 * m + (1 - beta1) * g"),
    line("v = beta2 * v + (1 - beta2) * y"),
    line("n = beta3 * n + (1 - beta3) * z * z"),
)
CORRECTED = (
    before("h", "c1 = 1 - beta1**t", "c2 = 1 - beta2**t", "c3 = 1 - beta3**t"),
    before("h", "m_hat = m / c1", "v_hat = v / c2", "n_hat = n / c3"),
    within("h", m="m_hat", v="v_hat"),
    within("d", n="n_hat"),
)

ADAN = Rule(
    name="adan",
    title="Adan, adaptive Nesterov momentum",
    function=adan,
    hyper_parameters=(
        lr_of(0.001),
        HyperParameter("beta1", "β₁", 0.98, "[0, 1)", "decay of the average of gradients", ("b1", "beta_1"),
                       (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.92, "[0, 1)", "decay of the average of differences, and their weight",
                       ("b2", "beta_2"), (0.9375, 0.8125)),
        HyperParameter("beta3", "β₃", 0.99, "[0, 1)", "decay of the average of squares", ("b3", "beta_3"),
                       (0.96875, 0.90625)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-8, 2**-6)),
        WD,
    ),
    slots=(Slot("m", "m", "average of gradients"), Slot("v", "v", "average of differences of gradients"),
           Slot("n", "n", "average of squares of the gradients, looked ahead"),
           Slot("p", "p", "the gradient of the step before")),
    axes=(
        Axis("eps_at", "where epsilon joins the root", (
            Choice("inside", "inside the root", "Xie et al. 2022, Algorithm 1, line 6"),
            Choice("outside", "added to the root", "sail-sg/Adan, timm", (line("d = sqrt(n) + eps"),)),
            Choice("both", "eps_root inside, eps outside", "optax.adan", (line("d = sqrt(n + eps_root) + eps"),)),
        )),
        Axis("start", "what the averages start from", (
            Choice("first_gradient", "the first gradient, its square, and the first difference",
                   "Xie et al. 2022, Algorithm 1; an early Adan-pytorch of lucidrains'"),
            Choice("corrected", "zero, and this is corrected for as in Adam", "sail-sg/Adan, timm, optax",
                   (*FROM_ZERO, *CORRECTED)),
            Choice("zeros", "zero, and nothing is corrected", "", FROM_ZERO),
        )),
        Axis("difference", "what the difference of gradients weighs, in the step and in its square", (
            Choice("beta2", "beta2, the paper's 1 - beta2", "Xie et al. 2022, Algorithm 1; sail-sg/Adan"),
            Choice("one_minus_beta2", "1 - beta2: by default 0.08 in place of 0.92", "optax.adan",
                   (within("z", beta2="(1 - beta2)"), within("h", beta2="(1 - beta2)"))),
        )),
        Axis("first_difference", "what the first gradient is compared with", (
            Choice("zero", "itself: the first difference is zero", "sail-sg/Adan, optax"),
            Choice("gradient", "zero: the first difference is the gradient", "", (drop("p"),)),
        )),
        Axis("decay", "how weight decay enters", (
            Choice("none", "no weight decay"),
            Choice("proximal", "the parameter is divided by 1 + lr*wd after the step, a proximal step",
                   "Xie et al. 2022, Algorithm 1, line 7; sail-sg/Adan", (after("w", "w = w / (1 + lr * wd)"),)),
            Choice("decoupled", "scaled by lr, on the parameter before the step", "sail-sg/Adan with no_prox, optax",
                   (before("w", "w = w - lr * wd * w"),)),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Xie et al. 2022, Algorithm 1", {"decay": "proximal"}, {"lr": 0.001, "eps": 1e-8}),
        Dialect("sail_sg", "sail-sg/Adan, its authors' code, and timm.optim.Adan",
                {"start": "corrected", "eps_at": "outside", "decay": "proximal"}, {"lr": 0.001, "eps": 1e-8}),
        Dialect("optax", "optax.adan", {"start": "corrected", "difference": "one_minus_beta2", "eps_at": "both",
                                        "decay": "decoupled", "complex": "modulus"}, {"eps": 1e-8, "eps_root": 1e-8}),
    ),
    references=(
        Reference("Xie et al., Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models (2022)",
                  "Algorithm 1", "https://arxiv.org/abs/2208.06677"),
        Reference("Xie et al., the official implementation", "adan.py", "https://github.com/sail-sg/Adan"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(decoupled=False), *counter("c1", "c2", "c3"),
        Fault("correction-missing", "nothing is corrected for the start at zero: early steps have another size",
              axes={"start": "zeros"}, only_with={"start": ("corrected",)}),
        Fault("correction-without-power", "1 - beta is used at every step in place of 1 - beta**t: steps stay wrong "
              "for ever", edits=(line("c1 = 1 - beta1"), line("c2 = 1 - beta2"), line("c3 = 1 - beta3"))),
        Fault("correction-without-root", "the correction of the squares divides their root, as if it were the root's",
              edits=(within("d", n_hat="(n_hat / c3)"),)),
        Fault("correction-of-v-missing", "the average of differences is not corrected: it comes too late",
              edits=(line("c2 = 1"),)),
        Fault("difference-for-one-minus", "the difference weighs 1 - beta2, where the paper's 1 - beta2 is our beta2: "
              "hardly anything is looked ahead", reports("google-deepmind/optax/pull/1715"),
              axes={"difference": "one_minus_beta2"}, only_with={"difference": ("beta2",)}),
        Fault("difference-unscaled", "the difference weighs 1 in the step",
              edits=(within("h", beta2="1"),)),
        Fault("difference-sign", "the difference is that of the gradient before and this: the step looks back",
              edits=(line("y = p - g"),)),
        Fault("difference-missing", "the step is made from the average of gradients alone",
              edits=(within("h", v="(v * 0)", v_hat="(v_hat * 0)"),)),
        Fault("difference-not-squared", "the square is that of the gradient, not looked ahead", edits=(line("z = g"),)),
        Fault("gradient-never-kept", "the gradient of the step before stays the first one: differences never fade",
              edits=(after("w", "g = p"),)),
        Fault("first-difference", "the first gradient is compared with zero: the first step looks ahead by all of it",
              axes={"first_difference": "gradient"}, only_with={"first_difference": ("zero",)}),
        Fault("eps-outside", "epsilon is added to the root, though it belongs inside: it is far too small there",
              reports("sail-sg/Adan/issues/8"), axes={"eps_at": "outside"}, only_with={"eps_at": ("inside",)}),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its square root",
              axes={"eps_at": "inside"}, only_with={"eps_at": ("outside",)}),
        Fault("eps-lost", "epsilon is rounded to zero, as 1e-8 is in float16: a gradient of zero gives NaN",
              reads={"eps": "(eps * 0)"}),
        Fault("decay-not-proximal", "the weight is multiplied by 1 - lr*wd before the step, not divided by 1 + lr*wd "
              "after it", axes={"decay": "decoupled"}, only_with={"decay": ("proximal",)}),
        Fault("decay-proximal", "the weight is divided by 1 + lr*wd after the step: the step is decayed too",
              axes={"decay": "proximal"}, only_with={"decay": ("decoupled",)}),
        Fault("betas-of-the-paper", "the betas are taken for the paper's: each average forgets what it should keep",
              reads={"beta1": "(1 - beta1)", "beta2": "(1 - beta2)", "beta3": "(1 - beta3)"}),
        Fault("beta1-for-v", "the average of differences decays as that of gradients",
              edits=(within("v", beta2="beta1"),)),
        Fault("betas-2-and-3-swapped", "squares and differences have each other's beta",
              reads={"beta2": "beta3", "beta3": "beta2"}),
        Fault("v-stale", "the step is made from the average of differences before its update",
              edits=(before("v", "v_old = v"), within("h", v="v_old"), within("v_hat", v="v_old"))),
        Fault("root-missing", "the step is divided by the average of squares itself",
              edits=(within("d", n="(n * n)", n_hat="(n_hat * n_hat)"),)),
        Fault("n-in-bfloat16", "the average of squares is kept in bfloat16: it soon stands still",
              begin=("n = bfloat16(n)",)),
        Fault("previous-gradient-in-bfloat16", "the gradient of the step before is kept in bfloat16: differences of "
              "gradients that hardly change are noise", begin=("p = bfloat16(p)",)),
        rounded_early("m", "v", "n"),
        Fault("beta3-in-float32", "1 - beta3 is computed in float32: twenty ULPs are lost at 0.99",
              reads={"beta3": "float32(beta3)"}),
    ),
)  # fmt: skip
