"""Lion: the sign of an average of gradients, found by a search through programs.

Two averages share one slot. What the sign is taken of forgets with beta1, what is kept for the next step with beta2:
the newest gradient weighs more in a step than in the memory. The paper's line `w - lr * (sign(c) + wd * w)` is
decoupled decay before the step, but for a rounding.
"""

from refopt.rules._faults import GRADIENT, RATE, decay, reports
from refopt.rules._shared import COMPLEX, STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import sign


def lion(w, g, m, *, t, lr, beta1, beta2):
    c = beta1 * m + (1 - beta1) * g
    s = sign(c)
    w = w - lr * s
    m = beta2 * m + (1 - beta2) * g
    return w, m


SIGNS = ("sign", "sign_nan_zero")

LION = Rule(
    name="lion",
    title="Lion, evolved sign momentum",
    function=lion,
    hyper_parameters=(
        lr_of(1e-4),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "weight of the past in the step", ("b1", "beta_1"),
                       (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.99, "[0, 1)", "decay of the momentum", ("b2", "beta_2"), (0.96875, 0.9375)),
        WD,
    ),
    slots=(Slot("m", "m", "momentum"),),
    axes=(
        decay_axis(l2=before("c", "g = g + wd * w")),
        Axis("direction", "what the average is turned into", (
            Choice("sign", "its sign: all elements move by the learning rate, or not at all",
                   "Chen et al. 2023, Algorithm 2; optax.lion, Keras on JAX or TensorFlow"),
            Choice("sign_nan_zero", "its sign, of NaN 0: a parameter that has met a NaN stands still",
                   "whatever calls torch.sign: lion-pytorch, timm, Keras on torch",
                   (line("s = where(c != c, 0, sign(c))"),)),
            Choice("clipped", "the average itself, cut at -1 and 1: small averages make small steps",
                   "optax.scale_by_lion with mode='refined'", (line("s = minimum(maximum(c, -1), 1)"),)),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Chen et al. 2023, Algorithm 2", {"decay": "decoupled"}, {"lr": 1e-4}),
        Dialect("lion_pytorch", "lion-pytorch's Lion, timm.optim.Lion",
                {"decay": "decoupled", "direction": "sign_nan_zero"}, {"lr": 1e-4}),
        Dialect("optax", "optax.lion", {"decay": "decoupled", "complex": "modulus"}, {"wd": 1e-3}),
        Dialect("keras", "keras.optimizers.Lion", {"decay": "decoupled"}, {"lr": 1e-3}),
    ),
    references=(
        Reference("Chen et al., Symbolic Discovery of Optimization Algorithms (2023)", "Algorithm 2; Program 1",
                  "https://arxiv.org/abs/2302.06675"),
    ),
    faults=(
        *GRADIENT, *RATE, *decay(),
        Fault("betas-swapped", "each average has the other's beta: steps lag behind, the memory is short",
              edits=(within("c", beta1="beta2"), within("m", beta2="beta1"))),
        Fault("beta2-for-both", "the sign is taken of the new momentum, as in Signum: the newest gradient weighs less",
              edits=(within("c", beta1="beta2"),)),
        Fault("beta1-for-both", "what the sign was taken of is kept as the momentum: it forgets ten times too fast",
              edits=(within("m", beta2="beta1"),)),
        Fault("momentum-first", "the momentum is updated before the step is made from it: the newest gradient counts "
              "twice",
              edits=(before("c", "m_old = m", "m = beta2 * m + (1 - beta2) * g"), within("m", m="m_old"))),
        Fault("momentum-stale", "the step is made from the momentum alone: the gradient comes one step late, and the "
              "first step goes nowhere", edits=(line("c = m"),)),
        Fault("weights-exchanged", "beta is the weight of the gradient, not of the past: hardly anything is averaged",
              reports("FluxML/Optimisers.jl/pull/129"),
              (within("c", beta1="(1 - beta1)"), within("m", beta2="(1 - beta2)"))),
        Fault("gradient-unscaled", "the gradient enters the sign without 1 - beta1: the momentum hardly matters",
              edits=(line("c = beta1 * m + g"),)),
        Fault("momentum-unscaled", "the gradient enters the momentum without 1 - beta2: it drowns the newest gradient",
              edits=(line("m = beta2 * m + g"),)),
        Fault("momentum-of-signs", "the momentum averages signs, not gradients: large gradients lose their say",
              edits=(line("m = beta2 * m + (1 - beta2) * s"),)),
        Fault("sign-missing", "the step is the average itself: with Lion's small rates nothing moves",
              edits=(line("s = c"),), only_with={"direction": SIGNS}),
        Fault("sign-of-gradient", "the step is the sign of the gradient: there is no momentum",
              edits=(line("s = sign(g)"),), only_with={"direction": SIGNS}),
        Fault("sign-of-zero", "the sign of zero is taken for 1: parameters that are not used wander off",
              edits=(line("s = where(c == 0, 1, sign(c))"),), only_with={"direction": SIGNS}),
        Fault("sign-of-nan", "the sign of NaN is taken for zero: a parameter that has met a NaN stands still for ever, "
              "and nothing shows it", reports("pytorch/pytorch/issues/41245"),
              axes={"direction": "sign_nan_zero"}, only_with={"direction": ("sign",)}),
        Fault("clip-missing", "the average is not cut: a burst of gradients makes a huge step",
              edits=(line("s = c"),), only_with={"direction": ("clipped",)}),
        Fault("sign-not-clipped", "the sign is taken, though small averages should make small steps",
              axes={"direction": "sign"}, only_with={"direction": ("clipped",)}),
        Fault("decay-in-the-sign", "the sign is taken of the average and the decay: weights only decay where that "
              "turns the sign", edits=(line("s = sign(c + wd * w)"),), axes={"decay": "none"},
              only_with={"decay": ("decoupled", "decoupled_after"), "direction": SIGNS}),
        Fault("momentum-in-bfloat16", "the momentum is kept in bfloat16: with beta2 of 0.99 small gradients are lost",
              begin=("m = bfloat16(m)",)),
        Fault("beta2-in-bfloat16", "beta2 is rounded to bfloat16: 0.99 becomes 0.9883",
              reads={"beta2": "bfloat16(beta2)"}),
        Fault("beta2-in-float32", "1 - beta2 is computed in float32: twenty ULPs are lost at 0.99",
              reads={"beta2": "float32(beta2)"}),
    ),
)  # fmt: skip
