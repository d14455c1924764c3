"""`python -m refopt_conformance.sharded BACKEND [-k PART] [--report DIR] [--fault FAULT]`: 0 if all pass, else 1."""

import argparse
import sys
from pathlib import Path

from refopt_conformance.sharded import BACKENDS, FAULTS, main


def run() -> int:
    parser = argparse.ArgumentParser("refopt_conformance.sharded", description="Run the cases on sharded tensors.")
    parser.add_argument("backend", choices=BACKENDS)
    parser.add_argument("--fault", choices=FAULTS, help="plant a fault, which must be caught")
    parser.add_argument("-k", default="", metavar="PART", help="only cases with this in their name")
    parser.add_argument("--report", type=Path, metavar="DIR", help="a folder for sharded.json")
    given = parser.parse_args()
    return main(given.backend, only=given.k, fault=given.fault, report=given.report)


if __name__ == "__main__":
    sys.exit(run())
