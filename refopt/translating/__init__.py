"""What is this optimizer in another framework? `translate` finds the equivalent, and runs both."""

from refopt.translating.translate import translate
from refopt.translating.translation import Recipe, Translation

__all__ = ["Recipe", "Translation", "translate"]
