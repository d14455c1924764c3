"""Faults that several rules share: of the gradient, the rate, the step count, the decay and the velocity.

Each links to public reports by people who met it, where we know of some. `refopt.spec.faults` explains the vocabulary.
"""

from refopt.spec.edits import Edit, after, before, within
from refopt.spec.faults import Fault

GITHUB = "https://github.com/"


def reports(*threads: str) -> tuple[str, ...]:
    """Addresses of threads written as `owner/name/issues/1`."""
    return tuple(GITHUB + thread for thread in threads)


GRADIENT = (
    Fault("nan-silenced", "a NaN in a gradient is taken for zero: training goes on, and nobody learns that it broke",
          begin=("g = without_nan(g)",)),
    Fault("gradient-clipped", "elements of the gradient above 1 are cut: large gradients lose their size",
          begin=("g = minimum(maximum(g, -1), 1)",)),
    Fault("last-element-dropped", "the last element of each tensor has no gradient: it never learns",
          begin=("g = without_last(g)",)),
    Fault("gradient-rounded", "the gradient is rounded to bfloat16 on its way: three of four digits are lost",
          begin=("g = bfloat16(g)",)),
)  # fmt: skip

RATE = (
    Fault("rate-late", "each step uses the learning rate of the step before: a warm-up or a restart comes a step late",
          reports("jadore801120/attention-is-all-you-need-pytorch/issues/188"),
          reads={"lr": "used"}, begin=("used = lr if t == 1 else held", "held = lr"), hidden={"held": 0.0}),
    Fault("rate-frozen", "the learning rate of the first step is used for ever, as by a compiled step that closes over "
          "it: a schedule has no effect",
          reports("pytorch/tutorials/pull/2874"),
          reads={"lr": "held"}, begin=("held = lr if t == 1 else held",), hidden={"held": 0.0}),
    Fault("rate-squared", "the learning rate is applied twice: steps are orders of magnitude too short",
          reads={"lr": "(lr * lr)"}),
)  # fmt: skip


def counter(*lines: str) -> tuple[Fault, ...]:
    """Faults of the step count that these lines read."""

    def all_lines(t: str) -> tuple[Edit, ...]:
        return tuple(within(one, t=t) for one in lines)

    return (
        Fault("step-ahead", "the step is counted before it should be: the first correction is too weak, the first "
              "steps too short", reports("karpathy/nanochat/pull/818"), all_lines("(t + 1)")),
        Fault("step-behind", "the first step is counted twice: later corrections are those of the step before",
              reports("Oneflow-Inc/oneflow/pull/5960"), all_lines("maximum(t - 1, 1)")),
        Fault("counter-stops-at-256", "the counter is a bfloat16, in which 256 + 1 is 256: from there on the "
              "correction stays what it is", reports("pytorch/ao/pull/4915"), all_lines("minimum(t, 256)")),
        Fault("counter-stops-at-2048", "the counter is a float16, in which 2048 + 1 is 2048",
              edits=all_lines("minimum(t, 2048)")),
    )  # fmt: skip


def rounded_early(*slots: str) -> Fault:
    """The fault of rules whose step reads these slots."""
    return Fault(
        "state-rounded-early", "state of bfloat16 is rounded before the step is made from it, not at its end: steps "
        "inherit the rounding, as where every operation rounds",
        edits=tuple(after(slot, f"{slot} = bfloat16({slot})") for slot in slots),
        only_with={"state_dtype": ("parameter",)},
    )  # fmt: skip


DECAYED = ("decoupled", "decoupled_after", "decoupled_no_lr", "decoupled_no_lr_after")


