"""What a run leaves behind: a record of every check, and the run as a whole, ready for JSON."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from refopt_conformance.budgets import BUDGETS, Key
from refopt_conformance.checks import Check, checks
from refopt_conformance.judge import Judge

SCHEMA = "refopt-conformance-report/1"
Outcome = Literal["passed", "failed", "skipped", "expected", "error"]
LIBRARIES = ("refopt", "numpy", "numba", "jax", "jaxlib", "optax", "torch", "keras", "ml_dtypes")


@dataclass
class Record:
    """What became of one check. `worst` has a row for each budget: quantity, dtype, mode, ULPs, where."""

    id: str
    kind: str = ""
    rule: str = ""
    dialect: str = ""
    choices: str = ""
    dtype: str = ""
    numbers: str = ""
    leaf: str = ""
    outcome: Outcome = "passed"
    seconds: float = 0.0
    message: str = ""
    reproduce: str = ""
    worst: list[list[Any]] = field(default_factory=list)
    exact: int = 0
    acceptable: int = 0

    @classmethod
    def of(cls, check: Check) -> Record:
        rule, dialect, *choices = check.case.name.split("/")
        leaf = check.case.leaves[0] if len(check.case.leaves) == 1 else ""
        case = check.case
        return cls(str(check), check.kind, rule, dialect, "/".join(choices), case.precision, case.numbers, leaf)

    def books(self, judge: Judge) -> None:
        self.worst = [[*key, ulps, where] for key, (ulps, where) in judge.worst.items()]
        self.exact, self.acceptable = judge.exact, judge.acceptable


@dataclass
class Run:
    """One run of a profile: what was tested, where, and every record. `code` tells states of the source apart."""

    subject: str
    version: str
    device: str
    profile: str
    code: str = ""
    status: str = "was not run"
    seconds: float = 0.0
    records: list[Record] = field(default_factory=list)

    def worst(self) -> dict[Key, tuple[float, str]]:
        """The largest distance for each budget, and where."""
        found: dict[Key, tuple[float, str]] = {}
        for record in self.records:
            for quantity, dtype, mode, ulps, where in record.worst:
                if ulps >= found.get((quantity, dtype, mode), (-1.0, ""))[0]:
                    found[quantity, dtype, mode] = (ulps, where)
        return {key: found[key] for key in BUDGETS if key in found}

    def as_dict(self) -> dict[str, Any]:
        """Everything, for the machine-readable report. Distances that are infinite are the string "inf"."""
        budgets = [
            {
                "quantity": key[0],
                "dtype": key[1],
                "mode": key[2],
                "worst": _number(ulps),
                "budget": BUDGETS[key].ulps,
                "where": where,
                "reason": BUDGETS[key].reason,
            }
            for key, (ulps, where) in self.worst().items()
        ]
        cases = []
        order = {str(check): i for i, check in enumerate(checks(self.profile))}
        for record in sorted(self.records, key=lambda record: order.get(record.id, -1)):  # they come as they are done
            row = asdict(record)
            row["worst"] = [[*worst[:3], _number(worst[3]), worst[4]] for worst in record.worst]
            cases.append({name: value for name, value in row.items() if value not in ("", [], 0)})
        return {
            "schema": SCHEMA,
            "subject": self.subject,
            "version": self.version,
            "device": self.device,
            "profile": self.profile,
            "code": self.code,
            "status": self.status,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "seconds": round(self.seconds, 1),
            "environment": environment(),
            "budgets": budgets,
            "cases": cases,
        }


def environment() -> dict[str, str]:
    """The versions of what is installed, and the kind of machine."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name(0)
    elif jax is not None and jax.default_backend() != "cpu":
        found["gpu"] = jax.devices()[0].device_kind
    return found


def _number(ulps: float) -> float | str:
    return float(f"{ulps:.4g}") if ulps < float("inf") else "inf"
