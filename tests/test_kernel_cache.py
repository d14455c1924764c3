"""Kernels are compiled once per machine: a second process finds them on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from refopt.engines.kernel_cache import load_module
from refopt.spec.errors import Unsupported

STEP = """
import json
import numpy as np
from refopt.clocks.plan import plan
from refopt.engines.numba_engine import BACKEND, kernels
from refopt.rules import RULES

counts = {}
for rule in ("adam", "lars"):
    hyper = RULES[rule].hyper("objax")
    w = [np.ones(10, np.float32)]
    BACKEND.update(hyper, 1, w, w, BACKEND.init(hyper, w), in_place=False)
    stats = kernels(plan(hyper.program), "float32").update.stats
    counts[rule] = [sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]
print(json.dumps(counts))
"""


def run_process(folder: Path) -> dict[str, list[int]]:
    done = subprocess.run(
        [sys.executable, "-c", STEP],
        env={**os.environ, "REFOPT_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_second_process_hits(tmp_path: Path) -> None:
    assert run_process(tmp_path) == {"adam": [0, 1], "lars": [0, 1]}
    assert run_process(tmp_path) == {"adam": [1, 0], "lars": [1, 0]}


def test_unwritable_folder_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REFOPT_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    with pytest.raises(Unsupported, match="set REFOPT_CACHE_DIR to a writable folder"):
        load_module("probe", "value = 1\n")
