"""Complex parameters, which backends see as pairs of real numbers: one dimension more, of 2.

What the pairs mean is the rule's axis `complex`: by parts they are numbers like all others; by the modulus complex
leaves are stepped by a program of their own. State is kept for the pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from refopt.clocks import of_model
from refopt.spec.backend import REAL_OF, Backend, Slots
from refopt.spec.complex_numbers import meant
from refopt.spec.errors import Unsupported
from refopt.spec.hyper import Hyper


def dtype_name(array: Any) -> str:
    """`float32` for NumPy and JAX, for torch's `torch.float32`, and for a third party's `library.float32`."""
    return str(array.dtype).rpartition(".")[2]


def is_complex(array: Any) -> bool:
    return dtype_name(array) in REAL_OF


def seen_as(array: Any) -> tuple[tuple[int, ...], str]:
    """The shape and the dtype in which a parameter is run."""
    name, shape = dtype_name(array), tuple(array.shape)
    return ((*shape, 2), REAL_OF[name]) if name in REAL_OF else (shape, name)


def as_seen(backend: Backend, arrays: Iterable[Any]) -> list[Any]:
    """The backend's arrays, complex ones as pairs, which share their memory if they can be changed in place."""
    return [backend.as_pairs(x) if is_complex(x) else x for x in arrays]  # type: ignore[attr-defined]  # checked before


def as_given(backend: Backend, arrays: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    """The arrays, those of complex leaves as complex numbers again."""
    return [
        backend.as_complex(x) if is_complex(leaf) else x  # type: ignore[attr-defined]  # checked before
        for x, leaf in zip(arrays, like, strict=True)
    ]


def check_complex(backend: Backend, hyper: Hyper, arrays: Sequence[Any]) -> None:
    """Refuse what cannot be seen as pairs, after the backend has said that it takes the dtype."""
    places = [is_complex(x) for x in arrays]
    if any(places) and not hasattr(backend, "as_pairs"):
        raise Unsupported(
            f"{backend.name}: it has no as_pairs and as_complex, and takes no complex parameters; optimise real and"
            f" imaginary parts as two arrays, or choose the numpy backend"
        )
    if any(places) and not all(places) and of_model(hyper.program) and meant(hyper).program is not hyper.program:
        raise Unsupported(
            f"{hyper.rule.name}: by the modulus, complex and real parameters are stepped apart, and this rule adds over"
            f" all of them; choose complex='parts', or make the real ones complex"
        )


def step(
    backend: Backend,
    hyper: Hyper,
    t: int,
    arrays: Sequence[Any],
    grads: Sequence[Any] | None,
    slots: Slots,
    places: Sequence[bool],
    *,
    in_place: bool,
) -> tuple[list[Any], Slots]:
    """A backend's update of arrays as it sees them; at `places` they are complex."""
    other = meant(hyper) if any(places) else hyper
    if all(places) or other.program is hyper.program:
        return backend.update(other, t, arrays, grads, slots, in_place=in_place)
    new, kept = list(arrays), dict(slots)
    for mine, which in ((hyper, False), (other, True)):
        at = [i for i, place in enumerate(places) if place is which]
        part = {name: [slot[i] for i in at] if isinstance(slot, list) else slot for name, slot in slots.items()}
        some = None if grads is None else [grads[i] for i in at]
        stepped, after = backend.update(mine, t, [arrays[i] for i in at], some, part, in_place=in_place)
        for name, slot in after.items():
            if not isinstance(slot, list):
                kept[name] = slot  # both make the same of it
                continue
            kept[name] = list(kept[name])
            for i, x in zip(at, slot, strict=True):
                kept[name][i] = x
        for i, x in zip(at, stepped, strict=True):
            new[i] = x
    return new, kept
