"""`python -m refopt_conformance BACKEND [--device D] [--profile P] [--report DIR [--resume]] [pytest's arguments]`."""

import argparse
import sys
from pathlib import Path

from refopt_conformance import PROFILES, main


def run() -> int:
    parser = argparse.ArgumentParser("refopt_conformance", description="Run the conformance suite on a backend.")
    parser.add_argument("backend", help="a backend's name, or module:ATTRIBUTE")
    parser.add_argument("--device", help="a device as the backend names it; gpu and cuda are the first GPU")
    parser.add_argument(
        "--profile", choices=PROFILES, default=PROFILES[0], help="fast: under a minute; full: everything"
    )
    parser.add_argument("--report", type=Path, help="a folder for results.json, junit.xml, report.html and badge.svg")
    parser.add_argument("--resume", action="store_true", help="go on with the run that --report is of")
    parser.add_argument(
        "--expect", type=Path, help="a JSON file {pattern of checks: reason} of what is known to deviate"
    )
    options, rest = parser.parse_known_args()
    return main(
        options.backend,
        device=options.device,
        profile=options.profile,
        report=options.report,
        resume=options.resume,
        expect=options.expect,
        arguments=[argument for argument in rest if argument != "--"],
    )


if __name__ == "__main__":
    sys.exit(run())
