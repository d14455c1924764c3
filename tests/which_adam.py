"""README.md's table "which Adam is it?", read off the atlas."""

from __future__ import annotations

from pathlib import Path

from refopt.atlas import load
from refopt.atlas.document import Row
from refopt.verifying.report import ulps

ATLAS = Path(__file__).parents[1] / "docs" / "atlas"
SUBJECTS = (
    "torch.optim:Adam",
    "torch.optim:AdamW",
    "optax:adam",
    "optax:adamw",
    "keras.optimizers:Adam",
    "keras.optimizers:AdamW",
    "objax.optimizer:Adam",
)
HEADINGS = ("implementation", "epsilon", "weight decay", "bias correction", "default ε", "fits to", "next best at")


def table() -> str:
    atlas = load(ATLAS)
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(cells(atlas.named(subject)) for subject in SUBJECTS)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cells(row: Row) -> tuple[str, ...]:
    if row.rule != "adam":
        raise ValueError(f"the table has no place for {row.name}: {row.verdict}")
    axes = row.verdict["axes"]
    choices = [" or ".join(f"`{choice}`" for choice in axes[axis]["choices"]) for axis in ("eps_at", "decay", "bias")]
    distances = (ulps(float(row.verdict[which])) for which in ("distance", "next_distance"))
    return (f"`{row.name}`", *choices, f"{row.verdict['defaults']['eps']:g}", *distances)
