"""The list of all rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refopt.rules import RULES, VIEWS

if TYPE_CHECKING:
    from rich.table import Table


def list_rules() -> Table:
    """All rules as a table for a rich console."""
    from rich.table import Table  # here: most callers need no terminal

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("rule", "title", "dialects", "axes"):
        table.add_column(column, overflow="fold")
    for rule in (*RULES.values(), *VIEWS.values()):
        dialects, axes = (", ".join(one.name for one in some) for some in (rule.dialects, rule.axes))
        table.add_row(rule.name, rule.title, dialects, axes)
    return table
