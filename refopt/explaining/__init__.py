"""Rules explained: their equations and documentation (`show`), and their numbers, step by step (`explain`).

Everything is derived from the rule's source and declaration; nothing restates them.

    symbols, notation, equations   a syntax tree as Unicode or LaTeX
    facts, show, markdown, pages   a rule as text, LaTeX, JSON, and as its page of the documentation
    inputs, numbers, trace         a rule at work; explanation is what comes out
"""

from refopt.explaining.catalogue import list_rules, rule_rows
from refopt.explaining.explanation import Explanation, Step, TracedLine
from refopt.explaining.show import show
from refopt.explaining.trace import explain

__all__ = ["Explanation", "Step", "TracedLine", "explain", "list_rules", "rule_rows", "show", "write_pages"]


def write_pages(folder: str) -> list[str]:
    """Write every rule's page and the generated blocks of the other pages under a documentation folder."""
    from refopt.explaining import pages  # here: it is also run as a program, and must not be imported before that

    return [str(path) for path in pages.write_pages(folder)]
