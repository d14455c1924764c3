"""SM3: Adagrad, with one accumulator for every row and every column in place of one for every element."""

from refopt.rules._faults import GRADIENT, RATE, rounded_early
from refopt.rules._shared import STATE_DTYPE, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, drop, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import max_along, min_along, sqrt, where


def sm3(w, g, m, b, *, lr, beta1):
    v = min_along(b, g) + g * g
    b = max_along(v)
    u = where(v == 0, 0, g / sqrt(v))
    m = beta1 * m + (1 - beta1) * u
    w = w - lr * m
    return w, m, b


SM3 = Rule(
    name="sm3",
    title="SM3, square roots of minima of sums of maxima of squared gradients",
    function=sm3,
    hyper_parameters=(
        lr_of(0.1),
        HyperParameter("beta1", "β₁", 0.9, "[0, 1)", "decay of the moment", ("b1", "beta_1", "momentum"),
                       (0.875, 0.75)),
        HyperParameter("beta2", "β₂", 0.999, "[0, 1)", "decay of the accumulators", ("b2", "beta_2", "beta"),
                       (0.9375, 0.875)),
        HyperParameter("eps", "ε", 1e-30, "[0, inf)", "guard of the division", ("epsilon",), (2**-6, 2**-7)),
    ),
    slots=(
        Slot("m", "m", "moment of the scaled gradients"),
        Slot("b", "b", "accumulators: one for each index along each dimension", clock="set"),
    ),
    axes=(
        Axis("accumulators", "what an accumulator bounds the squares of its elements by", (
            Choice("elements", "the largest of the sums that its elements have now: the tighter bound",
                   "Anil et al. 2019, SM3-II"),
            Choice("gradients", "the sum of the largest squares of each step", "Anil et al. 2019, SM3-I",
                   (before("v", "b = b + max_along(g * g)"), drop("b"), line("v = min_along(b, g)"))),
        )),
        Axis("squares", "whether old squares are forgotten", (
            Choice("summed", "no: they are added up, as by Adagrad", "Anil et al. 2019, SM3-II"),
            Choice("averaged", "they decay by beta2", "optax.scale_by_sm3 with b2 other than 1",
                   (line("v = beta2 * min_along(b, g) + (1 - beta2) * g * g"),),
                   only_with={"accumulators": ("elements",)}),
            Choice("averaged_kept", "they decay by beta2; no accumulator falls, but that of a tensor of no dimension",
                   "kozistr/pytorch_optimizer's SM3 with beta",
                   (line("v = beta2 * min_along(b, g) + (1 - beta2) * g * g"),
                    line("b = maximum(b, ...) if ndim(g) > 0 else ...")),
                   only_with={"accumulators": ("elements",)}),
        )),
        Axis("zero", "what guards the division, where nothing has been accumulated", (
            Choice("zero", "zero divided by zero is zero", "Anil et al. 2019, SM3-II"),
            Choice("eps", "epsilon inside the root", "kozistr/pytorch_optimizer's SM3",
                   (line("u = g / sqrt(v + eps)"),)),
            Choice("eps_positive", "epsilon inside the root, and no step where the sum is not positive, or no number",
                   "optax.sm3", (line("u = g * where(v > 0, 1 / sqrt(v + eps), 0)"),)),
        )),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "Anil et al. 2019, SM3-II with momentum", {}, {"lr": 0.1, "beta1": 0.9}),
        Dialect("optax", "optax.sm3", {"zero": "eps_positive"}, {"beta1": 0.9, "eps": 1e-8}),
        Dialect("pytorch_optimizer", "kozistr/pytorch_optimizer's SM3", {"zero": "eps"},
                {"lr": 0.1, "beta1": 0.0, "eps": 1e-30}),
    ),
    references=(
        Reference("Anil et al., Memory-Efficient Adaptive Optimization (2019)",
                  "algorithms SM3-I and SM3-II; the sets are rows, columns, and slices of tensors",
                  "https://arxiv.org/abs/1901.11150"),
    ),
    faults=(
        *GRADIENT, *RATE,
        Fault("one-dimension", "an element looks at its row alone: rare features are slowed by frequent ones",
              edits=(line("v = min_along_first(b, g) + g * g"),),
              only_with={"accumulators": ("elements",), "squares": ("summed",)}),
        Fault("accumulators-stale", "the gradient of this step is not in its divisor: bursts are not damped",
              edits=(before("v", "v_old = min_along(b, g)"), within("u", v="v_old")),
              only_with={"accumulators": ("elements",)}),
        Fault("accumulators-reset", "accumulators hold the squares of this step alone: nothing is accumulated",
              edits=(line("b = max_along(g * g)"),)),
        Fault("accumulators-of-size", "accumulators hold magnitudes in place of squares",
              edits=(line("b = max_along(sqrt(v))"),), only_with={"accumulators": ("elements",)}),
        Fault("accumulators-kept", "no accumulator falls: what an element owes to a bound once, it owes for ever",
              edits=(line("b = maximum(b, ...)"),),
              only_with={"accumulators": ("elements",), "squares": ("summed", "averaged")}),
        Fault("accumulators-fall", "accumulators fall, though they should not",
              axes={"squares": "averaged"}, only_with={"squares": ("averaged_kept",)}),
        Fault("squares-averaged", "squares decay: the rate no longer falls",
              edits=(line("v = 0.9375 * min_along(b, g) + 0.0625 * g * g"),),
              only_with={"squares": ("summed",), "accumulators": ("elements",)}),
        Fault("squares-summed", "squares are added up, though they should decay: the rate falls for ever",
              axes={"squares": "summed"}, only_with={"squares": ("averaged", "averaged_kept")}),
        Fault("square-added-twice", "the square enters twice: steps are a third too short at first",
              edits=(line("v = ... + g * g"),)),
        Fault("bound-of-gradients", "accumulators add up the largest squares of each step: the looser bound",
              axes={"accumulators": "gradients"}, only_with={"accumulators": ("elements",), "squares": ("summed",)}),
        Fault("bound-of-elements", "accumulators are those of SM3-II",
              axes={"accumulators": "elements"}, only_with={"accumulators": ("gradients",)}),
        Fault("root-missing", "the gradient is divided by the sum of squares: large gradients hardly move",
              edits=(within("u", v="(v * v)"),)),
        Fault("zero-unguarded", "nothing guards the division: an element that never had a gradient is NaN",
              edits=(line("u = g / sqrt(v)"),)),
        Fault("eps-outside", "epsilon is added outside the root",
              edits=(line("u = g / (sqrt(v) + eps)"),), only_with={"zero": ("eps",)}),
        Fault("eps-by-mistake", "epsilon is added to the sum, as optax does: small gradients take shorter steps",
              edits=(line("u = g / sqrt(v + 0.00000001)"),), only_with={"zero": ("zero",)}),
        Fault("nan-contained", "where a NaN has reached an accumulator nothing moves any more, and nobody learns why",
              axes={"zero": "eps_positive"}, only_with={"zero": ("eps",)}),
        Fault("nan-spread", "a NaN in one element makes its row and its column NaN, and then the whole tensor",
              axes={"zero": "eps"}, only_with={"zero": ("eps_positive",)}),
        Fault("moment-stale", "the step is made from the moment before its update: it comes one step late",
              edits=(before("m", "m_old = m"), within("w", m="m_old"))),
        Fault("moment-unscaled", "the scaled gradient enters the moment without 1 - beta1: steps are too long",
              edits=(line("m = beta1 * m + u"),)),
        Fault("moment-of-gradients", "gradients are averaged, and their average divided",
              edits=(line("m = beta1 * m + (1 - beta1) * g"), line("w = w - lr * m / sqrt(v + 0.00000001)"))),
        Fault("moment-lost", "there is no momentum", edits=(line("m = u"),)),
        Fault("moment-in-bfloat16", "the moment is kept in bfloat16", begin=("m = bfloat16(m)",)),
        Fault("accumulators-in-bfloat16", "accumulators are kept in bfloat16: where they are large, they stop growing",
              begin=("b = bfloat16(b)",)),
        rounded_early("m"),
    ),
)  # fmt: skip
