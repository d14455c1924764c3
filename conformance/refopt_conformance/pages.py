"""What reports are made of: pages that need nothing but themselves, and badges."""

from __future__ import annotations

from typing import Any

from refopt.spec.errors import RefoptError

GREEN, RED, GREY = "#1a7f37", "#cf222e", "#6e7781"


def render(template: str, results: dict[str, Any], **values: Any) -> str:
    """A page from a file of `templates/`. `results` is what the machine-readable report has."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise RefoptError(
            f"the report needs jinja2 ({error}); install it with: pip install 'refopt[conform]'"
        ) from error
    loader = PackageLoader("refopt_conformance")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(run=results, word=status_word(results), **values)


def status_word(results: dict[str, Any]) -> str:
    """`conforms`, `deviates` or `not tested`."""
    word = str(results["status"]).partition(":")[0]
    return word if word in ("conforms", "deviates") else "not tested"


def badge(label: str, word: str) -> str:
    """An SVG badge: `refopt | conforms`."""
    colour = {"conforms": GREEN, "deviates": RED}.get(word, GREY)
    left, right = 8 + 6.6 * len(label) + 8, 8 + 6.6 * len(word) + 8
    text = 'fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right:g}" height="20" role="img" '
        f'aria-label="{label}: {word}"><title>{label}: {word}</title>'
        f'<rect width="{left + right:g}" height="20" rx="3" fill="#444"/>'
        f'<path d="M{left:g} 0h{right - 3:g}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{right - 3:g}z" fill="{colour}"/>'
        f'<text x="{left / 2:g}" y="14" {text}>{label}</text>'
        f'<text x="{left + right / 2:g}" y="14" {text}>{word}</text></svg>\n'
    )
