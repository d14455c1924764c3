"""The pytest side of the suite: which backend is tested, what each test gets, and the summary at the end.

Distances travel as properties of the test reports, so that they survive pytest-xdist and stand in a JUnit file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sized

import pytest

from refopt_conformance.budgets import BUDGETS, Key
from refopt_conformance.cases import Case
from refopt_conformance.driver import Driver, environment, load
from refopt_conformance.judge import Deviation, Judge

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """What the judge says stands alone; what a backend raises keeps its traceback."""
    try:
        return (yield)
    except Deviation as deviation:
        said = str(deviation)
    pytest.fail(said, pytrace=False)


class Summary:
    """Collects the distances as reports come in, and prints them, what was skipped, what deviates and the verdict."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.worst: dict[Key, tuple[float, str]] = {}
        self.passed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == PROPERTY:
                assert isinstance(value, list)
                key, ulps, where = (value[0], value[1], value[2]), value[3], value[4]
                if ulps >= self.worst.get(key, (-1.0, ""))[0]:
                    self.worst[key] = (ulps, where)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A backend of which every case was skipped has not shown that it conforms."""
        if session.exitstatus == pytest.ExitCode.OK and not self.passed and not session.config.option.collectonly:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
    ) -> None:
        section, write = terminalreporter.section, terminalreporter.write_line
        stats = {name: terminalreporter.getreports(name) for name in ("passed", "skipped", "failed", "error")}
        if self.worst:
            section("distance from the reference, in ULPs")
            write(f"{'quantity':<10} {'dtype':<9} {'mode':<11} {'worst':>9} {'budget':>8} {'used':>6}  where")
        for key in (key for key in BUDGETS if key in self.worst):
            ulps, where = self.worst[key]
            budget = BUDGETS[key].ulps
            used = "over" if ulps > budget else f"{ulps / budget if budget else 0:.0%}"
            write(f"{key[0]:<10} {key[1]:<9} {key[2]:<11} {ulps:>9.3g} {budget:>8g} {used:>6}  {where}")
        if stats["skipped"]:
            section("skipped, and why")
        for reason, count in Counter(_reason(report) for report in stats["skipped"]).most_common():
            write(f"{count:>5}  {reason}")
        broken = Counter(_subject(report) for report in (*stats["failed"], *stats["error"]))
        ran = broken + Counter(_subject(report) for report in stats["passed"])
        if broken:
            section("deviates")
        for subject, count in broken.most_common():
            write(f"{count:>5} of {ran[subject]:>4}  {subject}")
        section("refopt conform")
        backend, device = self.driver.backend, self.driver.device or self.driver.backend.devices()[0]
        write(f"{backend.name} ({backend.version()}) on {device} {_verdict(stats, exitstatus, config)}")


def _verdict(stats: Mapping[str, Sized], exitstatus: int, config: pytest.Config) -> str:
    passed, skipped, failed = (len(stats[name]) for name in ("passed", "skipped", "failed"))
    failed += len(stats["error"])
    if config.option.collectonly:
        return "was not run"
    if not passed and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return f"was not tested: {'every case was skipped' if skipped else 'no case matches the arguments'}"
    if exitstatus == pytest.ExitCode.OK:
        return f"conforms: {passed} tests passed" + (f", {skipped} skipped" if skipped else "")
    if failed:
        return f"deviates: {failed} of {failed + passed} tests failed"
    return "was not tested to the end"


def _subject(report: pytest.TestReport) -> str:
    """The rule and dialect that a test is about, or the test: `adam/paper`."""
    test, _, case = report.nodeid.rpartition("::")[2].rstrip("]").partition("[")
    return "/".join(case.split("/")[:2]) if "/" in case else test


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
