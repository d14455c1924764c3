"""A backend that proves the hooks: refopt may touch its arrays by the protocol's methods only.

It is named `loopback:LOOPBACK` (changed in place) or `loopback:FRESH` (new arrays at every step).
"""

from loopback.arrays import Wrapped
from loopback.backend import FRESH, LOOPBACK, Loopback

__all__ = ["FRESH", "LOOPBACK", "Loopback", "Wrapped"]
