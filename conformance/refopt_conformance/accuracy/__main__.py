"""`python -m refopt_conformance.accuracy [--write docs/accuracy]` measures everybody; writes the page and its data."""

import argparse
import json
import os
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from rich.progress import Progress

from refopt_conformance.accuracy.measure import DTYPES, Row, groups, measure
from refopt_conformance.accuracy.page import as_dict, page

FRAMEWORKS = ("numpy", "jax", "optax", "torch", "keras")


def run() -> int:
    """Measures everybody. Needs all of the frameworks: a table without one would say less than it seems to."""
    parser = argparse.ArgumentParser("refopt_conformance.accuracy", description="Measure the errors of optimizers.")
    parser.add_argument("--write", type=Path, metavar="STEM", help="write STEM.md and STEM.json")
    parser.add_argument("-k", default="", metavar="PART", help="only conventions with this in their name")
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="only this dtype")
    given = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras asks when it is imported; the page names it
    import_module("torch").set_num_threads(1)  # small tensors, many steps: threads would wait for each other
    chosen = [(group, dtype) for dtype in given.dtype or DTYPES for group in groups() if given.k in group.name]
    rows: list[Row] = []
    with Progress() as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the frameworks warn of is not what is measured
        for group, dtype in bar.track(chosen, description="measuring"):
            rows += measure(group, dtype)
    versions = {name: version(name) for name in FRAMEWORKS} | {"keras on": os.environ["KERAS_BACKEND"]}
    text = page(rows, versions)
    if given.write is None:
        print(text)
    else:
        data = json.dumps(as_dict(rows, versions), separators=(",", ":")).replace('},{"conv', '},\n{"conv')
        given.write.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
        given.write.with_suffix(".md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run())
