"""Rules explained: their equations and documentation (`show`), and their numbers, step by step (`explain`).

Everything is derived from the rule's source and declaration; nothing restates them.

    symbols, notation, equations   a syntax tree as Unicode or LaTeX
    facts, show, markdown          a rule as text, LaTeX, JSON, and as its page of the documentation
    inputs, numbers, trace         a rule at work; explanation is what comes out
"""

from refopt.explaining.catalogue import list_rules
from refopt.explaining.explanation import Explanation, Step, TracedLine
from refopt.explaining.show import show
from refopt.explaining.trace import explain

__all__ = ["Explanation", "Step", "TracedLine", "explain", "list_rules", "show"]
