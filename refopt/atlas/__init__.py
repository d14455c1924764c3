"""The atlas: what every optimizer of every installed framework is, measured, in one table.

`targets` lists the implementations, `measuring` verifies each and keeps what it found, `document` reads it back and
says what is stale, `claims` are what documentation says, and `tables` and `pages` write Markdown and HTML.
"""

from refopt.atlas.document import Atlas, load
from refopt.atlas.measuring import chart

__all__ = ["Atlas", "chart", "load"]
