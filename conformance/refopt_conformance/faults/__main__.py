"""`python -m refopt_conformance.faults [--rule adam] [--write FILE]`: makes the kill matrix, and says what survives."""

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from refopt.rules import RULES, get_rule
from refopt_conformance import PROFILES
from refopt_conformance.faults.matrix import CONTROL, Kill, as_dict, matrix


def _one(rule: str, profile: str) -> list[Kill]:
    return matrix(profile, [get_rule(rule)])


def run() -> int:
    """0 if every fault is caught, and the engine without one is not; else 1."""
    parser = argparse.ArgumentParser("refopt_conformance.faults", description="Prove that the suite catches faults.")
    parser.add_argument("--rule", choices=[*RULES], action="append", help="only this rule")
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0])
    parser.add_argument("--write", type=Path, help="the file for the matrix, as JSON")
    options = parser.parse_args()
    started = time.perf_counter()
    rules = options.rule or [*RULES]
    with ProcessPoolExecutor() as pool:
        work = [pool.submit(_one, rule, options.profile) for rule in reversed(rules)]
        kills = [kill for done in reversed(work) for kill in done.result()]
    if options.write:
        text = json.dumps(as_dict(kills, options.profile), ensure_ascii=False, separators=(",", ":"))
        options.write.write_text(text.replace('},{"rule"', '},\n{"rule"') + "\n", encoding="utf-8")
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("rule", "fault", "caught by", "of", "how"):
        table.add_column(column, overflow="fold")
    for kill in kills:
        how = ", ".join(f"{kind} {count}" for kind, count in kill.kinds.items())
        table.add_row(kill.rule, kill.fault, str(len(kill.caught)), str(kill.tried), how)
    Console(highlight=False).print(table)
    faults = [kill for kill in kills if kill.fault != CONTROL]
    alive = [kill for kill in faults if not kill.caught]
    wrong = [kill for kill in kills if kill.fault == CONTROL and kill.caught]
    print(f"{len(faults) - len(alive)} of {len(faults)} faults caught in {time.perf_counter() - started:.0f} s")
    for kill in alive:
        print(f"SURVIVES: {kill.rule}, {kill.fault}: {kill.effect}")
    for kill in wrong:
        print(f"WRONG: {kill.rule} without a fault is caught by {', '.join(kill.caught)}")
    return 1 if alive or wrong else 0


if __name__ == "__main__":
    sys.exit(run())
