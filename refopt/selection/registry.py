"""The backends that are installed. Listing reads metadata only; just the named one is imported."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from refopt.spec.backend import Backend
from refopt.spec.errors import RefoptError, Unsupported, unknown

GROUP = "refopt.backends"
EXTRAS = ("numba", "jax", "torch")  # backends of this distribution whose framework is an extra


def installed() -> dict[str, EntryPoint]:
    """Backend name -> entry point, our own first, then third parties' by name."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    ours = [name for name in ("numpy", *EXTRAS) if name in found]
    return {name: found[name] for name in [*ours, *sorted(set(found) - set(ours))]}


@lru_cache(maxsize=None)
def get_backend(name: str) -> Backend:
    """Import a backend by its name, or by `module:attribute`.

    Raises RefoptError for an unknown name, Unsupported if its framework is missing or broken.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        return _load(name, EntryPoint(attribute, f"{module}:{attribute}", GROUP))
    points = installed()
    if name not in points:
        remedy = "A third-party backend is found once its package is installed, or named as module:ATTRIBUTE."
        raise unknown("refopt", "backend", name, points, remedy)
    return _load(name, points[name])


def _load(name: str, point: EntryPoint) -> Backend:
    try:
        return point.load()
    except ImportError as error:
        raise Unsupported(f"backend {name!r} cannot be imported: {error}; {_remedy(name)}") from error
    except AttributeError as error:
        raise RefoptError(f"backend {name!r}: {point.value} does not exist ({error})") from error


def _remedy(name: str) -> str:
    if name in EXTRAS:
        return f"install its framework with: pip install 'refopt[{name}]'"
    return "install the package that provides it"


def importable(name: str) -> str | None:
    """None if the backend imports, else the reason, in one line."""
    try:
        get_backend(name)
    except Exception as error:  # whatever a broken framework raises is the answer
        return f"{type(error).__name__}: {error}" if not isinstance(error, RefoptError) else str(error)
    return None
