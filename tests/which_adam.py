"""README.md's table "which Adam is it?", read off verdicts."""

from __future__ import annotations

import refopt
from refopt.verifying.report import ulps

SUBJECTS = (
    "torch.optim:Adam",
    "torch.optim:AdamW",
    "optax:adam",
    "optax:adamw",
    "keras.optimizers:Adam",
    "keras.optimizers:AdamW",
)
HEADINGS = ("implementation", "epsilon", "weight decay", "bias correction", "default ε", "fits to", "next best at")


def table() -> str:
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(row(refopt.verify(subject, rule="adam")) for subject in SUBJECTS)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(verdict: refopt.Verdict) -> tuple[str, ...]:
    if not verdict.conforms or verdict.distance is None or verdict.next_distance is None:
        raise ValueError(f"the table has no place for this verdict:\n{verdict}")
    choices = [
        " or ".join(f"`{choice}`" for choice in verdict.axes[axis].choices) for axis in ("eps_at", "decay", "bias")
    ]
    numbers = (f"{verdict.defaults['eps']:g}", ulps(verdict.distance), ulps(verdict.next_distance))
    return (f"`{verdict.subject}`", *choices, *numbers)
