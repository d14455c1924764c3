"""The end of a run: distances, what was skipped and why, what deviates, the verdict, and the report."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping

import pytest

from refopt_conformance.bare import Bare
from refopt_conformance.budgets import BUDGETS
from refopt_conformance.driver import Driver
from refopt_conformance.expectations import name_of
from refopt_conformance.progress import Progress
from refopt_conformance.records import Record, Run

PROPERTY = "refopt_record"
SHOWN = 3  # smallest cases that are printed in full


class Summary:
    """Collects the records as reports come in, and sums up."""

    def __init__(self, driver: Driver | Bare, run: Run, config: pytest.Config) -> None:
        self.run = run
        self.earlier = len(run.records)
        self.selected = 0
        self.claimed = driver.claimed if isinstance(driver, Bare) else None
        self.passed = sum(one.outcome in ("passed", "expected") for one in run.records)  # of what it claims
        self.started = time.perf_counter()
        self.progress = Progress(config)
        self.outcomes: dict[str, str] = {}
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._start(len(session.items))

    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self._start(len(ids))

    def _start(self, count: int) -> None:
        self.selected = count
        self.progress.start(count)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No dots where there is a bar."""
        if not self.progress.shown or report.when == "teardown" or hasattr(report, "wasxfail"):
            return None
        if report.when == "setup" and report.passed:
            return "", "", ""
        return report.outcome, "", ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += getattr(report, "duration", 0.0)
        if report.when == "call" or (report.when == "setup" and not report.passed):
            outcome: str = report.outcome
            if hasattr(report, "wasxfail"):
                outcome = "expected" if report.skipped else "failed"
            self.outcomes[report.nodeid] = outcome if report.when == "call" or outcome == "skipped" else "error"
            self.progress.advance(failed=self.outcomes[report.nodeid] in ("failed", "error"))
        if report.when == "teardown":
            self._keep(report)

    def _keep(self, report: pytest.TestReport) -> None:
        """The record that came with a test; a test without one has its name and its outcome."""
        found = [value for name, value in report.user_properties if name == PROPERTY]
        record = Record(**found[0]) if found and isinstance(found[0], dict) else Record(name_of(report.nodeid))
        record.outcome = self.outcomes.get(report.nodeid, "error")  # type: ignore[assignment]
        claims = self.claimed in (None, "/".join(filter(None, (record.rule, record.dialect, record.choices))))
        self.passed += claims and record.outcome in ("passed", "expected")
        record.seconds = round(self.seconds[report.nodeid], 4)
        self.run.records.append(record)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What had every case skipped, or every one of its own dialect, has not shown that it conforms."""
        self.progress.stop()
        if session.config.option.collectonly:
            return
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.earlier:
            session.exitstatus = pytest.ExitCode.OK  # all of it was done earlier
        if session.exitstatus == pytest.ExitCode.OK and self._was_stopped():
            session.exitstatus = pytest.ExitCode.INTERRUPTED  # with pytest-xdist, pytest says that all is well
        if session.exitstatus == pytest.ExitCode.OK and not self.passed:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def _was_stopped(self) -> bool:
        return len(self.outcomes) < self.selected

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
    ) -> None:
        section, write = terminalreporter.section, terminalreporter.write_line
        stats = {
            name: terminalreporter.getreports(name) for name in ("passed", "skipped", "failed", "error", "xfailed")
        }
        worst = self.run.worst()
        if worst:
            section("distance from the reference, in ULPs")
            write(f"{'quantity':<10} {'dtype':<13} {'mode':<11} {'worst':>9} {'budget':>8} {'used':>6}  where")
        for key, (ulps, where) in worst.items():
            budget = BUDGETS[key].ulps
            used = "over" if ulps > budget else f"{ulps / budget if budget else 0:.0%}"
            write(f"{key[0]:<10} {key[1]:<13} {key[2]:<11} {ulps:>9.3g} {budget:>8g} {used:>6}  {where}")
        exact = sum(record.exact for record in self.run.records)
        acceptable = sum(record.acceptable for record in self.run.records)
        if exact:
            write(f"{exact} numbers had to be met exactly, and were, but for those that deviate")
        if acceptable:
            what = "subnormal ones, or made of such, taken for zero, or turned by a rounding"
            write(f"{acceptable} numbers are acceptable: {what}")
        if stats["skipped"]:
            section("skipped, and why")
        for reason, count in Counter(_reason(report) for report in stats["skipped"]).most_common():
            write(f"{count:>5}  {reason}")
        if stats["xfailed"]:
            section("expected to deviate, and does")
        for reason, count in Counter(str(getattr(r, "wasxfail", "")) for r in stats["xfailed"]).most_common():
            write(f"{count:>5}  {reason}")
        self._deviations(terminalreporter, stats)
        section("refopt conform")
        self.run.seconds += time.perf_counter() - self.started
        self.run.status = self._verdict(exitstatus, config)
        write(f"{self.run.subject} ({self.run.version}) on {self.run.device} {self.run.status}")
        if (folder := config.getoption("--refopt-report")) and not config.option.collectonly:
            from refopt_conformance.report import write_report

            for file in write_report(self.run, folder):
                write(f"written: {file}")

    def _verdict(self, exitstatus: int, config: pytest.Config) -> str:
        count = Counter(record.outcome for record in self.run.records)
        passed, skipped, expected = count["passed"], count["skipped"], count["expected"]
        failed = count["failed"] + count["error"]
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.earlier:
            exitstatus = pytest.ExitCode.OK
        if config.option.collectonly:
            return "was not run"
        if not self.passed and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            if passed or expected:
                return f"was not tested: no case of {self.claimed}, which it follows, has passed"
            return f"was not tested: {'every case was skipped' if skipped else 'no case matches the arguments'}"
        if not failed and self._was_stopped():
            done = self.earlier + len(self.outcomes)
            return f"was stopped after {done} of {self.earlier + self.selected} tests, of which none deviated"
        if exitstatus == pytest.ExitCode.OK:
            others = [f"{count} {what}" for count, what in ((skipped, "skipped"), (expected, "as expected")) if count]
            return ", ".join([f"conforms: {passed} tests passed", *others])
        if failed:
            return f"deviates: {failed} of {failed + passed} tests failed"
        return "was not tested to the end"

    def _deviations(self, reporter: pytest.TerminalReporter, stats: Mapping[str, list[pytest.TestReport]]) -> None:
        """Which rules and dialects deviate, and the first smallest cases."""
        section, write = reporter.section, reporter.write_line
        broken = Counter(_subject(report.nodeid) for report in (*stats["failed"], *stats["error"]))
        ran = broken + Counter(_subject(report.nodeid) for report in stats["passed"])
        cases = sorted((r.reproduce for r in self.run.records if r.outcome == "failed" and r.reproduce), key=len)
        scripts = [case for case in cases if case.startswith("import")][:SHOWN]
        if scripts:
            section("smallest cases, to be run as they are")
        for script in scripts:
            write(script)
            write("")
        if broken:
            section("deviates")
        for subject, count in broken.most_common():
            write(f"{count:>5} of {ran[subject]:>4}  {subject}")


def _subject(nodeid: str) -> str:
    """The rule and dialect that a test is about, or the test: `adam/paper`."""
    name = name_of(nodeid)
    return "/".join(name.split("/")[1:3]) if "/" in name else name


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
