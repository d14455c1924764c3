"""AdaBelief: steps are long where the gradient is what the first moment predicts, short where it is not.

The paper squares g - m, where m has g in it already. That is beta1 times g - m with the moment before, and written so
here: where gradients are steady, m is almost g, and the difference of the two would lose most digits.

The paper writes one epsilon twice. It is added to the root, and to the variance s, which keeps it, so that it piles up
to eps / (1 - beta2): by mistake at first, say the authors, who wrote `add_` in place of `add`. Their code, and so
timm's, also rectifies the step as RAdam does, unless told not to: by a factor that has the second correction in it.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sqrt


def adabelief(w, g, m, s, *, t, lr, beta1, beta2, eps):
    r = beta1 * (g - m)
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * r * r + eps
    c1 = 1 - beta1**t
    c2 = 1 - beta2**t
    m_hat = m / c1
    s_hat = s / c2
    d = sqrt(s_hat) + eps
    w = w - lr * m_hat / d
    return w, m, s


S_MAX = Slot("s_max", "s̄", "largest variance so far")

RECTIFIED = before(
    "w",
    "rho_inf = 2 / (1 - beta2) - 1",
    "rho = rho_inf - 2 * t * beta2**t / c2",
    "rect = sqrt((rho - 4) / (rho_inf - 4) * (rho - 2) / (rho_inf - 2) * rho_inf / rho)",
)

ADABELIEF = Rule(
    name="adabelief",
    title="AdaBelief",
    function=adabelief,
    hyper_parameters=(
        lr_of(0.001),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the first moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the variance", ("b2", "beta_2"), (0.96875, 0.9375)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division, and what the variance is raised by",
                       ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "what the variance is raised by, if that is not eps", (),
                       (2**-8, 2**-6)),
        WD,
    ),
    slots=(Slot("m", "m", "first moment"), Slot("s", "s", "variance of the gradient about the first moment")),
    axes=(
        decay_axis(l2=before("r", "g = g + wd * w")),
        Axis("eps_in", "what the variance is raised by", (
            Choice("kept", "eps at every step, which the variance keeps: it piles up",
                   "Zhuang et al. 2020, Algorithm 2; the authors' code, timm"),
            Choice("kept_root", "eps_root at every step, which the variance keeps", "optax",
                   (line("s = beta2 * s + (1 - beta2) * r * r + eps_root"),)),
            Choice("used", "eps where it is used, before the correction: the variance does not keep it",
                   "Zhuang et al. 2020, arXiv version 2 and the appendix",
                   (line("s = beta2 * s + (1 - beta2) * r * r"), within("s_hat", s="(s + eps)"))),
            Choice("none", "nothing", "Zhuang et al. 2020, arXiv version 1, main text; Flux.jl until 2022",
                   (line("s = beta2 * s + (1 - beta2) * r * r"),)),
        )),
        Axis("eps_out", "where epsilon joins the root", (
            Choice("hat", "added to the root of the corrected variance", "Zhuang et al. 2020, Algorithm 2; optax"),
            Choice("raw", "added to the root of the raw variance",
                   "the authors' code and timm where they rectify", (line("d = sqrt(s_hat) + eps / sqrt(c2)"),)),
        )),
        Axis("rectified", "whether the step waits until the variance can be trusted", (
            Choice("no", "it does not wait", "Zhuang et al. 2020, Algorithm 2; optax"),
            Choice("plain", "as RAdam: before, the step is the first moment; then it is scaled",
                   "the authors' code and timm, by default",
                   (RECTIFIED, line("w = w - lr * m_hat if rho < 5 else w - lr * rect * m_hat / d"))),
            Choice("skip", "as RAdam, but before there is no step", "the same with degenerated_to_sgd=False",
                   (RECTIFIED, line("w = w if rho < 5 else w - lr * rect * m_hat / d"))),
        )),
        Axis("belief", "whose deviation the variance is that of", (
            Choice("new", "of the gradient from the first moment with that gradient in it",
                   "Zhuang et al. 2020, Algorithm 2"),
            Choice("old", "from the first moment before", "optax until November 2024",
                   (line("r = g - m"),),
                   only_with={"eps_in": ("kept_root",), "rectified": ("no",)}),
        )),
        Axis("bias", "which moments are corrected for their start at zero", (
            Choice("both", "both moments", "Zhuang et al. 2020, Algorithm 2"),
            Choice("none", "neither moment", "Zhuang et al. 2020, arXiv version 1, main text; Flux.jl until 2022",
                   (line("c1 = 1"), line("c2 = 1")), only_with={"rectified": ("no",), "belief": ("new",)}),
        )),
        Axis("nesterov", "whether the step looks ahead", (
            Choice("no", "it follows the first moment", "Zhuang et al. 2020, Algorithm 2"),
            Choice("yes", "it follows the first moment as the next step would have it, were its gradient this one",
                   "optax with nesterov=True",
                   (before("m_hat", "c3 = 1 - beta1 ** (t + 1)"),
                    line("m_hat = beta1 * m / c3 + (1 - beta1) * g / c1")),
                   only_with={"rectified": ("no",), "bias": ("both",)}),
        )),
        Axis("amsgrad", "whether the variance may shrink", (
            Choice("no", "it may shrink", "Zhuang et al. 2020, Algorithm 2"),
            Choice("raw", "its largest value so far is corrected and used", "the authors' code and timm, amsgrad=True",
                   (after("s", "s_max = maximum(s_max, s)"), within("s_hat", s="s_max")), (S_MAX,),
                   only_with={"rectified": ("no",), "belief": ("new",), "nesterov": ("no",)}),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Zhuang et al. 2020, Algorithm 2", {}, {"eps": 1e-8}),
        Dialect("authors", "adabelief_pytorch.AdaBelief from 0.1.0, timm.optim.AdaBelief",
                {"decay": "decoupled", "eps_out": "raw", "rectified": "plain"}, {"eps": 1e-16}),
        Dialect("optax", "optax.adabelief",
                {"eps_in": "kept_root", "complex": "modulus"}, {"eps": 1e-16, "eps_root": 1e-16}),
    ),
    references=(
        Reference("Zhuang et al., AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed Gradients (2020)",
                  "Algorithm 2", "https://arxiv.org/abs/2010.07468"),
        Reference("Liu et al., On the Variance of the Adaptive Learning Rate and Beyond (2020)",
                  "Algorithm 2, for the rectification", "https://arxiv.org/abs/1908.03265"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(), *counter("c1", "c2", "rho"),
        Fault("bias-missing", "neither moment is corrected: the warm-up is another one",
              reports("FluxML/Flux.jl/issues/1962"), (line("c1 = 1"), line("c2 = 1")),
              only_with={"rectified": ("no",)}),
        Fault("bias-missing-m", "the first moment is not corrected: early steps are ten times too short",
              edits=(line("c1 = 1"),)),
        Fault("bias-missing-s", "the variance is not corrected: early steps are many times too long",
              edits=(line("c2 = 1"),), only_with={"rectified": ("no",)}),
        Fault("bias-without-power", "1 - beta is used at every step in place of 1 - beta**t: steps stay wrong for ever",
              edits=(line("c1 = 1 - beta1"), line("c2 = 1 - beta2"))),
        Fault("bias-kept", "the corrected first moment is kept as the moment: corrections pile up",
              edits=(after("m_hat", "m = m_hat"),)),
        Fault("belief-of-old-moment", "the deviation is that from the first moment before this gradient: the variance "
              "is larger by the square of beta1, steps are shorter", reports("google-deepmind/optax/pull/1130"),
              (line("r = g - m"),), only_with={"belief": ("new",)}),
        Fault("belief-of-corrected-moment", "the deviation is that from the corrected moment: it is zero at first, and "
              "the first step divides by eps",
              edits=(line("r = g - (beta1 * m + (1 - beta1) * g) / (1 - beta1**t)"),), only_with={"belief": ("new",)}),
        Fault("belief-missing", "the variance averages the square of the gradient itself: it is Adam",
              edits=(line("r = g"),)),
        Fault("belief-of-bare-gradient", "the variance is that of the gradient before it is decayed",
              reports("juntang-zhuang/Adabelief-Optimizer/issues/56", "juntang-zhuang/Adabelief-Optimizer/pull/33"),
              (line("r = ... - wd * w"),), only_with={"decay": ("l2",)}),
        Fault("s-of-magnitude", "the variance averages the deviation, not its square",
              edits=(after("r", "r = sqrt(abs(r))"),)),
        Fault("eps-piles-up", "the variance keeps epsilon, as add_ does in place of add: in the end all elements have "
              "the same step", reports("juntang-zhuang/Adabelief-Optimizer/issues/18"),
              axes={"eps_in": "kept"}, only_with={"eps_in": ("used",)}),
        Fault("eps-forgotten", "epsilon is added where the variance is used, which does not keep it",
              reports("juntang-zhuang/Adabelief-Optimizer/issues/61"),
              axes={"eps_in": "used"}, only_with={"eps_in": ("kept",)}),
        Fault("eps-missing-inside", "nothing is added to the variance: where the gradient is steady the step divides "
              "by almost nothing", reports("juntang-zhuang/Adabelief-Optimizer/issues/23"),
              axes={"eps_in": "none"}, only_with={"eps_in": ("kept", "kept_root", "used")}),
        Fault("eps-one-for-both", "the variance is raised by eps, though eps_root was given",
              reports("google-deepmind/optax/issues/440"),
              axes={"eps_in": "kept"}, only_with={"eps_in": ("kept_root",)}),
        Fault("eps-missing-outside", "epsilon is not added to the root", edits=(line("d = sqrt(s_hat)"),)),
        Fault("eps-on-raw", "epsilon is added to the root of the raw variance: early steps see a larger one",
              axes={"eps_out": "raw"}, only_with={"eps_out": ("hat",)}),
        Fault("eps-on-corrected", "epsilon is added to the root of the corrected variance: early steps see a smaller",
              axes={"eps_out": "hat"}, only_with={"eps_out": ("raw",)}),
        Fault("m-unscaled", "the gradient enters the first moment without 1 - beta1: steps are ten times too long",
              edits=(line("m = beta1 * m + g"),)),
        Fault("s-unscaled", "the square enters the variance without 1 - beta2: steps are thirty times too short",
              edits=(after("r", "r = r / sqrt(1 - beta2)"),)),
        Fault("m-stale", "the step is made from the first moment before its update: it comes one step late",
              edits=(before("m", "m_last = m"), within("m_hat", m="m_last"))),
        Fault("s-stale", "the step is made from the variance before its update: the first step divides by eps",
              edits=(before("s", "s_last = s"), within("s_hat", s="s_last", s_max="s_last"))),
        Fault("betas-swapped", "each moment has the other's beta: m averages for too long, s forgets",
              edits=(within("m", beta1="beta2"), within("s", beta2="beta1"))),
        Fault("root-missing", "the step is divided by the variance itself: noisy gradients hardly move",
              edits=(within("d", s_hat="(s_hat * s_hat)"),)),
        Fault("rectification-lost", "the step does not wait for the variance: early ones are too long",
              axes={"rectified": "no"}, only_with={"rectified": ("plain", "skip")}),
        Fault("rectified-from-four", "the step is rectified from 4 on, as RAdam's paper has it, not from 5",
              edits=(after("rect", "rho = rho + 1"),), only_with={"rectified": ("plain", "skip")}),
        Fault("rectification-squared", "the root is missing in the rectification: early steps are too short",
              edits=(after("rect", "rect = rect * rect"),), only_with={"rectified": ("plain", "skip")}),
        Fault("early-steps-skipped", "nothing moves before the variance can be trusted, where the first moment should",
              axes={"rectified": "skip"}, only_with={"rectified": ("plain",)}),
        Fault("m-in-bfloat16", "the first moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("s-in-bfloat16", "the variance is kept in bfloat16: with beta2 of 0.999 it soon stands still",
              begin=("s = bfloat16(s)",)),
        rounded_early("m", "s"),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.999 becomes 1, and s only collects eps",
              reads={"beta2": "bfloat16(beta2)"}),
        Fault("beta2-in-float32", "1 - beta2 is computed in float32: 216 ULPs are lost at 0.999",
              reads={"beta2": "float32(beta2)"}),
        Fault("nesterov-by-mistake", "the step looks ahead, though it should not",
              edits=(line("m_hat = (beta1 * m + (1 - beta1) * g) / c1"),), only_with={"nesterov": ("no",)}),
        Fault("nesterov-of-today", "what is left of the first moment is corrected for this step, not for the next",
              edits=(within("c3", t="(t - 1)"),), only_with={"nesterov": ("yes",)}),
        Fault("nesterov-lost", "the step does not look ahead, though it should",
              axes={"nesterov": "no"}, only_with={"nesterov": ("yes",)}),
        Fault("amsgrad-lost", "the variance may shrink, though AMSGrad was asked for",
              axes={"amsgrad": "no"}, only_with={"amsgrad": ("raw",)}),
    ),
)  # fmt: skip
