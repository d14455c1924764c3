"""The pytest side of the suite: which backend is tested by which profile, and what each test leaves behind.

Records travel as properties of the test reports, so that they survive pytest-xdist and stand in a JUnit file.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest

from refopt.spec.errors import RefoptError
from refopt_conformance import PROFILES
from refopt_conformance.bare import Bare, bare_checks
from refopt_conformance.checks import Check, checks
from refopt_conformance.driver import Driver, environment
from refopt_conformance.expectations import expect, name_of
from refopt_conformance.judge import Deviation
from refopt_conformance.loading import Loaded, load
from refopt_conformance.records import Record, Run
from refopt_conformance.reproduce import reproduce
from refopt_conformance.resuming import code_of, go_on
from refopt_conformance.summary import PROPERTY, Summary

_DRIVER = pytest.StashKey[Driver | Bare]()
_CHECKS = pytest.StashKey[list[Check]]()
_RUN = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("refopt")
    group.addoption("--refopt-backend", default="numpy", help="the backend under test: a name, or module:ATTRIBUTE")
    group.addoption("--refopt-device", default=None, help="the device to test it on, as the backend names it")
    group.addoption("--refopt-rule", default=None, help="the rule of a bare subject; found if not given")
    group.addoption("--refopt-options", default="{}", help="a bare subject's own arguments, as JSON")
    group.addoption("--refopt-profile", default="fast", choices=PROFILES, help="how much is run")
    group.addoption("--refopt-report", default=None, type=Path, help="the folder that the report is written to")
    group.addoption("--refopt-resume", action="store_true", help="go on with the run that the report is of")
    group.addoption("--refopt-expect", default=None, type=Path, help="a JSON file of {pattern of checks: reason}")


def pytest_configure(config: pytest.Config) -> None:
    profile = config.getoption("--refopt-profile")
    driver = next((p.driver for p in config.pluginmanager.get_plugins() if isinstance(p, Loaded)), None)
    if driver is None:  # in a process of pytest-xdist's
        with environment():
            driver = load(
                config.getoption("--refopt-backend"),
                config.getoption("--refopt-device"),
                rule=config.getoption("--refopt-rule"),
                options=json.loads(config.getoption("--refopt-options")),
            )
    config.stash[_DRIVER] = driver
    config.stash[_CHECKS] = checks(profile) if isinstance(driver, Driver) else list(bare_checks(driver, profile))
    run = config.stash[_RUN] = Run(driver.name, driver.version, driver.where, profile)
    if isinstance(driver, Driver):
        run.code = code_of(driver)
    if config.getoption("--refopt-resume"):
        try:
            go_on(run, config.getoption("--refopt-report"))
        except RefoptError as refusal:
            raise pytest.UsageError(str(refusal)) from refusal
    if not hasattr(config, "workerinput"):  # of pytest-xdist: the controller sums up
        config.pluginmanager.register(Summary(driver, run, config), "refopt_summary")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "check" in metafunc.fixturenames:
        metafunc.parametrize("check", [*metafunc.config.stash[_CHECKS]], ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    is_bare = isinstance(config.stash[_DRIVER], Bare)  # it has no arrays of its own, but a verdict
    items[:] = [item for item in items if _is_for(getattr(item, "fixturenames", ()), is_bare=is_bare)]
    if file := config.getoption("--refopt-expect"):
        expect(json.loads(file.read_text(encoding="utf-8")), items)
    done = {record.id for record in config.stash[_RUN].records}  # those of an earlier run: none has been made yet
    items[:] = [item for item in items if name_of(item.nodeid) not in done]


def _is_for(fixtures: Sequence[str], *, is_bare: bool) -> bool:
    return "check" in fixtures or ("bare" in fixtures) == is_bare


@pytest.fixture(scope="session")
def driver(pytestconfig: pytest.Config) -> Driver | Bare:
    """The backend, or the bare subject, under test."""
    return pytestconfig.stash[_DRIVER]


@pytest.fixture(scope="session")
def bare(driver: Driver | Bare) -> Bare:
    """The bare subject under test."""
    assert isinstance(driver, Bare)
    return driver


@pytest.fixture
def record(request: pytest.FixtureRequest, check: Check) -> Iterator[Record]:
    """The record of a check; it goes with the report of the test."""
    made = Record.of(check)
    request.node.refopt_record = made
    yield made
    request.node.user_properties.append((PROPERTY, asdict(made)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """What the judge says stands alone, with the smallest case; what a backend raises keeps its traceback."""
    try:
        return (yield)
    except Deviation as found:
        deviation = found
    record = getattr(item, "refopt_record", None)
    said = str(deviation)
    if record is not None:
        check, driver = item.funcargs["check"], item.funcargs["driver"]  # type: ignore[attr-defined]
        record.message = said
        record.reproduce = _small(check, driver, deviation) if isinstance(driver, Driver) else ""
        said += f"\n\n{record.reproduce}"
    pytest.fail(said, pytrace=False)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Checks come rule by rule: what was compiled for one is of no use to the next."""
    driver = item.config.stash[_DRIVER]
    if isinstance(driver, Driver) and _rule(item) != _rule(nextitem):
        driver.forget()


def _rule(item: pytest.Item | None) -> str | None:
    check = getattr(getattr(item, "callspec", None), "params", {}).get("check")
    return None if check is None else check.case.conventions.rule.name


def _small(check: Check, driver: Driver, deviation: Deviation) -> str:
    try:
        return reproduce(check, driver, deviation)
    except Exception as error:  # a broken backend may break on the smaller case in another way
        return f"# no smaller case: {type(error).__name__}: {error}"
