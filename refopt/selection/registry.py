"""The backends that are installed. Listing reads metadata only; just the named one is imported."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from refopt.spec.backend import Backend
from refopt.spec.errors import RefoptError, Unsupported, unknown

GROUP = "refopt.backends"
EXTRAS = ("numba", "jax", "torch")  # backends of this distribution whose framework is an extra
METHODS = tuple(name for name in {**Backend.__annotations__, **vars(Backend)} if not name.startswith("_"))
REMEDY = (
    "pip install 'refopt[all]' installs the frameworks of all of these. A third party's backend is found once its "
    "package is installed, or named as module:ATTRIBUTE."
)


def installed() -> dict[str, EntryPoint]:
    """Backend name -> entry point, our own first, then third parties' by name."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    ours = [name for name in ("numpy", *EXTRAS) if name in found]
    return {name: found[name] for name in [*ours, *sorted(set(found) - set(ours))]}


@cache
def get_backend(name: str) -> Backend:
    """Import a backend by its name, or by `module:attribute`.

    Raises RefoptError for an unknown name, Unsupported if its framework is missing or broken.
    """
    points = installed()
    if name in points:
        return _load(name, points[name].module, points[name].attr)
    if not isinstance(name, str) or ":" not in name:
        raise unknown("refopt", "backend", name, points, REMEDY)
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise RefoptError(f"backend {name!r} must be named as module:ATTRIBUTE, e.g. my_package.backend:BACKEND")
    return _load(name, module, attribute)


def _load(name: str, module: str, attribute: str) -> Backend:
    try:
        found = import_module(module)
    except Exception as error:  # a broken framework raises anything
        raise Unsupported(f"backend {name!r} cannot be imported: {one_line(error)}; {_remedy(name)}") from error
    if not hasattr(found, attribute):
        raise RefoptError(f"backend {name!r}: the module {module} has no {attribute!r}; name the object that it has")
    backend = getattr(found, attribute)
    if lacking := [method for method in METHODS if not hasattr(backend, method)]:
        raise RefoptError(
            f"backend {name!r} is no backend: it lacks {', '.join(lacking)}; see refopt.spec.backend.Backend"
        )
    return backend


def _remedy(name: str) -> str:
    if name in EXTRAS:
        return f"install its framework with: pip install 'refopt[{name}]'"
    return "install or repair the package that provides it, with pip install"


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    said = " ".join(str(error).split())
    return said if isinstance(error, ImportError) and said else f"{type(error).__name__}: {said}"


def importable(name: str) -> str | None:
    """None if the backend imports, else the reason, in one line."""
    try:
        get_backend(name)
    except RefoptError as error:
        return str(error)
    return None
