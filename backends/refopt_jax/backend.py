"""refopt's JAX backend: each step is one compiled call for the whole list of parameters.

A step compiles once per rule, axes and list of shapes and dtypes. Hyper-parameters, lr and t are arguments of the
compiled step, so that schedules and overrides never compile again. Their combinations (1 - beta2, 1 - beta2**t,
eps / sqrt(1 - beta2**t), lr*wd, ...) are computed on the host in float64 and rounded once.

Sharded arrays stay where they are. An update of elements exchanges nothing and comes to the bits of the unsharded one;
of norms sums are exchanged, which XLA adds to the program wherever shards are cut.

Numeric profile: `a*b + c` may be one rounding instead of two (FMA, as XLA decides), a division by a bias correction is
a multiplication with its reciprocal, and on the CPU subnormal numbers are taken and returned as zeros. Without
jax_enable_x64 the norms of lars (largest error found: 5.8 ULP) and its trust ratio are float32, and a norm above 3.4e38
is infinite. Measured on the CPU, one step with every choice of every axis: within 2 * eps * max(|new|, |old|, lr) of
the float64 reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache, partial
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np

from refopt.spec.backend import REAL_OF, Body, Slots
from refopt.spec.declare import Slot
from refopt.spec.errors import RefoptError, Unsupported
from refopt.spec.hyper import Hyper
from refopt_jax import pairs, ports
from refopt_jax._shared import Axes, scalar_dtype
from refopt_jax.ports import PORTS

INSTALL = "https://docs.jax.dev/en/latest/installation.html"


@partial(jax.jit, static_argnames=("rule", "axes", "by_modulus"))
def compiled_step(
    rule: str,
    axes: tuple[tuple[str, str], ...],
    numbers: jax.Array,
    params: Sequence[jax.Array],
    grads: Sequence[jax.Array] | None,
    slots: Mapping[str, Sequence[jax.Array]],
    by_modulus: bool,
) -> tuple[list[jax.Array], dict[str, list[jax.Array]], dict[str, jax.Array]]:
    """`ports.step` on coefficients that come as one vector: one transfer to the device instead of a dozen."""
    coefficients = PORTS[rule].scalars(*numbers)
    new, slots, made = ports.step(rule, dict(axes), coefficients, params, grads, slots, [by_modulus] * len(params))
    if grads is None:  # such rules leave the parameters alone
        return [], slots, made
    return [x.astype(w.dtype) for x, w in zip(new, params, strict=True)], slots, made


@partial(jax.jit, static_argnames=("rule", "axes"))
def compiled_average(
    rule: str,
    axes: tuple[tuple[str, str], ...],
    numbers: jax.Array,
    params: Sequence[jax.Array],
    slots: Mapping[str, Sequence[jax.Array]],
) -> list[jax.Array]:
    port, averages = PORTS[rule], []
    assert port.average is not None
    for i, w in enumerate(params):
        wide = {name: arrays[i].astype(ports.computing_dtype(w)) for name, arrays in slots.items()}
        a = port.average(dict(axes), port.scalars(*numbers), wide)
        averages.append(a.astype(w.dtype))
    return averages


class JaxBackend:
    """The rules of refopt on JAX arrays. Nothing is changed in place, and nothing of the caller's is donated."""

    name = "jax"
    in_place = False

    def version(self) -> str:
        return f"jax {jax.__version__}"

    def devices(self) -> tuple[str, ...]:
        return tuple(_devices())

    def owns(self, array: Any) -> bool:
        return isinstance(array, jax.Array)

    def supports(self, hyper: Hyper, dtype: str, device: str | None = None) -> str | None:
        of_dtype = ports.refused_complex(hyper, dtype) if dtype in REAL_OF else ports.refused_dtype(dtype)
        return ports.refused(hyper.rule.algorithm, hyper.axes) or of_dtype or _device_problem(device)

    def as_pairs(self, array: jax.Array) -> jax.Array:
        return pairs.as_pairs(array)

    def as_complex(self, array: jax.Array) -> jax.Array:
        return pairs.as_complex(array)

    def adopt(self, array: Any, device: str | None = None) -> jax.Array:
        if problem := _device_problem(device):
            raise Unsupported(problem)
        return self._adopt(array, None if device is None else _device(device))

    def beside(self, array: Any, other: jax.Array) -> jax.Array:
        """Where `other` is committed to; what is not committed goes wherever it is used."""
        own = isinstance(array, jax.Array)
        return array if own else self._adopt(array, other.sharding if other.committed else None)

    def _adopt(self, array: Any, target: Any | None) -> jax.Array:
        """To a device or a sharding; None: uncommitted, on the default device."""
        if isinstance(array, jax.Array):
            return array if target is None else jax.device_put(array, target)
        if not isinstance(array, (np.ndarray, np.generic)):
            raise Unsupported(f"jax: cannot adopt a {type(array).__name__}; give a JAX or NumPy array")
        if problem := ports.refused_dtype(REAL_OF.get(array.dtype.name, array.dtype.name)):
            raise Unsupported(problem)
        # A copy: jax would share memory that its owner may still write to, and take it for constant.
        copied = np.array(array, dtype=array.dtype.newbyteorder("="))
        return jax.device_put(copied, target) if target is not None else jnp.asarray(copied)

    def to_numpy(self, array: jax.Array) -> np.ndarray:
        """A copy. Of an array in shards over several processes, for which all of them have to ask at the same time."""
        if not (array.is_fully_addressable or array.is_fully_replicated):
            from jax.experimental import multihost_utils

            array = multihost_utils.process_allgather(array, tiled=True)
        return np.array(array)

    def init(self, hyper: Hyper, params: Sequence[jax.Array]) -> Slots:
        def start(slot: Slot) -> Any:
            return float(slot.init) if slot.clock == "step" else [ports.initial(hyper.axes, slot, w) for w in params]

        return {slot.name: start(slot) for slot in hyper.program.slots}

    def update(
        self,
        hyper: Hyper,
        t: int,
        params: Sequence[jax.Array],
        grads: Sequence[jax.Array] | None,
        slots: Slots,
        *,
        in_place: bool,
    ) -> tuple[list[jax.Array], Slots]:
        _check(hyper, params, grads)
        numbers, arrays = _split(slots)
        before = {f"{name}_before": value for name, value in numbers.items()}
        if (advance := PORTS[hyper.rule.algorithm].advance) is not None:
            advanced = advance(hyper.axes, hyper.values, numbers, np.float64(t), np)
            numbers = {name: float(x) for name, x in advanced.items()}
        scalars = _scalars(hyper, t, {**before, **numbers})
        given = None if grads is None else list(grads)
        rule, key = hyper.rule.algorithm, _key(hyper.axes)
        new, arrays, made = compiled_step(rule, key, scalars, list(params), given, arrays, hyper.by_modulus)
        if any(isinstance(number, jax.core.Tracer) for number in made.values()):
            raise Unsupported(
                f"jax: {hyper.rule.name} reads {', '.join(made)} of the model from the device after each step, which"
                f" cannot be traced; call it outside jax.jit, or use refopt_jax.as_optax, which keeps them there"
            )
        numbers |= {name: float(number) for name, number in made.items()}
        return (list(params) if grads is None else new), {**slots, **numbers, **arrays}

    def assign(self, params: Sequence[jax.Array], values: Sequence[jax.Array]) -> None:
        raise Unsupported("jax arrays cannot be written to; use the arrays that update and average return")

    def average(self, hyper: Hyper, t: int, params: Sequence[jax.Array], slots: Slots) -> list[jax.Array]:
        if PORTS[hyper.rule.algorithm].average is None:
            raise Unsupported(f"{hyper.rule.name}: there is no average to evaluate with; use the parameters themselves")
        numbers, arrays = _split(slots)
        scalars = _scalars(hyper, t, numbers)
        return compiled_average(hyper.rule.algorithm, _key(hyper.axes), scalars, list(params), arrays)

    def compilations(self) -> int:
        return len(_compiled())

    def eager(self) -> AbstractContextManager[Any]:
        return jax.disable_jit()

    def compiled(self, body: Body, *, donate: bool) -> Body:
        return jax.jit(body, donate_argnums=(0, 1) if donate else ())


