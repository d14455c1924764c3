"""Which conventions can be had from others by other numbers: the table of what is proposed.

A move leaves some axes and arrives at others. It says how the numbers and the state are made anew; those that it does
not name stay. It is a proposal only: what `translate` says is equivalent has been run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

DECAYS = ("l2", "decoupled", "decoupled_after", "decoupled_no_lr", "decoupled_no_lr_after")
OWN_DECAY = ("none", "l2", "decoupled_no_lr", "decoupled_no_lr_after")  # whose coefficient knows nothing of the rate
BY_RATE = ("decoupled", "decoupled_after")  # whose coefficient is multiplied by it
UNITS = {"no": ("no", "no"), "scaled": ("scaled", "yes")}  # nesterov of averaged velocities, and of summed ones


@dataclass(frozen=True)
class Move:
    """From the choices `before` to the choices `after`, if the numbers are such that `when` holds ("": always).

    `numbers` and `state` are the new ones, as formulas (`refopt.translating.formulas`). With `constant_lr` it
    holds only while the learning rate stays what it is.
    """

    before: Mapping[str, str]
    after: Mapping[str, str]
    numbers: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    when: str = ""
    constant_lr: bool = False


def _decay(*without: str) -> Iterator[Move]:
    """Without a coefficient all are one; and one that is multiplied by the rate can be divided by it."""
    for choice in (choice for choice in DECAYS if choice not in without):
        yield Move({"decay": "none"}, {"decay": choice}, {"wd": "0.0"})
        yield Move({"decay": choice}, {"decay": "none"}, when="wd == 0")
    for scaled, bare in (("decoupled", "decoupled_no_lr"), ("decoupled_after", "decoupled_no_lr_after")):
        if scaled not in without:
            yield Move({"decay": scaled}, {"decay": bare}, {"wd": "wd*lr"}, constant_lr=True)
            yield Move({"decay": bare}, {"decay": scaled}, {"wd": "wd/lr"}, constant_lr=True)


def _decay_of_sgd() -> Iterator[Move]:
    """w - lr*(g + wd*w) is w - lr*wd*w - lr*g."""
    yield Move({"decay": "l2"}, {"decay": "decoupled_no_lr"}, {"wd": "wd*lr"}, constant_lr=True)
    yield Move({"decay": "decoupled_no_lr"}, {"decay": "l2"}, {"wd": "wd/lr"}, constant_lr=True)


def _scales() -> Iterator[Move]:
    """A velocity whose gradients are all scaled by one number is that number times the velocity of bare gradients."""
    for scale, factor in (("ema", "(1 - mu)"), ("dampening", "(1 - dampening)")):
        for averaged, summed in UNITS.values() if scale == "ema" else [("no", "no")]:
            for decay in (*OWN_DECAY, *BY_RATE):
                for lr_at in ("outside", "inside"):
                    scaled = {"gradient_scale": scale, "first_step": "zeros", "nesterov": averaged}
                    bare = {"gradient_scale": "one", "first_step": "zeros", "nesterov": summed}
                    there = {"lr": f"lr*{factor}", **({"wd": f"wd/{factor}"} if decay in BY_RATE else {})}
                    back = {"lr": f"lr/{factor}", **({"wd": f"wd*{factor}"} if decay in BY_RATE else {})}
                    same = {"decay": decay, "lr_at": lr_at}
                    outside = lr_at == "outside"
                    yield Move(scaled | same, bare | same, there, {"u": f"u/{factor}"} if outside else {})
                    if scale == "ema":
                        yield Move(bare | same, scaled | same, back, {"u": f"u*{factor}"} if outside else {})
    for first in ("zeros", "copy_gradient"):
        one, damped = ({"gradient_scale": scale, "first_step": first} for scale in ("one", "dampening"))
        yield Move(one, damped, {"dampening": "0.0"})
        yield Move(damped, one, when="dampening == 0")
    ema = {"gradient_scale": "ema", "first_step": "zeros"}
    damped = {"gradient_scale": "dampening", "first_step": "zeros"}
    yield Move(ema, damped, {"dampening": "mu"})
    yield Move(damped, ema, when="dampening == mu")
    one = {"gradient_scale": "one"}
    for a, b in (("zeros", "copy_gradient"), ("copy_gradient", "zeros")):
        yield Move(one | {"first_step": a}, one | {"first_step": b})


def _rate() -> Iterator[Move]:
    """The rate inside or outside the velocity: one is lr times the other, while lr is constant.

    Or while the momentum makes good at each step what the change of the rate has done to the velocity.
    """
    inside, outside = {"lr_at": "inside"}, {"lr_at": "outside"}
    yield Move(inside, outside, {}, {"u": "u/lr"}, constant_lr=True)
    yield Move(outside, inside, {}, {"u": "u*lr"}, constant_lr=True)
    for scale in ("one", "dampening"):
        same = {"gradient_scale": scale, "nesterov": "no"}
        yield Move(inside | same, outside | same, {"mu": "mu*lr_before/lr"}, {"u": "u/lr"})
        yield Move(outside | same, inside | same, {"mu": "mu*lr/lr_before"}, {"u": "u*lr"})


def _epsilons() -> Iterator[Move]:
    """Where Adam's epsilon stands. What one side divides by the correction may be on the other, step by step."""

    def at(choice: str) -> dict[str, str]:
        return {"eps_at": choice}

    yield Move(at("outside_hat"), at("both"), {"eps_root": "0.0"})
    yield Move(at("both"), at("outside_hat"), when="eps_root == 0")
    yield Move(at("inside_hat"), at("both"), {"eps_root": "eps", "eps": "0.0"})
    yield Move(at("both"), at("inside_hat"), {"eps": "eps_root"}, when="eps == 0")
    places = ("outside_hat", "outside_raw", "inside_hat", "inside_raw")
    for one in places:
        for other in places:
            if one != other:
                yield Move(at(one), at(other), when="eps == 0")
    usual = {"bias": "both", "first_t": "1", "power": "power"}
    for root, c in (("outside", "sqrt(1 - beta2**t)"), ("inside", "(1 - beta2**t)")):
        raw, hat = usual | at(f"{root}_raw"), usual | at(f"{root}_hat")
        yield Move(raw, hat, {"eps": f"eps/{c}"})
        yield Move(hat, raw, {"eps": f"eps*{c}"})
    uncorrected = usual | at("outside_hat") | {"bias": "none"}
    c1, c2 = "(1 - beta1**t)", "sqrt(1 - beta2**t)"
    yield Move(uncorrected, usual | at("outside_hat"), {"lr": f"lr*{c1}/{c2}", "eps": f"eps/{c2}"})
    yield Move({"power": "product"}, {"power": "power"})  # of betas that stay what they are


def _guards() -> Iterator[Move]:
    """LARS: a guard of zero is none, and without decay there is nothing to split."""
    yield Move({"eps_at": "none"}, {"eps_at": "denominator"}, {"eps": "0.0"})
    yield Move({"eps_at": "denominator"}, {"eps_at": "none"}, when="eps == 0")
    for a, b in (("split", "joint"), ("joint", "split")):
        yield Move({"denominator": a}, {"denominator": b}, when="wd == 0")
    for inside, outside, constant in (("inside", "outside", "u/lr"), ("outside", "inside", "u*lr")):
        yield Move({"lr_at": inside}, {"lr_at": outside}, {}, {"u": constant}, constant_lr=True)


MOVES: Mapping[str, tuple[Move, ...]] = {
    "sgd": (*_decay("decoupled"), *_decay_of_sgd()),
    "momentum": (*_decay(), *_scales(), *_rate()),
    "adam": (*_decay(), *_epsilons()),
    "lars": tuple(_guards()),
}
