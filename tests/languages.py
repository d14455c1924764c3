"""How programs of other languages are run in the tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def command(source: Path, folder: Path) -> list[str]:
    """The command that runs a program in Python (without the environment's packages), JavaScript, or C, built there."""
    if source.suffix == ".py":
        return [sys.executable, "-I", "-S", str(source)]
    if source.suffix == ".mjs":
        return [_tool("node", "nodejs"), str(source)]
    built = folder / source.stem
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
    subprocess.run([_tool("cc", "gcc"), *flags, str(source), "-o", str(built), "-lm"], check=True)
    return [str(built)]


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; install it to run this example, e.g. with: apt-get install {package}")
    return found
