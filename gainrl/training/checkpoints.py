"""Checkpoints on disk: each is whole or absent, the newest two are kept, and a damaged one is never resumed from."""

import shutil
import sys
from pathlib import Path

from gainrl.files import damage, write_manifest

KEPT = 2


def keep(unfinished: Path, folder: Path) -> None:
    """Move a finished checkpoint into ``folder`` and remove all but the newest `KEPT` there."""
    write_manifest(unfinished)
    place = folder / unfinished.name
    if place.exists():  # left by an attempt that then fell back to an older one
        shutil.rmtree(place)
    unfinished.rename(place)
    shutil.rmtree(unfinished.parent)
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def newest(folder: Path) -> str | None:
    """The newest undamaged checkpoint, None if there is none; damaged ones are named on stderr and removed."""
    shutil.rmtree(folder / "unfinished", ignore_errors=True)
    for checkpoint in reversed(_checkpoints(folder)):
        reason = damage(checkpoint)
        if reason is None:
            return str(checkpoint)
        print(f"gainrl: {checkpoint} is damaged ({reason}); resuming from the one before", file=sys.stderr)
        shutil.rmtree(checkpoint)
    return None


def remove_all(folder: Path) -> None:
    """Remove what only an unfinished run needs."""
    for checkpoint in [*_checkpoints(folder), folder / "unfinished", folder / "verl"]:
        shutil.rmtree(checkpoint, ignore_errors=True)


def _checkpoints(folder: Path) -> list[Path]:
    """Oldest first."""
    names = (path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal())
    folders = [path for path in names if path.is_dir()]
    return sorted(folders, key=lambda path: int(path.name.removeprefix("checkpoint-")))
