"""The pytest side of the suite: which backend is tested, what each test gets, and the summary at the end.

Distances travel as properties of the test reports, so that they survive pytest-xdist and stand in a JUnit file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from refopt_conformance.budgets import BUDGETS, Key
from refopt_conformance.cases import Case
from refopt_conformance.driver import Driver, environment, load
from refopt_conformance.judge import Judge

PROPERTY = "refopt_ulps"
_DRIVER = pytest.StashKey[Driver]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("refopt")
    group.addoption("--refopt-backend", default="numpy", help="the backend under test: a name, or module:ATTRIBUTE")
    group.addoption("--refopt-device", default=None, help="the device to test it on, as the backend names it")


def pytest_configure(config: pytest.Config) -> None:
    with environment():
        config.stash[_DRIVER] = load(config.getoption("--refopt-backend"), config.getoption("--refopt-device"))
    config.pluginmanager.register(Summary(config.stash[_DRIVER]), "refopt_summary")


@pytest.fixture(scope="session")
def driver(pytestconfig: pytest.Config) -> Driver:
    """The backend under test."""
    return pytestconfig.stash[_DRIVER]


@pytest.fixture
def judge(request: pytest.FixtureRequest, driver: Driver) -> Iterator[Callable[[Case, str], Judge]]:
    """Makes the judge of a case; the test is skipped, with the reason, if the backend does not support the case."""
    made: list[Judge] = []

    def make(case: Case, mode: str) -> Judge:
        if reason := driver.refuses(case.hyper(1), case.dtype):
            pytest.skip(reason)
        made.append(Judge(case, mode))
        return made[-1]

    yield make
    for judge in made:
        for key, (ulps, where) in judge.worst.items():
            request.node.user_properties.append((PROPERTY, [*key, ulps, where]))


class Summary:
    """Collects the distances as reports come in, and prints them and what was skipped."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.worst: dict[Key, tuple[float, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                assert isinstance(value, list)
                key, ulps, where = (value[0], value[1], value[2]), value[3], value[4]
                if ulps >= self.worst.get(key, (-1.0, ""))[0]:
                    self.worst[key] = (ulps, where)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        write, backend = terminalreporter.write_line, self.driver.backend
        terminalreporter.section("refopt conform")
        write(f"backend {backend.name} ({backend.version()}) on {self.driver.device or backend.devices()[0]}")
        if self.worst:
            terminalreporter.section("distance from the reference, in ULPs")
            write(f"{'quantity':<10} {'dtype':<9} {'mode':<11} {'worst':>9} {'budget':>8} {'used':>6}  where")
        for key in (key for key in BUDGETS if key in self.worst):
            ulps, where = self.worst[key]
            budget = BUDGETS[key].ulps
            used = f"{ulps / budget:.0%}" if budget else ("0%" if ulps == 0 else "over")
            write(f"{key[0]:<10} {key[1]:<9} {key[2]:<11} {ulps:>9.3g} {budget:>8g} {used:>6}  {where}")
        skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
        if skipped:
            terminalreporter.section("skipped")
        for reason, count in skipped.most_common():
            write(f"{count:>5}  {reason}")


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
