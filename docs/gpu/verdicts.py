"""What torch's own optimizers follow on a GPU, in each of their implementations: `python docs/gpu/verdicts.py FOLDER`.

Every optimizer of torch.optim but LBFGS and SparseAdam, in float64 and in float32, as its for-loop, with foreach, fused
and capturable, where it has them. Writes torch_optim.json into the folder, anew after every verdict.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

import refopt
from refopt.files import finite

WAYS = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"foreach": False, "capturable": True},
    "capturable, foreach": {"foreach": True, "capturable": True},
}
MOMENTUM = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9}}
WITHOUT = ("Optimizer", "LBFGS", "SparseAdam")
PROCESSES = 8


def work() -> list[tuple[str, str, dict[str, Any], str]]:
    """Optimizer, way, its arguments, dtype."""
    found = []
    for name, kind in sorted(vars(torch.optim).items()):
        if not inspect.isclass(kind) or name in WITHOUT:
            continue
        has = inspect.signature(kind).parameters
        for way, options in WAYS.items():
            if options.keys() <= has.keys():
                found += [(name, way, MOMENTUM.get(name, {}) | options, dtype) for dtype in ("float64", "float32")]
    return found


def measure(name: str, way: str, options: dict[str, Any], dtype: str) -> dict[str, Any]:
    started = time.perf_counter()
    verdict = refopt.verify(f"torch.optim:{name}", dtype=dtype, device="cuda", fit=False, **options).as_dict()
    kept = ("status", "rule", "dialect", "departures", "distance", "reason", "notes")
    about = {"target": name, "way": way, "options": options, "dtype": dtype}
    about |= {key: finite(verdict[key]) for key in kept if verdict.get(key)}
    return about | {"seconds": round(time.perf_counter() - started, 1)}


def main(folder: Path) -> None:
    rows = work()
    done: dict[tuple[str, str, str], dict[str, Any]] = {}
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(measure, *row) for row in rows]):
            row = future.result()
            done[row["target"], row["way"], row["dtype"]] = row
            verdicts = [done[name, way, dtype] for name, way, _, dtype in rows if (name, way, dtype) in done]
            about = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "numpy": np.__version__}
            text = json.dumps(about | {"verdicts": verdicts}, indent=1)
            (folder / "torch_optim.json").write_text(text + "\n", encoding="utf-8")
    conform = sum(row["status"] == "conforms" for row in done.values())
    print(f"{conform} of {len(rows)} conform")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
