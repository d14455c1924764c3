"""A translation as a person reads it."""

from __future__ import annotations

import io

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from refopt.rules import RULES
from refopt.translating import formulas
from refopt.translating.running import STEPS, Difference
from refopt.translating.translation import Recipe, Translation
from refopt.verifying.report import ulps

HEADLINES = {
    "equivalent": ("equivalent", "bold green"),
    "constant_lr": ("equivalent while the learning rate is constant", "bold yellow"),
    "none": ("no equivalent", "bold red"),
}
EXACTLY = {"constant_lr": ", and always if", "none": ", unless"}
MEANINGS = {
    "lr": "lr is the source's learning rate at this step",
    "lr_before": "lr_before that of the step before, at first lr itself",
    "t": "t is the number of the step, from 1",
}


def render(translation: Translation) -> RenderableType:
    """The translation as a rich renderable."""
    words, style = HEADLINES[translation.status]
    line = Text(translation.source, "bold")
    line.append(f"  in {translation.to}: ").append(words, style)
    if translation.exact is not None:
        line.append(f"{EXACTLY[translation.status]} a number is set at each step")
    parts: list[RenderableType] = [line]
    if translation.recipe is not None:
        if translation.status == "none":
            parts += ["", Text("the nearest:")]
        parts += ["", Text(f"    {translation.recipe.code}")]
    if (table := _facts(translation)).row_count:
        parts += ["", table]
    return Group(*parts)


def text(translation: Translation, width: int = 110) -> str:
    """The translation as plain text."""
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False, markup=False)
    console.print(render(translation))
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]  # the StringIO above


def _facts(translation: Translation) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("fact", style="dim", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_row("rule", RULES[translation.rule].title)
    for reason in translation.reasons:
        table.add_row("because", f"{reason.axis} is {reason.source} here: {reason.source_meaning}")
        table.add_row("", f"and {reason.target} there: {reason.target_meaning}")
    if translation.recipe is not None:
        _of_recipe(table, translation.recipe, claimed=translation.status)
    if translation.exact is not None:
        table.add_row("exactly", f"{translation.exact.code}, with these lines before each step:")
        table.add_row("", "for group in optimizer.param_groups:")
        for line in translation.exact.each_step:
            table.add_row("", f"    {line}")
        table.add_row("", f"({_explained(translation.exact.each_step)})")
        _of_recipe(table, translation.exact, claimed="equivalent")
    if translation.defaults:
        numbers = ", ".join(f"{name}={value:g}" for name, value in translation.defaults.items())
        table.add_row("not given", f"{numbers}: the source's own")
    for note in translation.notes:
        table.add_row("note", note)
    if translation.versions:
        table.add_row("versions", ", ".join(f"{name} {version}" for name, version in translation.versions.items()))
    return table


def _of_recipe(table: Table, recipe: Recipe, *, claimed: str) -> None:
    """The numbers that changed, what the runs showed, and the state."""
    for number in recipe.numbers:
        table.add_row(number.name, f"{number.value:g} = {number.formula}")
    runs = [("changing", recipe.changing)] + ([("constant", recipe.constant)] if claimed != "equivalent" else [])
    for rate, found in runs:
        if found is not None:
            table.add_row("run", f"{STEPS} steps of a {rate} rate: {_apart(found)}")
    for carried in recipe.state:
        own = "".join(f"; {name} is the rule's {meaning}" for name, meaning in carried.unnamed.items())
        unsure = "" if carried.checked else "; the names are not checked"
        table.add_row("state", f"{carried.code}{own}{unsure}")
    if (handed := recipe.handed_over) is not None and recipe.state:
        table.add_row("", f"moved so after half of the steps: {_apart(handed)}")


def _explained(lines: tuple[str, ...]) -> str:
    """What the names in the lines mean."""
    read = set().union(*(formulas.reads(line.partition("=")[2].strip()) for line in lines))
    return "; ".join(meaning for name, meaning in MEANINGS.items() if name in read)


def _apart(found: Difference) -> str:
    """How far two runs come apart: by rounding, or by how much, and where."""
    if found.rounded:
        return (
            "the same, but that one of the two rounds to float32, as Keras does its learning rate: "
            f"{found.share:.0e} of the way"
        )
    if found.same:
        return f"the same to {ulps(found.distance)}"
    return (
        f"apart from step {found.first_step}, by up to {abs(found.source - found.target):.2g} at step {found.step} in "
        f"{found.quantity}, {found.share:.1%} of its tensor's way, where gradients are of the size {found.gradient:.1g}"
    )
