"""A driver behind the protocol of docs/protocol.md: what runs in an interpreter that has no refopt.

It is started as `python -c BOOT FOLDER TARGET WHAT DEVICE`, with FOLDER that of this file (`subjects/interpreter.py`).
"""

from __future__ import annotations

import base64
import json
import math
import os
import warnings
from typing import Any

import numpy as np

from .base import DTYPES, NEEDED, Driver, NoTarget, Refusal, is_number
from .kinds import driver_of
from .loading import load

PROTOCOL = 1


def main(target: str, *, average: bool, device: str | None) -> None:
    """Answer each line of stdin with a line, until told to stop. What the target prints goes to stderr."""
    questions, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    warnings.simplefilter("ignore")  # what a stranger's code warns of is not the verdict's business
    driver: Driver | None = None
    for line in questions:
        asked = json.loads(line)
        if asked["message"] == "stop":
            return
        answer: dict[str, Any] = {"message": asked["message"]}
        try:
            if asked["message"] == "start":
                driver = driver_of(load(target), average=average, device=device)
                answer.update(_declaration(target, driver))
            elif driver is not None and asked["message"] == "init":
                driver.start(_arrays(asked["params"]), asked["hyper"], asked["options"])
            elif driver is not None and asked["message"] == "step":
                answer["params"] = [_encoded(w) for w in driver.step(_arrays(asked["grads"]), asked["hyper"])]
        except (Exception, SystemExit) as error:  # a stranger's code may raise anything: that is the answer
            raised = "" if isinstance(error, (Refusal, NoTarget)) else f"{type(error).__name__}: "
            answer = {"message": "error", "reason": f"{raised}{error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _declaration(target: str, driver: Driver) -> dict[str, Any]:
    """What the program says of itself. An argument that is no number is an option."""
    per_step = driver.arguments if driver.per_step is None else driver.per_step
    hyper: dict[str, dict[str, Any]] = {}
    for name, default in driver.arguments.items():
        if default is NEEDED or default is None or is_number(default):
            known = is_number(default) and math.isfinite(default)
            hyper[name] = {
                "per_step": name in per_step,
                **({"default": default} if known else {}),
            }
    versions = dict(driver.versions)
    name = driver.framework if driver.framework in versions else next(iter(versions), target)
    more = "".join(f" ({other} {version})" for other, version in versions.items() if other != name)
    return {
        "protocol": PROTOCOL,
        "name": name,
        "version": f"{versions.get(name, '?')}{more}",
        "arrays": "base64",
        "dtypes": list(getattr(driver, "dtypes", DTYPES)),
        "average": driver.average,
        "stated": getattr(driver, "stated", False),
        "hyper": hyper,
        "options": [name for name in driver.arguments if name not in hyper],
        "slots": [],
    }


def _arrays(sent: list[dict[str, Any]]) -> list[np.ndarray]:
    """Arrays as they are sent, in little-endian bytes."""
    return [
        np.frombuffer(base64.b64decode(one["data"]), np.dtype(one["dtype"]).newbyteorder("<"))
        .astype(one["dtype"])
        .reshape(one["shape"])
        for one in sent
    ]


def _encoded(array: np.ndarray) -> dict[str, Any]:
    array = np.asarray(array)
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(data).decode()}
