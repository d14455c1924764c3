"""The atlas as Markdown, and as one HTML page that needs nothing but itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from refopt.atlas.document import Atlas
from refopt.atlas.tables import complex_numbers, others, tables, versions
from refopt.files import whole
from refopt.spec.errors import RefoptError

PAGES = {"atlas.md": "atlas.md.j2", "atlas.html": "atlas.html.j2"}


def write_pages(atlas: Atlas, folder: Path) -> list[Path]:
    """Both pages, beside the JSON that they are made of."""
    written = []
    for name, template in PAGES.items():
        with whole(folder / name) as path:
            path.write_text(render(atlas, template), encoding="utf-8")
        written.append(folder / name)
    return written


def render(atlas: Atlas, template: str) -> str:
    """A page from a file of `templates/`."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise RefoptError(f"the atlas needs jinja2 ({error}); install it with: pip install 'refopt[atlas]'") from error
    environment = Environment(
        loader=PackageLoader("refopt.atlas"),
        autoescape=template.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**facts(atlas))


def facts(atlas: Atlas) -> dict[str, Any]:
    """What the pages show."""
    found = tables(atlas)
    return {
        "tables": found,
        "others": others(atlas),
        "complex": complex_numbers(atlas),
        "versions": versions(atlas),
        "count": len(atlas.rows),
        "named": sum(1 for row in atlas.rows if row.rule),
        "claims": [(line.row, claim) for table in found for line in table.lines for claim in line.claims],
        "stale": [row for row in atlas.rows if row.stale],
    }
