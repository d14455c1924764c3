"""The exponential moving average of parameters. It changes no parameter: it says what to evaluate with."""

from refopt.rules._faults import counter, reports
from refopt.rules._shared import STATE_DTYPE, mu_of
from refopt.spec.declare import Axis, Choice, Dialect, HyperParameter, Reference, Rule, Slot
from refopt.spec.edits import before, line, within
from refopt.spec.faults import Fault


def ema(w, m, *, t, mu):
    m = mu * m + (1 - mu) * w
    return m


def average(m, *, t, mu):
    a = m
    return a


EMA = Rule(
    name="ema",
    title="Exponential moving average of parameters",
    function=ema,
    evaluate=average,
    hyper_parameters=(
        mu_of(0.999, "[0, 1]", "decay of the average", ("decay", "ema_momentum")),
        HyperParameter("eps", "ε", 1e-6, "[0, 1]", "guard of the debiasing division", ("epsilon",), (2**-7, 2**-6)),
        HyperParameter("power", "p", 2 / 3, "[0, inf)", "exponent of the decay's warm-up", (), (0.5, 0.75)),
        HyperParameter("inv_gamma", "γ", 1.0, "(0, inf)", "time scale of the decay's warm-up, in steps", (),
                       (2.0, 0.5)),
    ),
    slots=(Slot("m", "m", "running average"),),
    axes=(
        Axis("init", "what the average starts from", (
            Choice("zeros", "the average starts at zero", "Kingma & Ba 2015, section 3; objax, optax.ema"),
            Choice("params", "the parameters as they are when it is made", "timm's ModelEma",
                   slots=(Slot("m", "m", "running average", "params"),)),
            Choice("first_update", "the parameters as they are at its first update",
                   "torch.optim.swa_utils.AveragedModel, Keras use_ema", (line("m = w if t == 1 else ..."),)),
        )),
        Axis("decay_schedule", "how the decay depends on the step", (
            Choice("constant", "the decay is constant"),
            Choice("warmup_0", "at most (1 + n)/(10 + n), n counted from 0", "tf.train.ExponentialMovingAverage",
                   (before("m", "mu = minimum(mu, t / (9 + t))"),)),
            Choice("warmup_1", "at most (1 + n)/(10 + n), n counted from 1", "timm's ModelEma with warm-up",
                   (before("m", "mu = minimum(mu, (1 + t) / (10 + t))"),)),
            Choice("power", "at most 1 - (1 + n/inv_gamma)**-power, n counted from 0", "diffusers' EMAModel",
                   (before("m", "mu = minimum(mu, 1 - (1 + (t - 1) / inv_gamma) ** -power)"),)),
            Choice("mean", "1 - 1/t: the plain mean of all steps", "Polyak & Juditsky 1992; torch's get_swa_avg_fn",
                   (before("m", "mu = 1 - 1 / t"),)),
        )),
        Axis("debias", "whether the start at zero is divided out", (
            Choice("none", "the average is used as it is"),
            Choice("standard", "by 1 - mu**t", "Kingma & Ba 2015, section 3; optax.ema",
                   (line("a = m / (1 - mu**t)"),)),
            Choice("objax", "by 1 - (1 - eps)*mu**t, which is never zero", "objax.optimizer.ExponentialMovingAverage",
                   (line("a = m / (1 - (1 - eps) * mu**t)"),)),
        )),
        STATE_DTYPE,
    ),
    dialects=(
        Dialect("paper", "the average of Kingma & Ba 2015, section 3", {"debias": "standard"}),
        Dialect("objax", "objax.optimizer.ExponentialMovingAverage(debias=True)", {"debias": "objax"}),
        Dialect("torch", "torch.optim.swa_utils.get_ema_avg_fn", {"init": "first_update"}),
        Dialect("optax", "optax.ema of the parameters", {"debias": "standard"}, {"mu": 0.999}),
        Dialect("keras", "an optimizer with use_ema=True", {"init": "first_update"}, {"mu": 0.99}),
    ),
    references=(
        Reference("Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging (1992)", "equation (2)",
                  "https://doi.org/10.1137/0330046"),
        Reference("Kingma & Ba, Adam: A Method for Stochastic Optimization (2015)", "section 3",
                  "https://arxiv.org/abs/1412.6980"),
    ),
    faults=(
        *counter("a", "mu"),
        Fault("debias-missing", "the average is not debiased: it starts near zero",
              reports("huggingface/pytorch-image-models/issues/1182", "PaddlePaddle/Paddle/pull/17677"),
              axes={"debias": "none"}, only_with={"debias": ("standard", "objax")}),
        Fault("debias-without-power", "1 - mu is divided out at every step, not 1 - mu**t",
              edits=(within("a", t="1"),)),
        Fault("debias-without-eps", "the guard is left out",
              axes={"debias": "standard"}, only_with={"debias": ("objax",)}),
        Fault("starts-from-parameters", "the average starts from the parameters, though it should start from zero",
              starts={"m": "params"}, only_with={"init": ("zeros",)}),
        Fault("starts-from-zero", "the average starts from zero: without debiasing it is far too small",
              reports("huggingface/pytorch-image-models/issues/1182"),
              axes={"init": "zeros"}, only_with={"init": ("params", "first_update")}),
        Fault("weights-exchanged", "the new value has the weight of the old: the average hardly averages",
              reports("tensorflow/kfac/issues/37"), (within("m", mu="(1 - mu)"),)),
        Fault("value-unscaled", "the value enters without 1 - mu: a sum, not an average",
              edits=(line("m = mu * m + w"),)),
        Fault("warm-up-lost", "the decay does not warm up: early parameters stay in the average",
              reports("wandb/senpai/pull/2899"),
              axes={"decay_schedule": "constant"}, only_with={"decay_schedule": ("warmup_0", "warmup_1", "power")}),
        Fault("warm-up-by-one", "the warm-up counts from one, not from zero",
              axes={"decay_schedule": "warmup_1"}, only_with={"decay_schedule": ("warmup_0",)}),
        Fault("decay-in-bfloat16", "the decay is rounded to bfloat16: 0.999 becomes 1, and the average never moves",
              reads={"mu": "bfloat16(mu)"}),
        Fault("average-in-bfloat16", "the average is kept in bfloat16: small changes are lost",
              begin=("m = bfloat16(m)",)),
        Fault("last-element-dropped", "the last element of each tensor is not averaged",
              begin=("w = without_last(w)",)),
        Fault("nan-silenced", "a NaN in a parameter is taken for zero", begin=("w = without_nan(w)",)),
    ),
)  # fmt: skip
