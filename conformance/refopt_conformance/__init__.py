"""The conformance suite: runs any backend against refopt's reference, and says where it differs.

refopt conform torch --device cuda          python -m refopt_conformance mypackage.backend:BACKEND -k adam -x
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["PROFILES", "main"]

SUITE = Path(__file__).parent / "suite"
PROFILES = ("fast", "full", "brief")
CANNOT_RUN = 2


def main(
    backend: str,
    *,
    device: str | None = None,
    profile: str = "fast",
    report: Path | None = None,
    resume: bool = False,
    expect: Path | None = None,
    rule: str | None = None,
    options: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
) -> int:
    """Run the suite on a backend or an optimizer: 0 if it conforms, 1 if it deviates, 2 if neither.

    Args:
        backend: a backend's name, or `module:ATTRIBUTE`; or an optimizer as `refopt verify` takes it.
        device: where, as the backend names it; None is its default.
        profile: "fast" (under a minute) or "full".
        report: the folder for results.json, junit.xml, report.html and badge.svg.
        resume: go on with the run that the report in that folder is of, if one is there and it was of the same code.
        expect: a JSON file `{pattern of checks: reason}` of what is known to deviate.
        rule: the rule of an optimizer; found if not given.
        options: an optimizer's own arguments, such as amsgrad=True; its numbers are set by the suite.
        arguments: go to pytest (`-k adam`, `-x`, `-n 4`, `--last-failed`).

    If the backend or the device is not here, or no case is left to run, it says so and returns 2.
    """
    if find_spec("pytest") is None:
        print(
            "refopt conform: pytest is not installed; install it with: pip install 'refopt[conform]'", file=sys.stderr
        )
        return CANNOT_RUN
    import pytest

    from refopt.spec.errors import RefoptError
    from refopt_conformance.driver import Driver, environment
    from refopt_conformance.loading import Loaded, load

    if os.getcwd() not in sys.path:  # a backend that is being written lies here; last, so that it hides nothing
        sys.path.append(os.getcwd())
    with environment():
        try:
            driver = load(backend, device, rule=rule, options=options)
            if expect is not None and not expect.is_file():
                raise RefoptError(f"there is no file {expect}; --expect takes a JSON file of {{check: reason}}")
            if resume and (report is None or not isinstance(driver, Driver)):
                raise RefoptError("--resume goes on with the --report of a backend's run; give both, or leave it out")
        except RefoptError as error:
            print(f"refopt conform: {error}", file=sys.stderr)
            return CANNOT_RUN
        flags = ["-c", str(SUITE / "pytest.ini"), "-p", "refopt_conformance.plugin", "--import-mode=importlib"]
        flags += ["-o", f"cache_dir={_memory(backend, rule, device, options)}", "--tb=short", "-q", "-rN"]
        flags += [f"--refopt-backend={backend}", f"--refopt-profile={profile}"]
        flags += [] if rule is None else [f"--refopt-rule={rule}"]
        flags += [f"--refopt-options={json.dumps(dict(options or {}))}"]
        flags += [] if device is None else [f"--refopt-device={device}"]
        flags += ["--refopt-resume"] if resume else []
        flags += [] if expect is None else [f"--refopt-expect={expect.resolve()}"]
        if report is not None:
            report.mkdir(parents=True, exist_ok=True)
            flags += [f"--refopt-report={report.resolve()}", f"--junitxml={report.resolve() / 'junit.xml'}"]
        status = pytest.main([*flags, *arguments, str(SUITE)], plugins=[Loaded(driver)])
        return int(status) if status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else CANNOT_RUN


def _memory(*subject: object) -> Path:
    """The folder where pytest keeps what failed last: one for each subject and folder, so that runs do not mix."""
    from refopt.engines.kernel_cache import cache_folder

    name = hashlib.sha256(repr((os.getcwd(), *subject)).encode()).hexdigest()[:16]
    return cache_folder() / "conform" / name
