"""Which backend runs, and why."""

from refopt.selection.registry import get_backend, importable, installed
from refopt.selection.select import Selection, select, use

__all__ = ["Selection", "get_backend", "importable", "installed", "select", "use"]
