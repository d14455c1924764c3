"""ASGD, averaged stochastic gradient descent: the rate falls from step to step, and the mean of the parameters is kept.

The mean moves nothing. It is what to evaluate the model with, and nothing in torch gives it but the optimizer's state.
"""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports
from refopt.rules._shared import STATE_DTYPE, WD, decay_axis, lr_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault
from refopt.spec.functions import maximum


def asgd(w, g, ax, *, t, lr, lambd, alpha, t0):
    slowing = (1 + lambd * lr * t) ** alpha
    eta = lr / slowing
    w = w - eta * g
    share = 1 / maximum(1, t - t0)
    ax = w if t <= t0 + 1 else ax + share * (w - ax)
    return w, ax


def average(ax, *, t):
    a = ax
    return a


ASGD = Rule(
    name="asgd",
    title="Averaged stochastic gradient descent",
    function=asgd,
    evaluate=average,
    hyper_parameters=(
        lr_of(0.01),
        HyperParameter("lambd", "κ", 1e-4, "[0, inf)", "curvature that the rate falls with", (), (0.5, 0.125)),
        HyperParameter("alpha", "α", 0.75, "[0, inf)", "power that the rate falls by", (), (0.75, 0.5)),
        HyperParameter("t0", "t₀", 0.0, "[0, inf)", "steps before the mean begins", (), (3.0, 1.0)),
        WD,
    ),
    slots=(Slot("ax", "w̄", "mean of the parameters"),),
    axes=(
        decay_axis(l2=before("w", "g = g + wd * w"),
                   without=("decoupled", "decoupled_after", "decoupled_no_lr", "decoupled_no_lr_after")),
        Axis("lambd_at", "what lambd acts on", (
            Choice("rate", "the rate alone", "Xu 2011, as Apache Flink has it"),
            Choice("both", "the rate, and the weights as well, which decay by it times the rate",
                   "Bottou's svmasgd, torch.optim.ASGD", (line("w = (1 - lambd * eta) * w - eta * g"),)),
        )),
        Axis("rate", "which step a rate belongs to", (
            Choice("from_1", "steps count from 1: the first rate has fallen already", "Xu 2011"),
            Choice("from_0", "steps count from 0: the first rate is the learning rate itself", "Bottou's svmasgd",
                   (within("slowing", t="(t - 1)"),)),
            Choice("kept", "counted from 0, but made at the end of the step before, of what the learning rate was then",
                   "torch.optim.ASGD",
                   (line("eta = lr if t == 1 else eta_next"), after("eta", "eta_next = lr / slowing")),
                   slots=(Slot("eta_next", "η′", "rate of the next step", 0.0, "step"),)),
        )),
        Axis("mean", "which steps the mean is of", (
            Choice("all", "all after the first t0", "Xu 2011; Bottou's svmasgd"),
            Choice("but_one", "all but one: that after the first t0 is left out", "torch.optim.ASGD",
                   (within("share", t="(t - 1)"), within("ax", t="(t - 1)"))),
        )),
        Axis("mean_of", "which parameters of a step the mean is of", (
            Choice("after", "those after it", "Xu 2011; Bottou's svmasgd, torch.optim.ASGD"),
            Choice("before", "those before it: the start is among them, and the last are not",
                   "Polyak & Juditsky 1992, equation (2)", (before("w", "w_old = w"), within("ax", w="w_old"))),
        )),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "Xu 2011, the mean of Polyak & Juditsky 1992", {}, {"lr": 0.01}),
        Dialect("bottou", "Bottou's svmasgd", {"lambd_at": "both", "rate": "from_0"}, {"lambd": 1e-5}),
        Dialect("torch", "torch.optim.ASGD",
                {"decay": "l2", "lambd_at": "both", "rate": "kept", "mean": "but_one"}, {"lr": 0.01, "t0": 1e6}),
    ),
    references=(
        Reference("Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging (1992)", "equation (2)",
                  "https://doi.org/10.1137/0330046"),
        Reference("Xu, Towards Optimal One Pass Large Scale Learning with Averaged Stochastic Gradient Descent (2011)",
                  "the learning rate schedule", "https://arxiv.org/abs/1107.2490"),
        Reference("Bottou, Stochastic Gradient Descent (version 2)", "svmasgd, averaged stochastic gradient",
                  "https://leon.bottou.org/projects/sgd"),
    ),
    faults=(
        *GRADIENT, *RATE, *(f for f in decay(decoupled=False) if "decay" not in f.only_with), *counter("slowing"),
        Fault("power-inside", "the power is taken of the step alone, not of the whole: the rate falls otherwise",
              reports("pytorch/pytorch/pull/125440"), (line("slowing = 1 + lambd * lr * t**alpha"),)),
        Fault("never-slows", "the rate stays what it is, and the parameters go on trembling",
              edits=(line("slowing = 1"),)),
        Fault("power-missing", "the rate falls as 1/t, too fast for a mean to make up for",
              reads={"alpha": "1"}),
        Fault("power-inverted", "the rate rises from step to step", reads={"alpha": "(-alpha)"}),
        Fault("slows-without-lr", "the rate falls by lambd alone, not by lambd times the learning rate",
              edits=(line("slowing = (1 + lambd * t) ** alpha"),)),
        Fault("rate-a-step-late", "the rate is that of the step before, and of its learning rate",
              reports("pytorch/pytorch/issues/74884"),
              edits=(line("eta = lr if t == 1 else due"), after("eta", "due = lr / slowing")), hidden={"due": 0.0},
              only_with={"rate": ("from_1", "from_0")}),
        Fault("rate-at-once", "the rate is made of today's learning rate, though it should be that of the step before",
              edits=(line("eta = lr / (1 + lambd * lr * (t - 1)) ** alpha"),), only_with={"rate": ("kept",)}),
        Fault("weights-not-decayed", "lambd slows the rate, but the weights do not decay by it",
              axes={"lambd_at": "rate"}, only_with={"lambd_at": ("both",)}),
        Fault("weights-decayed", "the weights decay by lambd, which was to slow the rate alone",
              axes={"lambd_at": "both"}, only_with={"lambd_at": ("rate",)}),
        Fault("decays-at-full-rate", "the weights decay by lambd times the learning rate, which never falls",
              edits=(line("w = (1 - lambd * lr) * w - eta * g"),), only_with={"lambd_at": ("both",)}),
        Fault("decays-afterwards", "the step is decayed too",
              edits=(line("w = (1 - lambd * eta) * (w - eta * g)"),), only_with={"lambd_at": ("both",)}),
        Fault("mean-from-the-start", "the mean begins with the first step: what came before t0 stays in it",
              reads={"t0": "0"}),
        Fault("mean-never", "the mean is the parameters as they are", edits=(line("ax = w"),)),
        Fault("mean-one-late", "the mean begins a step late",
              axes={"mean": "but_one"}, only_with={"mean": ("all",)}),
        Fault("mean-one-early", "the mean begins a step early",
              axes={"mean": "all"}, only_with={"mean": ("but_one",)}),
        Fault("mean-of-before", "the mean is of the parameters before each step",
              axes={"mean_of": "before"}, only_with={"mean_of": ("after",)}),
        Fault("mean-of-after", "the mean is of the parameters after each step",
              axes={"mean_of": "after"}, only_with={"mean_of": ("before",)}),
        Fault("mean-exchanged", "the new parameters have the weight of the old mean: nothing is averaged",
              edits=(within("ax", share="(1 - share)"),)),
        Fault("mean-of-all-steps", "the share of the newest falls with all steps, not with those after t0",
              edits=(line("share = 1 / t"),)),
        Fault("mean-is-trained", "training goes on from the mean", edits=(after("ax", "w = ax"),)),
        Fault("mean-in-bfloat16", "the mean is kept in bfloat16: what a step adds is lost",
              begin=("ax = bfloat16(ax)",)),
    ),
)  # fmt: skip
