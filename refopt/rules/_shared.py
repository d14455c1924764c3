"""Declarations that several rules share: the usual hyper-parameters, and the axes that mean the same everywhere."""

from collections.abc import Collection

from refopt.spec.declare import Axis, Choice, HyperParameter
from refopt.spec.edits import Edit, after, before, within

WD = HyperParameter("wd", "λ", 0.0, "[0, inf)", "weight decay", ("weight_decay",), (0.0, 0.125, 0.0625))


STATE_DTYPE = Axis("state_dtype", "the dtype of the state of float16 and bfloat16 parameters", (
    Choice("float32", "float32, in which they are computed", "apex.optimizers.FusedAdam"),
    Choice("parameter", "their own: computed in float32, and rounded with the parameter at the end of the step",
           "torch.optim with fused=True (foreach and the loop round after every operation)"),
), storage=True)  # fmt: skip


COMPLEX = Axis("complex", "what the elements of complex parameters are", (
    Choice("refuse", "refused: the rule speaks of real numbers, and what it means for others is said by a choice"),
    Choice("parts", "two real numbers each, of which no one sees the other", "torch.optim"),
    Choice("modulus", "complex numbers: a square is |g|**2, an absolute value |g|, a sign g/|g|", "optax"),
), storage=True)  # fmt: skip


def lr_of(default: float) -> HyperParameter:
    return HyperParameter("lr", "η", default, "[0, inf)", "learning rate", ("learning_rate",))


def mu_of(
    default: float, interval: str = "[0, 1)", meaning: str = "momentum", aliases: tuple[str, ...] = ()
) -> HyperParameter:
    return HyperParameter("mu", "μ", default, interval, meaning, ("momentum", *aliases), (0.875, 0.75, 0.9375))


def decay_axis(l2: Edit, without: Collection[str] = ()) -> Axis:
    """How weight decay enters. `l2` says where the gradient is decayed; the other choices act on the parameter."""
    table = (
        Choice("none", "no weight decay"),
        Choice("l2", "added to the gradient, as the gradient of wd/2 * |w|**2",
               "torch.optim.SGD, torch.optim.Adam", (l2,)),
        Choice("decoupled", "scaled by lr, on the parameter before the step",
               "torch.optim.AdamW, optax.adamw, Keras",
               (before("w", "w = w - lr * wd * w"),)),
        Choice("decoupled_after", "scaled by lr, on the parameter after the step", "",
               (after("w", "w = w - lr * wd * w"),)),
        Choice("decoupled_no_lr", "not scaled by lr, on the parameter before the step",
               "Loshchilov & Hutter 2019, Algorithm 2, at a constant schedule multiplier",
               (before("w", "w = w - wd * w"),)),
        Choice("decoupled_no_lr_after", "not scaled by lr, on the parameter after the step", "",
               (after("w", "w = w - wd * w"),)),
    )  # fmt: skip
    return Axis("decay", "how weight decay enters", tuple(c for c in table if c.name not in without))


def nesterov_axis(entering: str) -> Axis:
    """Whether the step looks ahead. `entering` names what the velocity accumulates."""
    return Axis("nesterov", "whether the step looks ahead along the new velocity", (
        Choice("no", "heavy ball: the step is the velocity", "Polyak 1964"),
        Choice("yes", "the gradient plus the momentum times the new velocity", "Bengio et al. 2012, equation (7)",
               (within("w", u=f"{entering} + mu * u"),)),
        Choice("scaled", "as yes, the gradient scaled by 1 - momentum", "the ema form of the velocity",
               (within("w", u=f"(1 - mu) * {entering} + mu * u"),)),
    ))  # fmt: skip
