"""A release archive of the vectors: the same bytes whenever and wherever it is made."""

from __future__ import annotations

import gzip
import io
import tarfile
from importlib.metadata import version
from pathlib import Path

EPOCH = 315532800  # 1980-01-01, the first day that every archive format has


def archive(vectors: Path, folder: Path) -> Path:
    """Pack a folder of vectors as refopt-vectors-<version>.tar.gz."""
    name = f"refopt-vectors-{version('refopt')}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(path for path in vectors.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            info = tarfile.TarInfo(f"{name}/{path.relative_to(vectors).as_posix()}")
            info.size, info.mtime, info.mode = path.stat().st_size, EPOCH, 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.tar.gz"
    # Header and all: no name, no time, and the same level of compression.
    place.write_bytes(gzip.compress(packed.getvalue(), compresslevel=9, mtime=0))
    return place
