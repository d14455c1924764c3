"""Yogi: Adam whose second moment moves by the square of the gradient alone, up or down, however far it has to go.

The paper corrects neither moment for its start at zero, and proposes to start v from the square of a gradient.
Its implementations correct both moments, though v is no average, and start them from a small number. Corrected, that is
a gradient nobody has seen: with beta1 of 0.9 optax adds nine times the number to the first gradient.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sign, sqrt


def yogi(w, g, m, v, *, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    s = g * g
    v = v - (1 - beta2) * sign(v - s) * s
    d = sqrt(v) + eps
    w = w - lr * m / d
    return w, m, v


V_STARTS = before("v", "v = full_like(v, start) if t == 1 else v")
M_STARTS = before("m", "m = full_like(m, start) if t == 1 else m")

YOGI = Rule(
    name="yogi",
    title="Yogi",
    function=yogi,
    hyper_parameters=(
        lr_of(0.01),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "one less the rate of the second moment", ("b2", "beta_2"),
                       (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-3, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-8, 2**-6)),
        HyperParameter("start", "a", 1e-6, "[0, inf)", "what moments start from",
                       ("initial_accumulator", "initial_accumulator_value"), (2**-10, 2**-9)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("v", "v", "second raw moment")),
    axes=(
        decay_axis(l2=before("m", "g = g + wd * w")),
        Axis("starts_at", "what the moments start from", (
            Choice("zero", "both from zero", "Zaheer et al. 2018, Algorithm 2"),
            Choice("v", "the second from a number, the first from zero", "tensorflow_addons.optimizers.Yogi",
                   (V_STARTS,)),
            Choice("both", "both from the same number", "torch_optimizer.Yogi, optax.scale_by_yogi",
                   (M_STARTS, V_STARTS)),
            Choice("fixed", "both from 1e-6, which is no argument", "optax.yogi",
                   (before("m", "m = full_like(m, 1e-6) if t == 1 else m"),
                    before("v", "v = full_like(v, 1e-6) if t == 1 else v"))),
            Choice("gradient", "the second from the square of the first gradient, the first from zero",
                   "Zaheer et al. 2018, as a proposal; of a large batch",
                   (before("v", "v = s if t == 1 else v"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside", "added to the root of the moment, corrected if it is", "Zaheer et al. 2018; optax"),
            Choice("outside_raw", "added to the root of the moment before its correction",
                   "tensorflow_addons.optimizers.Yogi", (line("d = sqrt(v) + eps / sqrt(c2)"),),
                   only_with={"bias": ("both",)}),
            Choice("both", "eps_root inside the root, eps outside", "optax.scale_by_yogi",
                   (line("d = sqrt(v + eps_root) + eps"),)),
        )),
        Axis("bias", "whether the moments are corrected as if they had started at zero", (
            Choice("none", "they are not", "Zaheer et al. 2018, Algorithm 2"),
            Choice("both", "both, as in Adam", "optax, torch_optimizer.Yogi, tensorflow_addons.optimizers.Yogi",
                   (before("d", "c1 = 1 - beta1**t", "c2 = 1 - beta2**t", "m_hat = m / c1", "v_hat = v / c2"),
                    within("d", v="v_hat"), within("w", m="m_hat"))),
            Choice("v_only", "the second only", "pytorch_optimizer.Yogi with adam_debias=True",
                   (before("d", "c2 = 1 - beta2**t", "v_hat = v / c2"), within("d", v="v_hat")),),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Zaheer et al. 2018, Algorithm 2", {}, {"lr": 0.01, "eps": 1e-3}),
        Dialect("optax", "optax.yogi", {"starts_at": "fixed", "bias": "both", "complex": "modulus"}, {"eps": 1e-3}),
        Dialect("jettify", "torch_optimizer.Yogi", {"starts_at": "both", "bias": "both", "decay": "l2"},
                {"lr": 0.01, "eps": 1e-3}),
        Dialect("addons", "tensorflow_addons.optimizers.Yogi",
                {"starts_at": "v", "bias": "both", "eps_at": "outside_raw"}, {"lr": 0.01, "eps": 1e-3}),
    ),
    references=(
        Reference("Zaheer, Reddi, Sachan, Kale & Kumar, Adaptive Methods for Nonconvex Optimization (2018)",
                  "Algorithm 2", "https://papers.nips.cc/paper/8186-adaptive-methods-for-nonconvex-optimization"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("c1", "c2"),
        Fault("bias-by-mistake", "both moments are corrected, as in Adam: early steps are many times shorter",
              axes={"bias": "both"}, only_with={"bias": ("none",), "eps_at": ("outside", "both")}),
        Fault("bias-missing", "neither moment is corrected: early steps are many times longer",
              axes={"bias": "none", "eps_at": "outside"}, only_with={"bias": ("both",), "eps_at": ("outside",)}),
        Fault("bias-without-power", "1 - beta is used at every step in place of 1 - beta**t: steps stay wrong for ever",
              edits=(within("c1", t="1"), within("c2", t="1"))),
        Fault("bias-kept", "the corrected first moment is kept as the moment: corrections pile up",
              edits=(after("m_hat", "m = m_hat"),)),
        Fault("v-averaged", "the second moment averages the square, as Adam's does, and forgets a burst at once",
              edits=(line("v = beta2 * v + (1 - beta2) * s"),)),
        Fault("sign-missing", "the square is weighed by the difference, not by its sign: the dimensions are wrong",
              edits=(line("v = v - (1 - beta2) * (v - s) * s"),)),
        Fault("sign-reversed", "the second moment moves away from the square: it shrinks below zero, the root is NaN",
              edits=(line("v = v + (1 - beta2) * sign(v - s) * s"),)),
        Fault("sign-of-gradient", "the second moment is compared with the gradient, as the text of TensorFlow Addons "
              "has it, not with its square: negative gradients only ever shrink it",
              edits=(line("v = v - (1 - beta2) * sign(v - g) * s"),)),
        Fault("square-averaged", "the signed square is squared again, and averaged",
              reports("google-deepmind/optax/pull/288"),
              (line("v = beta2 * v + (1 - beta2) * (sign(v - s) * s) * (sign(v - s) * s)"),)),
        Fault("only-up", "the second moment never shrinks, as AdaGrad's",
              edits=(line("v = v + (1 - beta2) * maximum(sign(s - v), 0) * s"),)),
        Fault("v-decays", "the second moment also decays by beta2",
              edits=(line("v = beta2 * v - (1 - beta2) * sign(v - s) * s"),)),
        Fault("v-unscaled", "the square enters the second moment without 1 - beta2: it is the last square or two",
              edits=(line("v = v - sign(v - s) * s"),)),
        Fault("m-unscaled", "the gradient enters the first moment without 1 - beta1: steps are ten times too long",
              edits=(line("m = beta1 * m + g"),)),
        Fault("m-starts-too", "the first moment starts from the number, which is for the second: first steps follow a "
              "gradient that was never seen", reports("jettify/pytorch-optimizer/issues/77"),
              axes={"starts_at": "both"}, only_with={"starts_at": ("v",)}),
        Fault("m-starts-at-zero", "the first moment starts at zero, though it should start from the number",
              edits=(before("m", "m = full_like(m, 0) if t == 1 else m"),),
              only_with={"starts_at": ("both", "fixed")}),
        Fault("starts-at-zero", "the second moment starts at zero: first steps are as long as it is small",
              reports("jettify/pytorch-optimizer/issues/77"),
              axes={"starts_at": "zero"}, only_with={"starts_at": ("v", "both", "fixed", "gradient")}),
        Fault("starts-at-gradient", "the second moment starts from the square of the first gradient",
              axes={"starts_at": "gradient"}, only_with={"starts_at": ("zero", "v")}),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its square root",
              edits=(line("d = sqrt(v + eps)"),), only_with={"bias": ("none",)}),
        Fault("eps-on-raw", "epsilon is added to the root before the correction: early steps see a larger one",
              axes={"eps_at": "outside_raw"}, only_with={"eps_at": ("outside",), "bias": ("both",)}),
        Fault("eps-on-corrected", "epsilon is added to the root after the correction: early steps see a smaller one",
              axes={"eps_at": "outside"}, only_with={"eps_at": ("outside_raw",)}),
        Fault("eps-of-adam", "epsilon is Adam's 1e-8, whatever was asked for: where gradients are small steps are not",
              reads={"eps": "(eps * 0 + 1e-8)"}),
        Fault("m-stale", "the step is made from the first moment before its update: it comes one step late",
              edits=(before("m", "m_last = m"), within("m_hat", m="m_last"), within("w", m="m_last"))),
        Fault("betas-swapped", "each moment has the other's beta: m averages for too long, v jumps",
              edits=(within("m", beta1="beta2"), within("v", beta2="beta1"))),
        Fault("root-missing", "the step is divided by the second moment itself: large gradients hardly move",
              edits=(within("d", v_hat="(v_hat * v_hat)", v="(v * v)"),)),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("v-in-bfloat16", "the second moment is kept in bfloat16: it soon stands still",
              begin=("v = bfloat16(v)",)),
        rounded_early("m", "v"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and v stands still",
              reads={"beta2": "bfloat16(beta2)"}),
        Fault("beta2-in-float32", "1 - beta2 is computed in float32: 216 ULPs are lost at 0.999",
              reads={"beta2": "float32(beta2)"}),
    ),
)  # fmt: skip
