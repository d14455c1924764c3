"""Rprop, resilient backpropagation: only the signs of the gradients count, and each element has a step size of its own.

The learning rate is what the step sizes start from; a later one changes nothing. The papers ask for the sign of the
product of two gradients in a row. The product of the signs is the same, and does not underflow.
"""

from refopt.rules._faults import GRADIENT, reports, rounded_early
from refopt.rules._shared import COMPLEX, STATE_DTYPE
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import full_like, maximum, minimum, sign, where


def rprop(w, g, s, g_old, d, *, t, lr, eta_minus, eta_plus, s_min, s_max):
    p = sign(g_old) * sign(g)
    old = full_like(s, lr) if t == 1 else s
    grown = minimum(eta_plus * old, s_max)
    shrunk = maximum(eta_minus * old, s_min)
    s = where(p > 0, grown, where(p < 0, shrunk, old))
    step = s * sign(g)
    d = where(p < 0, -d, step)
    w = w - d
    g_old = where(p < 0, 0, g)
    return w, s, g_old, d


BOUNDED = "minimum(maximum({}, s_min), s_max)"

RPROP = Rule(
    name="rprop",
    title="Rprop",
    function=rprop,
    hyper_parameters=(
        HyperParameter("lr", "δ₀", 0.1, "[0, inf)", "step size that every element starts from", ("learning_rate",)),
        HyperParameter("eta_minus", "η₋", 0.5, "(0, 1)", "factor of a step size when the gradient changes its sign",
                       ("etaminus",), (0.5, 0.25, 0.75)),
        HyperParameter("eta_plus", "η₊", 1.2, "(1, inf)", "factor of a step size when the gradient keeps its sign",
                       ("etaplus",), (1.25, 1.5, 1.125)),
        HyperParameter("s_min", "δ₋", 1e-6, "[0, inf)", "least step size", ("step_size_min", "min_step_size"),
                       (2**-5, 0.1875, 2**-6)),
        HyperParameter("s_max", "δ₊", 50.0, "[0, inf)", "largest step size", ("step_size_max", "max_step_size"),
                       (0.5, 1.0, 0.046875)),
    ),
    slots=(Slot("s", "δ", "step size"),
           Slot("g_old", "γ", "gradient of the step before, 0 after a change of sign"),
           Slot("d", "d", "step that was taken")),
    axes=(
        Axis("sign_change", "what becomes of an element whose gradient has changed its sign", (
            Choice("back", "its last step is taken back, and the gradient forgotten: the next one finds no change",
                   "Riedmiller & Braun 1993; Rprop+ in Igel & Hüsken 2003"),
            Choice("on", "it steps on, by its smaller step size", "Riedmiller 1994; Rprop- in Igel & Hüsken 2003",
                   (line("d = step"), line("g_old = g"))),
            Choice("rest", "it stays where it is, and the gradient is forgotten",
                   "iRprop- in Igel & Hüsken 2003; torch, optax", (line("d = where(p < 0, 0, step)"),)),
        )),
        Axis("bounds", "when a step size is kept within its bounds", (
            Choice("apart", "the largest when it grows, the least when it shrinks", "Riedmiller & Braun 1993"),
            Choice("both", "both, when it grows or shrinks", "optax.rprop",
                   (line(f"grown = {BOUNDED.format('eta_plus * old')}"),
                    line(f"shrunk = {BOUNDED.format('eta_minus * old')}"))),
            Choice("always", "both, at every step, the first one included", "torch.optim.Rprop",
                   (line("grown = eta_plus * old"), line("shrunk = eta_minus * old"),
                    after("s", f"s = {BOUNDED.format('s')}"))),
        )),
        Axis("moment", "when a step is taken", (
            Choice("now", "at once", "Riedmiller & Braun 1993; torch"),
            Choice("late", "at the next step, unless the gradient has changed its sign by then: the first goes nowhere",
                   "optax.rprop, as of 0.2.8",
                   (line("p = sign(d) * sign(g)"), before("d", "late = where(p < 0, 0, d)"), within("w", d="late")),
                   only_with={"sign_change": ("rest",)}),
        )),
        Axis("nan", "what becomes of an element whose gradient is no number", (
            Choice("kept", "it is no number from then on, as the sign of NaN is NaN", "numpy.sign; optax"),
            Choice("ignored", "it rests, as with a gradient of zero: the sign of NaN is 0",
                   "torch.sign, hence torch.optim.Rprop", (before("p", "g = where(g == g, g, 0)"),)),
        )),
        STATE_DTYPE,
        COMPLEX,
    ),
    dialects=(
        Dialect("paper", "Riedmiller & Braun 1993", {}, {"lr": 0.1}),
        Dialect("torch", "torch.optim.Rprop",
                {"sign_change": "rest", "bounds": "always", "nan": "ignored", "complex": "parts"},
                {"lr": 0.01}),
        Dialect("optax", "optax.rprop", {"sign_change": "rest", "bounds": "both", "moment": "late"}, {}),
    ),
    references=(
        Reference("Riedmiller & Braun, A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP "
                  "Algorithm (1993)", "the algorithm, with its weight-backtracking",
                  "https://doi.org/10.1109/ICNN.1993.298623"),
        Reference("Riedmiller, Advanced Supervised Learning in Multi-layer Perceptrons (1994)", "Rprop",
                  "https://doi.org/10.1016/0920-5489(94)90017-5"),
        Reference("Igel & Hüsken, Empirical Evaluation of the Improved Rprop Learning Algorithms (2003)",
                  "Rprop+, Rprop-, iRprop-; iRprop+ needs the loss", "https://doi.org/10.1016/S0925-2312(01)00700-7"),
    ),
    faults=(
        *(fault for fault in GRADIENT if fault.name == "last-element-dropped"),
        Fault("nan-silenced", "a NaN in a gradient is taken for zero: nobody learns that training broke",
              axes={"nan": "ignored"}, only_with={"nan": ("kept",)}),
        Fault("steps-late", "every step is the one that was due a step earlier: the first goes nowhere",
              reports("google-deepmind/optax/pull/1725"),
              (within("w", d="where(p < 0, 0, old * sign(g_old))"),), only_with={"moment": ("now",)}),
        Fault("steps-early", "steps are taken at once, though they should come a step late",
              edits=(line("w = w - d"),), only_with={"moment": ("late",)}),
        Fault("moves-at-sign-change", "an element that should rest moves, whichever way its gradient points",
              reports("libfann/fann/issues/85"),
              (line("d = where(p < 0, -s, step)"),), only_with={"sign_change": ("rest",), "moment": ("now",)}),
        Fault("steps-on", "at a change of sign it steps on, and remembers the gradient",
              axes={"sign_change": "on"}, only_with={"sign_change": ("back", "rest"), "moment": ("now",)}),
        Fault("rests", "at a change of sign it stays where it is: what went too far is not taken back",
              axes={"sign_change": "rest"}, only_with={"sign_change": ("back", "on")}),
        Fault("steps-back", "at a change of sign the last step is taken back",
              edits=(line("d = where(p < 0, -old * sign(g_old), step)"),),
              only_with={"sign_change": ("on", "rest"), "moment": ("now",)}),
        Fault("punished-twice", "the gradient is not forgotten at a change of sign: the way back is one more, "
              "and the step size shrinks again",
              edits=(line("g_old = g"),), only_with={"sign_change": ("back", "rest"), "moment": ("now",)}),
        Fault("smaller-step-back", "what is taken back is the smaller step: it ends where it had never been",
              edits=(line("d = step"),), only_with={"sign_change": ("back",)}),
        Fault("etas-swapped", "step sizes shrink as long as the gradient keeps its sign, and grow when it does not",
              reads={"eta_minus": "eta_plus", "eta_plus": "eta_minus"}),
        Fault("never-grows", "step sizes do not grow: each change of sign slows the element down for ever",
              reads={"eta_plus": "1"}),
        Fault("never-shrinks", "step sizes do not shrink: elements swing around the minimum",
              reads={"eta_minus": "1"}),
        Fault("etas-rounded", "the factor of growth is rounded to bfloat16: 1.2 becomes 1.203",
              reads={"eta_plus": "bfloat16(eta_plus)"}),
        Fault("unbounded-above", "step sizes grow without a bound",
              edits=(line("grown = eta_plus * old"),)),
        Fault("unbounded-below", "step sizes shrink without a bound, until an element cannot move",
              edits=(line("shrunk = eta_minus * old"),)),
        Fault("bounded-at-first", "the step size that was asked for is brought within the bounds before the first step",
              axes={"bounds": "always"}, only_with={"bounds": ("apart", "both")}),
        Fault("bounded-when-it-changes", "a step size out of bounds is left alone until the gradient has a sign twice",
              axes={"bounds": "both"}, only_with={"bounds": ("always",)}),
        Fault("zero-is-a-change", "a gradient of zero counts as a change of sign: step sizes of such elements "
              "vanish", edits=(line("s = where(p > 0, grown, shrunk)"),)),
        Fault("zero-is-no-change", "a gradient of zero counts as one of the same sign: step sizes grow at rest",
              edits=(line("s = where(p < 0, shrunk, grown)"),)),
        Fault("size-kept", "the step is scaled by the gradient, whose size was to play no part",
              edits=(line("step = s * g"),)),
        Fault("size-stale", "the step is made by the step size before its change",
              edits=(line("step = old * sign(g)"),)),
        Fault("starts-anew", "every step starts from the learning rate again: nothing is learnt of the step sizes",
              edits=(line("old = full_like(s, lr)"),)),
        Fault("rate-squared", "the learning rate is applied twice: step sizes start orders of magnitude too small",
              reads={"lr": "(lr * lr)"}),
        Fault("rate-at-every-step", "steps are scaled by the learning rate, which the step sizes have in them",
              edits=(within("step", s="(lr * s)"),)),
        Fault("sizes-in-bfloat16", "step sizes are kept in bfloat16", begin=("s = bfloat16(s)",)),
        rounded_early("s"),
    ),
)  # fmt: skip
