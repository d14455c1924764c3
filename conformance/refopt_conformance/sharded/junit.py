"""The results of a sharded run as a JUnit file, which continuous integration reads."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from refopt_conformance.sharded.results import Result
from refopt_conformance.sharded.summary import Sharded

# What XML cannot hold, not even escaped: the last words of a process may be in colour.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
TAGS = {"failed": "failure", "skipped": "skipped"}


def junit(run: Sharded) -> str:
    """A suite for each layout, and a case in it for each check."""
    root = ET.Element("testsuites", {"name": f"refopt conform {run.backend} --sharded", **_counts(run.results)})
    for layout in dict.fromkeys(result.layout for result in run.results):
        mine = [result for result in run.results if result.layout == layout]
        suite = ET.SubElement(root, "testsuite", {"name": layout, **_counts(mine)})
        for result in mine:
            name = result.name.removeprefix(f"{layout}/")
            case = ET.SubElement(suite, "testcase", classname=layout, name=name, time=f"{result.seconds:.4f}")
            if tag := TAGS.get(result.outcome):
                said = FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", result.message)
                ET.SubElement(case, tag, message=said).text = said
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(results: Sequence[Result]) -> dict[str, str]:
    outcomes = [result.outcome for result in results]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("failed")),
        "errors": "0",
        "skipped": str(outcomes.count("skipped")),
        "time": f"{sum(result.seconds for result in results):.4f}",
    }
