"""`python -m refopt_conformance BACKEND [--device D] [pytest's arguments]`."""

import argparse
import sys

from refopt_conformance import main


def run() -> int:
    parser = argparse.ArgumentParser("refopt_conformance", description="Run the conformance suite on a backend.")
    parser.add_argument("backend", help="a backend's name, or module:ATTRIBUTE")
    parser.add_argument("--device", help="a device as the backend names it; gpu and cuda are the first GPU")
    options, arguments = parser.parse_known_args()
    return main(options.backend, device=options.device, arguments=[a for a in arguments if a != "--"])


if __name__ == "__main__":
    sys.exit(run())
