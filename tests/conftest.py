"""What the harness settles before any framework is imported, and the fixtures that several files share."""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.pop("REFOPT_BACKEND", None)  # what a developer has chosen for themselves

from running_cases import BACKENDS

from refopt.selection import importable


def wide(backend: str) -> Any:
    """For jax, a context in which float64 exists: the harness says so, never the library."""
    if backend != "jax":
        return nullcontext()
    import jax

    return jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every backend by name, in float64 as well."""
    if (reason := importable(request.param)) is not None:
        pytest.skip(f"{request.param} does not run here: {reason}")
    with wide(request.param):
        yield request.param
