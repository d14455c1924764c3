"""Complex parameters: what a backend makes of the pairs that it is given in their place."""

from __future__ import annotations

import numpy as np
import pytest

from refopt.engines.numpy_engine import BACKEND as REFERENCE
from refopt.rules import RULES
from refopt.spec.backend import REAL_OF, Slots
from refopt.spec.complex_numbers import AXIS, MODULUS, meant
from refopt_conformance.budgets import BUDGETS, ONE_STEP
from refopt_conformance.distance import distance
from refopt_conformance.driver import Driver

SOME = next(iter(RULES.values())).hyper()
HYPERS = {
    name: rule.hyper(complex=MODULUS, lr=0.1)
    for name, rule in RULES.items()
    if rule.algorithm == name and any(axis.name == AXIS for axis in rule.axes)
}
DTYPE = np.dtype(np.float32)


@pytest.mark.parametrize("dtype", REAL_OF)
def test_complex_arrays_are_pairs_of_real_ones(dtype: str, driver: Driver) -> None:
    """And come back; where they can be written to, both are the same memory."""
    backend = driver.backend
    if reason := backend.supports(SOME, dtype, driver.device):
        pytest.skip(reason)
    array = np.array([[0.0, -0.0 - 1j, complex(np.nan, np.inf)], [1e-3 + 2j, 5 - 0j, -np.inf]]).astype(dtype)
    for given in (array, array[0, 0].reshape(()), array[:, :0]):
        adopted = backend.adopt(given, driver.device)
        pairs = backend.as_pairs(adopted)  # type: ignore[attr-defined]  # a backend that takes complex numbers has it
        found = backend.to_numpy(pairs)
        wanted = np.stack([given.real, given.imag], axis=-1)
        assert (found.shape, found.dtype, found.tobytes()) == (wanted.shape, REAL_OF[dtype], wanted.tobytes())
        back = backend.to_numpy(backend.as_complex(pairs))  # type: ignore[attr-defined]  # as above
        assert (back.shape, back.dtype, back.tobytes()) == (given.shape, given.dtype, given.tobytes())
        if backend.in_place:
            backend.assign([pairs], [backend.adopt(2 * np.ones_like(wanted), driver.device)])
            np.testing.assert_array_equal(backend.to_numpy(adopted), np.full_like(given, 2 + 2j))


@pytest.mark.parametrize("rule", [name for name, hyper in HYPERS.items() if not hyper.refuses_complex])
def test_steps_by_the_modulus(rule: str, driver: Driver) -> None:
    """Two steps of a matrix, a number and nothing, each from where the reference is."""
    hyper, backend = HYPERS[rule], driver.backend
    if reason := backend.supports(hyper, "complex64", driver.device):
        pytest.skip(reason)
    of_pairs, random = meant(hyper), np.random.default_rng(0)
    shapes = ((3, 4, 2), (2,), (0, 2))
    params = [random.standard_normal(shape).astype(DTYPE) for shape in shapes]
    slots: Slots = REFERENCE.init(hyper, params)
    for t in (1, 2):
        grads = [random.standard_normal(shape).astype(DTYPE) for shape in shapes]
        new, after = REFERENCE.update(of_pairs, t, _wide(params), _wide(grads), _wide_slots(slots), in_place=False)
        adopted = driver.adopt(params), driver.adopt(grads), driver.adopt_slots(slots)
        found, kept = backend.update(of_pairs, t, *adopted, in_place=False)
        _near("parameter", found, new, driver)
        for name, slot in after.items():
            if isinstance(slot, list):
                _near("slot", kept[name], slot, driver)
        params = [w.astype(DTYPE) for w in new]
        slots = {name: [x.astype(DTYPE) for x in s] if isinstance(s, list) else s for name, s in after.items()}


def _wide(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return [x.astype(np.float64) for x in arrays]


def _wide_slots(slots: Slots) -> Slots:
    return {name: _wide(slot) if isinstance(slot, list) else slot for name, slot in slots.items()}


def _near(quantity: str, found: list[object], wanted: list[np.ndarray], driver: Driver) -> None:
    """Sums of two squares round once more than squares: of the largest element of the tensor, as of a vector."""
    allowed = BUDGETS[quantity, DTYPE.name, ONE_STEP].ulps
    for x, y in zip(found, wanted, strict=True):
        apart = distance(driver.backend.to_numpy(x), y, scale=np.abs(y).max(initial=0.0))
        assert apart.max(initial=0.0) <= allowed, f"{apart.max()} ULPs apart, {allowed} are allowed"
