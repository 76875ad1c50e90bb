"""Checkpoints on disk: whole or not there, the newest two, and the newest that is undamaged."""

import shutil
import sys
from pathlib import Path

from gainrl.files import damage, write_manifest

KEPT = 2


def keep(unfinished: Path, folder: Path) -> None:
    """Move a finished checkpoint into ``folder`` and remove all but the newest ones there."""
    write_manifest(unfinished)
    place = folder / unfinished.name
    if place.exists():  # of an attempt that fell back to one before it
        shutil.rmtree(place)
    unfinished.rename(place)
    shutil.rmtree(unfinished.parent)
    for old in _found(folder)[:-KEPT]:
        shutil.rmtree(old)


def newest(folder: Path) -> str | None:
    """The newest undamaged checkpoint, None if there is none; damaged ones are named on stderr and removed."""
    shutil.rmtree(folder / "unfinished", ignore_errors=True)
    for checkpoint in reversed(_found(folder)):
        wrong = damage(checkpoint)
        if wrong is None:
            return str(checkpoint)
        print(f"gainrl: {checkpoint} is damaged ({wrong}); going on from the one before", file=sys.stderr)
        shutil.rmtree(checkpoint)
    return None


def remove_all(folder: Path) -> None:
    """What only an unfinished run needs."""
    for checkpoint in [*_found(folder), folder / "unfinished"]:
        shutil.rmtree(checkpoint, ignore_errors=True)


def _found(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))
