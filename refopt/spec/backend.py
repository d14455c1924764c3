"""What a backend is: an object with a handful of methods, which runs rules on its own arrays.

The numpy and numba engines run the reference's own source; jax and torch are independent ports; a third party's is
found through the entry-point group `refopt.backends`. `docs/backends.md` shows how to write one. What compiles its
steps may say so (`Compiling`): the conformance suite then tests what compiled steps must promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import numpy as np

from refopt.spec.hyper import Hyper

REAL_OF = {"complex64": "float32", "complex128": "float64"}  # complex dtypes, and that of both parts

Array: TypeAlias = Any  # an array of the backend's own type
Slots: TypeAlias = dict[str, Any]  # slot name -> list of arrays (one per parameter), or one float (clock "step")
Body: TypeAlias = Callable[[list[Array], Slots, list[Array] | None], tuple[list[Array], Slots]]


class Backend(Protocol):
    """Runs every rule on lists of arrays (the leaves of the caller's tree)."""

    name: str
    in_place: bool  # whether its arrays can be changed in place

    def version(self) -> str:
        """The version of the library underneath, e.g. "torch 2.13.0"."""

    def devices(self) -> tuple[str, ...]:
        """The devices it can run on now, the default first, e.g. ("cpu", "cuda:0")."""

    def owns(self, array: Any) -> bool:
        """Whether this is an array of the backend's own type (it decides the selection by array type)."""

    def supports(self, hyper: Hyper, dtype: str, device: str | None = None) -> str | None:
        """None if it can run this rule on parameters of this dtype there, else the reason and the remedy."""

    def adopt(self, array: Any, device: str | None = None) -> Array:
        """The backend's array for one of its own or a NumPy array, dtype unchanged; shares memory where it can.

        Raises Unsupported for anything else: no silent conversion.
        """

    def beside(self, array: Any, other: Array) -> Array:
        """`adopt`, but a NumPy array goes where `other` lies: to its device, or spread over its devices.

        The backend's own arrays stay where they are: to move them is their owner's decision.
        """

    def to_numpy(self, array: Array) -> np.ndarray:
        """The values as a NumPy array of the same dtype (bfloat16 is ml_dtypes.bfloat16)."""

    def init(self, hyper: Hyper, params: Sequence[Array]) -> Slots:
        """The slots before the first step.

        Those of float16 and bfloat16 parameters are float32, or have their dtype if the axis `state_dtype` says so.
        """

    def update(
        self,
        hyper: Hyper,
        t: int,
        params: Sequence[Array],
        grads: Sequence[Array] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> tuple[list[Array], Slots]:
        """Step number `t` (from 1). With `in_place`, params and slots may be overwritten; without, nothing is.

        `grads` is None for rules that read no gradient (ema), which leave the parameters as they are.
        """

    def assign(self, params: Sequence[Array], values: Sequence[Array]) -> None:
        """Write values into parameters in place. Only called where `in_place` is true."""

    def average(self, hyper: Hyper, t: int, params: Sequence[Array], slots: Slots) -> list[Array]:
        """What to evaluate with after `t` steps, as new arrays in the parameters' dtypes (rules with an average)."""


class OfComplex(Protocol):
    """What a backend has beside that runs complex parameters as pairs of real ones.

    If `supports` takes a dtype of complex numbers, `adopt` and `beside` take such arrays; all else sees pairs alone.
    """

    def as_pairs(self, array: Array) -> Array:
        """An array of complex numbers as real ones, with one dimension more, of 2: real part, imaginary part.

        Of a backend that works in place it shares the memory.
        """

    def as_complex(self, pairs: Array) -> Array:
        """The way back."""


class Compiling(Protocol):
    """What a backend that compiles may have beside: any of these, which only the conformance suite calls."""

    def compilations(self) -> int:
        """How many programs have been compiled in this process. Where counting begins does not matter."""

    def eager(self) -> AbstractContextManager[Any]:
        """Inside it steps are computed operation by operation, and not compiled."""

    def compiled(self, body: Body, *, donate: bool) -> Body:
        """`body(params, slots, grads)` as a program of the user's own, in which the backend's `update` is called.

        With `donate` it may take the memory of params and slots for what it returns: these are gone after the call.
        """
