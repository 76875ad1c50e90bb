"""A folder's checksums, written last: a folder whose files are all as they were written is whole."""

import hashlib
import json
from pathlib import Path

NAME = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Write down the checksums of every file under ``folder``."""
    (folder / NAME).write_text(json.dumps(_checksums(folder), indent=1))


def damage(folder: Path) -> str | None:
    """What is wrong with a folder that has a manifest; None if it is whole."""
    try:
        expected = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return "its manifest cannot be read"
    found = _checksums(folder)
    return next((f"{name} is not as it was written" for name in expected if found.get(name) != expected[name]), None)


def _checksums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / NAME:
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
