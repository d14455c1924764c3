"""`python -m refopt_conformance.sharded BACKEND [--profile P] [-k PART] [--report DIR] [--fault FAULT]`."""

import argparse
import sys
from pathlib import Path

from refopt_conformance import PROFILES
from refopt_conformance.sharded import BACKENDS, FAULTS, main


def run() -> int:
    parser = argparse.ArgumentParser("refopt_conformance.sharded", description="Run the cases on sharded tensors.")
    parser.add_argument("backend", choices=BACKENDS)
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0], help="how much is run")
    parser.add_argument("--fault", choices=FAULTS, help="plant a fault, which must be caught")
    parser.add_argument("-k", default="", metavar="PATTERN", help="only cases whose name matches this")
    parser.add_argument("--report", type=Path, metavar="DIR", help="a folder for sharded.json, .xml, .html and .svg")
    given = parser.parse_args()
    return main(given.backend, profile=given.profile, only=given.k, fault=given.fault, report=given.report)


if __name__ == "__main__":
    sys.exit(run())