@cache
def _compiled() -> list[float]:
    """The seconds of every compilation since this was first called, jax's own of single operations among them."""
    seconds: list[float] = []

    def note(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(note)
    return seconds


def _key(axes: Axes) -> tuple[tuple[str, str], ...]:
    """The axes as a hashable value."""
    return tuple(axes.items())


def _split(slots: Slots) -> tuple[dict[str, float], dict[str, list[jax.Array]]]:
    """The slots that are one number, and the others."""
    numbers = {name: value for name, value in slots.items() if isinstance(value, float)}
    return numbers, {name: list(value) for name, value in slots.items() if name not in numbers}


def _scalars(hyper: Hyper, t: int, numbers: Mapping[str, float]) -> np.ndarray:
    """The coefficients of step t, computed in float64 with IEEE-754's infinities, rounded once."""
    values = {name: np.float64(value) for name, value in {**hyper.values, **numbers}.items()}
    with np.errstate(all="ignore"):
        return np.array(PORTS[hyper.rule.algorithm].coefficients(hyper.axes, values, np.float64(t), np), scalar_dtype())


def _check(hyper: Hyper, params: Sequence[Any], grads: Sequence[Any] | None) -> None:
    if hyper.program.reads_gradient != (grads is not None):
        wanted = "needs gradients; give one for each parameter" if grads is None else "reads no gradient; give None"
        raise RefoptError(f"{hyper.rule.name}: a step {wanted}")
    if any(isinstance(array, np.ndarray) for array in (*params, *(grads or ()))):
        raise Unsupported("jax: got a NumPy array, which jit might round to float32; adopt() it first")


def _devices() -> dict[str, Any]:
    """The devices by name, the default first: "cpu", "gpu:0", "gpu:1", ..."""
    found = list(jax.local_devices())
    if all(device.platform != "cpu" for device in found):
        with suppress(RuntimeError):  # JAX_PLATFORMS may leave the CPU out
            found += jax.local_devices(backend="cpu")
    names: dict[str, Any] = {}
    for device in found:
        same = sum(other.platform == device.platform for other in names.values())
        names["cpu" if device.platform == "cpu" and same == 0 else f"{device.platform}:{same}"] = device
    return names


def _device(name: str) -> Any | None:
    """The device of that name; ":0" may be left out ("gpu") or added ("cpu:0"), and a GPU called cuda."""
    devices, name = _devices(), name.replace("cuda", "gpu")
    return next((devices[n] for n in (name, f"{name}:0", name.removesuffix(":0")) if n in devices), None)


def _device_problem(name: str | None) -> str | None:
    if name is None or _device(name) is not None:
        return None
    return f"jax: no device {name!r} here; choose from {', '.join(_devices())}, or install jax for it ({INSTALL})"


BACKEND = JaxBackend()
