"""What documentation says of implementations, as choices of their rule's axes: the atlas shows where it is not so.

A claim is read in the documentation; whether it holds is measured. Who mends the documentation, or the code, makes the
disagreement vanish at the next run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from refopt.atlas.document import Row

OBJAX = "https://objax.readthedocs.io/en/latest/objax/optimizer.html"
OPTAX = "https://optax.readthedocs.io/en/latest/api/optimizers.html"
TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.optim."
KERAS = "https://keras.io/api/optimizers/"


@dataclass(frozen=True)
class Claim:
    """On an axis of the rule, documentation says this choice: in these words, in this place.

    The `target` is an implementation, or one setting of it, as `keras.optimizers:Adafactor(relative_step=False)`.
    Without an axis, `choice` is a fault of the rule, which the documented formula has.
    """

    target: str
    axis: str
    choice: str
    says: str
    place: str


CLAIMS = (
    Claim("objax.optimizer:Adam", "eps_at", "outside_hat", "divides by sqrt(s_hat) + epsilon", OBJAX),
    Claim("objax.optimizer:Adam", "", "v-sign", "s = beta2*s - (1 - beta2)*g**2, with a minus", OBJAX),
    Claim("objax.optimizer:LARS", "eps_at", "none", "the ratio has no epsilon", OBJAX),
    Claim("torch.optim:Adamax", "eps_at", "denominator", "eps is added to the denominator", TORCH + "Adamax.html"),
    Claim("torch.optim:Rprop", "bounds", "apart", "a growing step is bounded from above, a shrinking one from below",
          TORCH + "Rprop.html"),
    Claim("keras.optimizers:RMSprop", "eps_at", "outside", "epsilon is Kingma and Ba's epsilon hat, which is added "
          "to the root", KERAS + "rmsprop/"),
    Claim("keras.optimizers:Nadam", "eps_at", "outside_raw", "epsilon is the epsilon hat of Kingma and Ba, which is "
          "added to the root of the raw moment", KERAS + "Nadam/"),
    Claim("keras.optimizers:Adafactor(relative_step=False)", "rate", "given", "the rate is adjusted to the step if "
          "relative_step is True", KERAS + "adafactor/"),
    Claim("optax:adan", "start", "first_gradient", "m starts as the first gradient, n as its square", OPTAX),
    Claim("optax:adan", "difference", "beta2", "the difference has the weight b2, the paper's 1 - beta2", OPTAX),
)  # fmt: skip


IN_BFLOAT16 = (
    "it iterates in bfloat16 whatever the dtype of the parameters, and the iteration multiplies what that rounds by up "
    "to 485, so that a few digits are left, too few to tell conventions by"
)
# Why an implementation of a rule is none, where its first deviation does not say it.
REMARKS = {(f"{place}.optim:Muon", "muon"): IN_BFLOAT16 for place in ("torch", "timm")}


def disagreements(row: Row) -> Iterator[Claim]:
    """The claims on an implementation that what was measured excludes."""
    for claim in CLAIMS:
        if claim.target in (row.target, row.name) and row.rule:
            axis = row.verdict["axes"].get(claim.axis)
            if not claim.axis or (axis is not None and claim.choice not in axis["choices"]):
                yield claim
