"""NovoGrad: each tensor's gradient is divided by the average of its norm, one number for the tensor, and averaged."""

from refopt.rules._faults import GRADIENT, RATE, decay, rounded_early
from refopt.rules._shared import STATE_DTYPE, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, drop, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import norm, sqrt


def novograd(w, g, m, v, *, t, lr, beta1, beta2, eps, wd):
    n = norm(g)
    v = n * n if t == 1 else beta2 * v + (1 - beta2) * n * n
    d = sqrt(v) + eps
    g = g / d + wd * w
    m = beta1 * m + g
    w = w - lr * m
    return w, m, v


NOVOGRAD = Rule(
    name="novograd",
    title="NovoGrad",
    function=novograd,
    hyper_parameters=(
        lr_of(0.01),
        HyperParameter("beta1", "β₁", 0.95, "[0, 1)", "decay of the moment", ("b1", "beta_1"), (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.98, "[0, 1)", "decay of the squared norm", ("b2", "beta_2"),
                       (0.9375, 0.875)),
        HyperParameter("eps", "ε", 1e-8, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
        HyperParameter("eps_root", "ε′", 0.0, "[0, inf)", "guard inside the root", (), (2**-4, 2**-3)),
        HyperParameter("wd", "λ", 0.0, "[0, inf)", "weight decay", ("weight_decay",), (0.0, 0.125, 0.0625)),
    ),
    slots=(Slot("m", "m", "moment"), Slot("v", "v", "average of the squared norm", clock="tensor")),
    axes=(
        Axis("first_norm", "what the average of the squared norm is at first", (
            Choice("first", "the first square, as it is", "Ginsburg et al. 2019, Algorithm 1; optax"),
            Choice("when_zero", "whenever it is zero, the next square as it is", "timm's NvNovoGrad",
                   (line("v = n * n if v == 0 else beta2 * v + (1 - beta2) * n * n"),)),
            Choice("zeros", "it starts at zero, and is updated as at every step",
                   "apex.optimizers.FusedNovoGrad with init_zero",
                   (line("v = beta2 * v + (1 - beta2) * n * n"),)),
        )),
        Axis("eps_at", "where epsilon joins the root", (
            Choice("outside", "added to the root", "Ginsburg et al. 2019, Algorithm 1"),
            Choice("both", "eps_root inside the root, eps outside", "optax with eps_root",
                   (line("d = sqrt(v + eps_root) + eps"),)),
        )),
        Axis("normalized", "what is divided by the norm, and has the weight decay added to it", (
            Choice("gradient", "the gradient, on its way into the moment", "Ginsburg et al. 2019, Algorithm 1"),
            Choice("moment", "the moment, at the step",
                   "apex.optimizers.FusedNovoGrad, unless reg_inside_moment",
                   (drop("g"), line("w = w - lr * (m / d + wd * w)"))),
        )),
        Axis("gradient_scale", "what scales the gradient on its way into the moment", (
            Choice("one", "it enters as it is", "Ginsburg et al. 2019, Algorithm 1; optax"),
            Choice("ema", "by one minus beta1: the moment is an average",
                   "apex.optimizers.FusedNovoGrad with grad_averaging",
                   (line("m = beta1 * m + (1 - beta1) * g"),)),
        )),
        Axis("bias", "whether the averages are corrected for their start", (
            Choice("none", "they are used as they are", "Ginsburg et al. 2019, Algorithm 1; optax"),
            Choice("both", "both are, by 1 - beta**t", "apex.optimizers.FusedNovoGrad with bias_correction",
                   (before("d", "c1 = 1 - beta1**t", "c2 = 1 - beta2**t"),
                    within("d", v="v / c2"), within("w", m="m / c1"))),
        )),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "Ginsburg et al. 2019, Algorithm 1", {}, {"lr": 0.01}),
        Dialect("optax", "optax.novograd", {"eps_at": "both"}, {"beta1": 0.9, "beta2": 0.25, "eps": 1e-6}),
        Dialect("apex", "apex.optimizers.FusedNovoGrad",
                {"normalized": "moment", "gradient_scale": "ema", "bias": "both"},
                {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),
    ),
    references=(
        Reference("Ginsburg et al., Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep "
                  "Networks (2019)", "Algorithm 1", "https://arxiv.org/abs/1905.11286"),
    ),
    faults=(
        *GRADIENT, *RATE, *(f for f in decay(decoupled=False) if "decay" not in f.only_with),
        Fault("norm-of-a-shard", "each process takes the norm of its own half: the step follows how a model is cut",
              edits=(line("n = norm(first_half(g))"),)),
        Fault("norm-not-squared", "the norm is averaged, and its root taken: steps depend on the gradient's scale",
              edits=(line("n = sqrt(norm(g))"),)),
        Fault("root-missing", "the gradient is divided by its squared norm: large gradients hardly move",
              edits=(within("d", v="(v * v)"),)),
        Fault("norm-of-decayed-gradient", "the decayed gradient is measured",
              edits=(line("n = norm(g + wd * w)"),)),
        Fault("decay-normalized", "the weight decay is divided by the norm, too: it vanishes where gradients are large",
              edits=(line("g = (g + wd * w) / d"),), only_with={"normalized": ("gradient",)}),
        Fault("norm-of-today", "the gradient is divided by its own norm: nothing is averaged",
              edits=(line("v = n * n"),)),
        Fault("norm-stale", "the step is made with the average before its update: the first divides by eps",
              edits=(before("v", "v_old = v"), within("d", v="v_old"))),
        Fault("moment-stale", "the step is made from the moment before its update: it comes one step late",
              edits=(before("m", "m_old = m"), within("w", m="m_old"))),
        Fault("norm-unscaled", "the square enters its average without 1 - beta2: steps shrink",
              edits=(line("v = n * n if t == 1 else beta2 * v + n * n"),)),
        Fault("betas-swapped", "each average has the other's beta",
              edits=(within("v", beta2="beta1"), within("m", beta1="beta2"))),
        Fault("first-norm-averaged", "the average starts at zero: the first steps are far too long",
              axes={"first_norm": "zeros"}, only_with={"first_norm": ("first", "when_zero")}),
        Fault("first-norm-copied", "the first square is copied, though the average should start at zero",
              axes={"first_norm": "first"}, only_with={"first_norm": ("zeros",)}),
        Fault("moment-averaged", "the gradient is scaled by 1 - beta1: steps are twenty times too short",
              axes={"gradient_scale": "ema"}, only_with={"gradient_scale": ("one",)}),
        Fault("moment-summed", "the gradient is not scaled by 1 - beta1: steps are twenty times too long",
              axes={"gradient_scale": "one"}, only_with={"gradient_scale": ("ema",)}),
        Fault("bias-missing", "the averages are not corrected for their start",
              axes={"bias": "none"}, only_with={"bias": ("both",)}),
        Fault("eps-inside", "epsilon is added inside the root: it acts as its square root",
              edits=(line("d = sqrt(v + eps)"),)),
        Fault("eps-lost", "epsilon is rounded to zero: a gradient of zero gives NaN", reads={"eps": "(eps * 0)"}),
        Fault("moment-in-bfloat16", "the moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("norm-in-bfloat16", "the average of the squared norm is kept in bfloat16", begin=("v = bfloat16(v)",)),
        rounded_early("m"),
    ),
)  # fmt: skip
