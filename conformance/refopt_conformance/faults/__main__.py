"""`python -m refopt_conformance.faults [--rule adam] [--write]`: makes the kill matrix, and says what survives."""

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from refopt.rules import RULES, get_rule
from refopt_conformance.faults.matrix import CONTROL, Kill, as_dict, matrix

MATRICES = Path(__file__).with_name("matrices")


def _one(rule: str) -> list[Kill]:
    return matrix(get_rule(rule))


def run() -> int:
    """0 if every fault is caught, and the engine without one is not; else 1."""
    parser = argparse.ArgumentParser("refopt_conformance.faults", description="Prove that the suite catches faults.")
    parser.add_argument("--rule", choices=[*RULES], action="append", help="only this rule")
    parser.add_argument("--write", action="store_true", help="keep what was found, in matrices/<rule>.json")
    options = parser.parse_args()
    started = time.perf_counter()
    rules = options.rule or [*RULES]
    with ProcessPoolExecutor() as pool:
        work = {rule: pool.submit(_one, rule) for rule in rules}
        found = {rule: done.result() for rule, done in work.items()}
    kills = [kill for some in found.values() for kill in some]
    for rule, some in found.items() if options.write else ():
        text = json.dumps(as_dict(get_rule(rule), some), ensure_ascii=False, separators=(",", ":"))
        lines = text.replace('[{"fault"', '[\n{"fault"').replace('},{"fault"', '},\n{"fault"')
        (MATRICES / f"{rule}.json").write_text(lines + "\n", encoding="utf-8")
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("rule", "fault", "caught by", "after"):
        table.add_column(column, overflow="fold")
    for kill in kills:
        table.add_row(kill.rule, kill.fault, kill.caught, str(kill.tried - bool(kill.caught)))
    Console(highlight=False).print(table)
    faults = [kill for kill in kills if kill.fault != CONTROL]
    alive = [kill for kill in faults if not kill.caught]
    wrong = [kill for kill in kills if kill.fault == CONTROL and kill.caught]
    print(f"{len(faults) - len(alive)} of {len(faults)} faults caught in {time.perf_counter() - started:.0f} s")
    for kill in alive:
        print(f"SURVIVES: {kill.rule}, {kill.fault}: {kill.effect}")
    for kill in wrong:
        print(f"WRONG: {kill.rule} without a fault is caught by {kill.caught}")
    return 1 if alive or wrong else 0


if __name__ == "__main__":
    sys.exit(run())
