"""What the schedule-free rules share: how iterates are weighted in their average, where decay acts, common mistakes."""

from refopt.rules._faults import GRADIENT, RATE, counter, decay, reports, rounded_early
from refopt.spec.declare import Axis, Choice, HyperParameter, Reference, Slot
from refopt.spec.edits import after, before, line, within
from refopt.spec.faults import Fault

BETA1 = HyperParameter("beta1", "β₁", 0.9, "(0, 1)", "share of the average in the point of the gradient",
                       ("b1", "beta_1", "momentum"), (0.875, 0.6875))  # fmt: skip
POWER = HyperParameter("power", "p", 2.0, "[0, inf)", "exponent of the largest rate in the weights",
                       ("weight_lr_power",), (2.0, 1.5, 3.0))  # fmt: skip
LR_NEXT = HyperParameter(
    "lr_next", "η′", 0.0025, "[0, inf)", "learning rate of the step to come", (), (0.25, 0.5, 0.125)
)
R = HyperParameter("r", "r", 0.0, "[0, inf)", "exponent of the step in the weights", (), (1.0, 0.5))

SLOTS = (
    Slot("x", "x", "average of the iterates", "params"),
    Slot("z", "z", "iterate", "params"),
    Slot("s", "s", "sum of the weights", 0.0, "step"),
)

PAPER = Reference(
    "Defazio et al., The Road Less Scheduled (2024)",
    "Algorithm 1; equations (3) to (5) for the three sequences",
    "https://arxiv.org/abs/2405.15682",
)


def weight_axis(rate: str) -> Axis:
    """How much an iterate counts. `rate` names what it moved at."""
    largest = (Slot("lr_max", "η̄", "largest learning rate so far", 0.0, "step"),)
    return Axis("weight", "how much each iterate counts in the average", (
        Choice("lr", "as the square of the rate it moved at", "Defazio et al. 2024, Algorithm 1"),
        Choice("lr_max", "as the largest rate so far, to the power p", "optax.contrib.schedule_free",
               (before("weight", f"lr_max = maximum(lr_max, {rate})"), line("weight = lr_max**power")), largest),
        Choice("lr_next", "as the largest rate, up to that of the step to come, to the power p",
               "optax.contrib.schedule_free with a schedule, of which it asks one step ahead",
               (before("weight", "lr_max = maximum(lr_max, lr_next)"), line("weight = lr_max**power")), largest),
        Choice("lr_max_t", "as the largest rate so far, to the power p, times the step to the power r",
               "facebookresearch/schedule_free",
               (before("weight", f"lr_max = maximum(lr_max, {rate})"), line("weight = t**r * lr_max**power")), largest),
        Choice("equal", "all the same, the start among them", "Defazio et al. 2024, equation (5)",
               (line("c = 1 / (t + 1)"),)),
        Choice("equal_steps", "all the same, the start not among them", "Keras", (line("c = 1 / t"),)),
    ))  # fmt: skip


def decay_axis(*more: Choice) -> Axis:
    """Where the parameter is that decays; the rule's line u adds the decay to what the iterate moves along."""
    return Axis("decay", "where weight decay acts", (
        Choice("at_y", "taken from the iterate, as much as the point of the gradient says",
               "Defazio et al. 2024, Algorithm 1; facebookresearch/schedule_free, optax"),
        Choice("at_z", "taken from the iterate, as much as the iterate itself says",
               "schedulefree's AdamWScheduleFreeReference with decay_at_z", (within("u", w="z"),)),
        *more,
    ))  # fmt: skip