def decay(decoupled: bool = True) -> tuple[Fault, ...]:
    """Faults of weight decay; `decoupled` if the rule tells l2 from it."""
    common = (
        Fault("decay-sign", "weights are pushed away from zero: they grow exponentially",
              reports("egg-west/AdamW-pytorch/issues/1"), reads={"wd": "(-wd)"}),
        Fault("decay-missing", "weights are not decayed", reads={"wd": "(wd * 0)"}),
        Fault("decay-only-with-gradient", "a parameter whose gradient is zero is not decayed: an embedding that is "
              "not used keeps its size",
              reports("tensorflow/addons/issues/767", "KellerJordan/Muon/issues/54"),
              reads={"wd": "(0 if norm(g) == 0 else wd)"}),
        Fault("decay-of-no-weight", "the bare coefficient is subtracted, whatever the weight",
              reports("e-sensing/torchopt/pull/14"), axes={"decay": "none"}, begin=("w = w - lr * wd",),
              only_with={"decay": DECAYED}),
    )  # fmt: skip
    if not decoupled:
        return common
    return (
        *common,
        Fault("decay-coupled", "decoupled decay is added to the gradient: weights with large gradients hardly decay",
              reports("tensorflow/addons/issues/844", "pytorch/pytorch/pull/4429"),
              axes={"decay": "l2"}, only_with={"decay": DECAYED}),
        Fault("decay-decoupled", "L2 regularisation is taken out of the gradient: it decays all weights alike",
              axes={"decay": "decoupled"}, only_with={"decay": ("l2",)}),
        Fault("decay-without-lr", "decay is not scaled by the learning rate: with the usual coefficient weights vanish "
              "within a hundred steps",
              reports("tensorflow/addons/issues/2282", "pytorch/pytorch/issues/38853"),
              axes={"decay": "decoupled_no_lr"}, only_with={"decay": ("decoupled",)}),
        Fault("decay-with-lr", "decay is scaled by the learning rate: tuning one now tunes the other",
              reports("NVIDIA/apex/issues/1849", "modern-fortran/neural-fortran/issues/152"),
              axes={"decay": "decoupled"}, only_with={"decay": ("decoupled_no_lr",)}),
        Fault("decay-late", "the weight is decayed after the step: the step is decayed too",
              axes={"decay": "decoupled_after"}, only_with={"decay": ("decoupled",)}),
    )  # fmt: skip


def velocity() -> tuple[Fault, ...]:
    """Faults of rules with a velocity u, its momentum mu, the axes lr_at and nesterov, and perhaps first_step."""
    return (
        Fault("nesterov-by-mistake", "the step looks ahead though heavy ball was asked for",
              axes={"nesterov": "yes"}, only_with={"nesterov": ("no",)}),
        Fault("nesterov-lost", "heavy ball, though Nesterov was asked for",
              axes={"nesterov": "no"}, only_with={"nesterov": ("yes", "scaled")}),
        Fault("nesterov-scaled", "the gradient of the look-ahead is scaled by 1 - momentum, though the velocity is not",
              reports("ml-explore/mlx/pull/87"),
              axes={"nesterov": "scaled"}, only_with={"nesterov": ("yes",)}),
        Fault("nesterov-stale", "the look-ahead is made from the velocity of the step before",
              edits=(before("u", "u_old = u"), within("w", u="u_old")), only_with={"nesterov": ("yes", "scaled")}),
        Fault("velocity-stale", "the parameter moves along the velocity of the step before: the first goes nowhere",
              edits=(before("u", "u_old = u"), within("w", u="u_old")), only_with={"nesterov": ("no",)}),
        Fault("rate-inside", "the learning rate acts on the gradient: after a change of rate, old gradients keep "
              "theirs", axes={"lr_at": "inside"}, only_with={"lr_at": ("outside",)}),
        Fault("rate-outside", "the learning rate acts on the velocity: a change of rate acts on old gradients too",
              axes={"lr_at": "outside"}, only_with={"lr_at": ("inside",)}),
        Fault("first-velocity-scaled", "the first gradient is scaled on its way into the velocity, which should have "
              "been a copy of it", reports("ml-explore/mlx/pull/473"),
              axes={"first_step": "zeros"}, only_with={"first_step": ("copy_gradient",)}),
        Fault("first-velocity-copied", "the first gradient is copied into the velocity, unscaled",
              axes={"first_step": "copy_gradient"}, only_with={"first_step": ("zeros",)}),
        Fault("momentum-rounded", "the momentum is rounded to bfloat16: 0.9 becomes 0.8984",
              reports("tenstorrent/tt-metal/issues/55935"), reads={"mu": "bfloat16(mu)"}),
        Fault("velocity-rounded", "the velocity is kept in bfloat16", reports("FluxML/Optimisers.jl/issues/215"),
              begin=("u = bfloat16(u)",)),
        rounded_early("u"),
    )  # fmt: skip
