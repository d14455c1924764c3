"""The list of all rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refopt.rules import RULES

if TYPE_CHECKING:
    from rich.table import Table


def rule_rows() -> list[dict[str, Any]]:
    """Every rule's name, title, dialects and axes."""
    return [
        {
            "name": rule.name,
            "title": rule.title,
            "dialects": [dialect.name for dialect in rule.dialects],
            "axes": [axis.name for axis in rule.axes],
        }
        for rule in RULES.values()
    ]


def list_rules() -> Table:
    """All rules as a table for a rich console."""
    from rich.table import Table  # here: most callers need no terminal

    table = Table("rule", "title", "dialects", "axes")
    for row in rule_rows():
        table.add_row(row["name"], row["title"], ", ".join(row["dialects"]), str(len(row["axes"])))
    return table