def faults(counted: tuple[str, ...], kept: tuple[str, ...] = ("x", "z")) -> tuple[Fault, ...]:
    """`counted` are the lines that count steps, `kept` the slots that a step is made from."""
    weighted = ("lr", "lr_max", "lr_next", "lr_max_t")
    return (
        *GRADIENT, *RATE, *(f for f in decay(decoupled=False) if "decay" not in f.only_with), *counter(*counted),
        Fault("decay-at-z", "the decay is that of the iterate, though the gradient is not taken there",
              axes={"decay": "at_z"}, only_with={"decay": ("at_y", "at_x")}),
        Fault("decay-at-y", "the decay is that of the point of the gradient",
              axes={"decay": "at_y"}, only_with={"decay": ("at_z", "at_x")}),
        Fault("averages-exchanged", "the new iterate has the weight of all before it: the average hardly averages",
              reports("HomebrewML/HeavyBall/issues/13"), (within("x", c="(1 - c)"),)),
        Fault("shares-exchanged", "the point of the gradient is near the iterate, not near the average",
              edits=(within("w", beta1="(1 - beta1)"),)),
        Fault("iterate-from-zero", "the iterate starts at zero, not at the parameter", starts={"z": "zeros"}),
        Fault("average-from-zero", "the average starts at zero, though it should count the start",
              starts={"x": "zeros"}, only_with={"weight": ("equal",)}),
        Fault("average-late", "the average takes the iterate of the step before",
              edits=(before("u", "z_old = z"), within("x", z="z_old"))),
        Fault("iterate-aliased", "the average is got back from y and the iterate before the step, of which there "
              "is but an alias, which has moved on: the average moves by part of each step at once",
              edits=(before("u", "z_old = z"), within("x", x="(x + (1 - beta1) / beta1 * (z_old - z))"))),
        Fault("step-from-gradient-point", "the step is made from where the gradient was taken, not from the iterate",
              edits=(within("z", z="w"),)),
        Fault("evaluates-iterate", "the iterate is evaluated, not the average", edits=(within("a", x="z"),)),
        Fault("weights-equal", "all iterates count the same: those of a warm-up weigh the average down",
              axes={"weight": "equal_steps"}, only_with={"weight": weighted}),
        Fault("weights-of-today", "an iterate counts as today's rate, not as the largest: the end of a decay is lost",
              axes={"weight": "lr"}, only_with={"weight": ("lr_max", "lr_next", "lr_max_t")}),
        Fault("weights-late", "an iterate counts as the largest rate so far, the next not among them",
              axes={"weight": "lr_max"}, only_with={"weight": ("lr_next",)}),
        Fault("weights-of-largest", "an iterate counts as the largest rate so far, not as its own",
              edits=(after("weight", "largest = maximum(largest, weight)", "weight = largest"),),
              hidden={"largest": 0.0},
              only_with={"weight": ("lr",)}),
        Fault("weights-not-squared", "an iterate counts as its rate, not as the square of it",
              edits=(line("weight = sqrt(...)"),), only_with={"weight": ("lr",)}),
        Fault("power-lost", "the power is taken for 2", reads={"power": "2"}),
        Fault("step-power-lost", "the steps do not count more as they go on",
              axes={"weight": "lr_max"}, only_with={"weight": ("lr_max_t",)}),
        Fault("start-lost", "the start does not count: the first step forgets it",
              axes={"weight": "equal_steps"}, only_with={"weight": ("equal",)}),
        Fault("start-counted", "the start counts as an iterate: the average lags behind",
              axes={"weight": "equal"}, only_with={"weight": ("equal_steps",)}),
        Fault("sum-rounded", "the sum of the weights is kept in bfloat16, as the parameters are: it soon stands still",
              begin=("s = bfloat16(s)",), only_with={"weight": weighted}),
        Fault("sum-late", "the sum lacks today's weight, once there is another",
              edits=(line("c = 1 if t == 1 else weight / (s - weight)"),), only_with={"weight": weighted}),
        Fault("share-rounded", "beta1 is rounded to bfloat16: 0.9 becomes 0.8984", reads={"beta1": "bfloat16(beta1)"}),
        Fault("iterate-rounded", "the iterate is kept in bfloat16: small steps are lost", begin=("z = bfloat16(z)",)),
        Fault("average-rounded", "the average is kept in bfloat16", begin=("x = bfloat16(x)",)),
        rounded_early(*kept),
    )  # fmt: skip
