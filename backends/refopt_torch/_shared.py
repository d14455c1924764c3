"""What the rules of the port share: how one is declared, weight decay and velocity.

All functions work on lists of tensors of one device and dtype, in place where their name ends in an underscore.
Numbers that are the same for all elements are computed on the host in float64 and handed to torch as Python floats;
torch rounds each once to the tensors' dtype.

Numeric profile: `x + c * y` is one call (`alpha=c`), which most machines contract to one rounding (FMA). So a step too
small for a subnormal number still gives the sign to a zero: 0.0 - lr * g can be -0.0.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from refopt_torch.host import in_turns

Axes: TypeAlias = Mapping[str, str]


class Port(NamedTuple):
    """A rule as this port has it.

    `choices` is every axis with the choices implemented here. `slots` names the state: "zeros" and "params" are one
    tensor per parameter, "zero" a 0-d tensor per parameter, "zeros of dimensions" a flat one with a number for each
    index along each dimension of the parameter, "zeros of rows" and "of columns" the parameter's shape with the last
    dimension, or the last but one, as 1, "zeros of vectors" that of a parameter without columns, each also "of large"
    ones (`factored`); where there is none, these have no elements. A number is one float for all. `update(w, g, slots,
    *, t, axes, <numbers>)` changes w and slots; it may keep neither g nor anything that shares memory with it. If it
    `takes_norms`, it is also given the function `norms` of lists like w: of sharded tensors w is a shard, and its norm
    not that of the tensor; if it `takes_sizes`, the numbers of elements of the tensors. If it `takes_totals`, it is a
    generator, which is given the function `sums` too: it yields what its tensors add to a total of the model, a float64
    scalar on their device, and is sent the total; in all calls that make up a step totals come in the same order. If it
    `takes_whole` tensors, it looks along their dimensions, and is given no shards; nor is a rule with slots "of"
    dimensions.
    """

    choices: Mapping[str, tuple[str, ...]]
    slots: Callable[[Axes], dict[str, str | float]]
    update: Callable[..., Generator[Tensor, Tensor, None] | None]
    average: Callable[..., list[Tensor]] | None = None
    reads_gradient: bool = True
    takes_norms: bool = False
    takes_sizes: bool = False
    takes_totals: bool = False
    takes_whole: bool = False

    def tensors(self, axes: Axes) -> list[str]:
        """The slots that are one tensor per parameter."""
        return [name for name, init in self.slots(axes).items() if isinstance(init, str)]


STATE = {"state_dtype": ("float32", "parameter")}
COMPLEX = {"complex": ("refuse", "parts", "modulus")}  # seen as pairs before they come here
DECAY = ("none", "l2", "decoupled", "decoupled_after", "decoupled_no_lr", "decoupled_no_lr_after")
NESTEROV = {"nesterov": ("no", "yes", "scaled")}


def decayed_gradient(axes: Axes, g: list[Tensor], w: list[Tensor], wd: float) -> list[Tensor]:
    """g + wd*w if the decay is L2 regularisation, else g itself."""
    return list(torch._foreach_add(g, w, alpha=wd)) if axes["decay"] == "l2" else g


def decay_before_(axes: Axes, w: list[Tensor], *, lr: float, wd: float) -> None:
    """Decoupled decay, where it comes before the step."""
    if axes["decay"] in ("decoupled", "decoupled_no_lr"):
        _decay_(w, lr * wd if axes["decay"] == "decoupled" else wd)


def decay_after_(axes: Axes, w: list[Tensor], *, lr: float, wd: float) -> None:
    """Decoupled decay, where it comes after the step."""
    if axes["decay"] in ("decoupled_after", "decoupled_no_lr_after"):
        _decay_(w, lr * wd if axes["decay"] == "decoupled_after" else wd)


def _decay_(w: list[Tensor], rate: float) -> None:
    # Not w * (1 - rate): an infinite weight decays to NaN (inf - inf), whatever the rate.
    torch._foreach_add_(w, w, alpha=-rate)


def split_rate(axes: Axes, lr: float) -> tuple[float, float]:
    """What scales a gradient on its way into the velocity, and what scales the step on its way out."""
    return (lr, 1.0) if axes["lr_at"] == "inside" else (1.0, lr)


def times(x: list[Tensor], factor: float) -> list[Tensor]:
    """x times a number; x itself if that changes nothing."""
    return x if factor == 1 else list(torch._foreach_mul(x, factor))


def ride_(axes: Axes, u: list[Tensor], g: list[Tensor], *, t: int, mu: float, scale: float = 1.0) -> list[Tensor]:
    """The velocity moves on, u = mu*u + scale*g, or g unscaled at the first step. Returns the direction of the step:

    u itself, or Nesterov's look ahead g + mu*u.
    """
    if t == 1 and axes.get("first_step") == "copy_gradient":
        torch._foreach_copy_(u, g)
    else:  # one call, which rounds once, where mul_ and add_ round twice
        torch._foreach_copy_(u, torch._foreach_add(times(g, scale), u, alpha=in_turns(mu, t, u[0].dtype)))
    if axes["nesterov"] == "no":
        return u
    if axes["nesterov"] == "scaled":
        g = list(torch._foreach_mul(g, 1 - mu))
    return list(torch._foreach_add(g, u, alpha=mu))


def element_slots(*names: str) -> Callable[[Axes], dict[str, Any]]:
    """Slots that are there whatever the axes, each a tensor of zeros per parameter."""
    return lambda axes: dict.fromkeys(names, "zeros")


def factored(shape: Sequence[int], which: str) -> tuple[int, int] | None:
    """The two dimensions of a parameter that are seen as rows and columns, if any.

    Of "matrices" they are the last two; of "large" ones, the two longest, if both have at least 128 elements.
    """
    if which == "no" or len(shape) < 2:
        return None
    if which == "matrices":
        return len(shape) - 2, len(shape) - 1
    ascending = sorted(range(len(shape)), key=lambda dim: shape[dim])  # of equal ones, the last are the longest
    row, column = sorted(ascending[-2:])
    return (row, column) if min(shape[row], shape[column]) >= 128 else None
