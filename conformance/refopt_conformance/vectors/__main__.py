"""`python -m refopt_conformance.vectors --write conformance/vectors`, or `--archive out` of what lies there."""

import argparse
import sys
from pathlib import Path

from refopt_conformance.vectors.archive import archive
from refopt_conformance.vectors.document import WITH_VECTORS, texts

HERE = Path("conformance") / "vectors"


def run() -> int:
    """0, or 2 where there is nothing to pack."""
    parser = argparse.ArgumentParser("refopt_conformance.vectors", description="Write or pack the vectors.")
    parser.add_argument("--write", type=Path, metavar="DIR", help=f"write all files anew, usually to {HERE}")
    parser.add_argument("--rule", choices=WITH_VECTORS, default="", help="only the files of this rule")
    parser.add_argument("--archive", type=Path, metavar="DIR", help=f"pack what is in {HERE} for a release")
    given = parser.parse_args()
    if given.write is None and given.archive is None:
        parser.error("nothing to do; give --write DIR, --archive DIR, or both")
    if given.write is not None:
        given.write.mkdir(parents=True, exist_ok=True)
        for name, text in texts(given.rule):
            (given.write / name).write_text(text, encoding="utf-8")
            print(f"written: {given.write / name}, {len(text) / 1e6:.1f} MB")
    if given.archive is not None:
        if not HERE.is_dir():
            print(f"there is no folder {HERE} here; run this at the root of the repository", file=sys.stderr)
            return 2
        print(f"written: {archive(HERE, given.archive)}")
    return 0


if __name__ == "__main__":
    sys.exit(run())
