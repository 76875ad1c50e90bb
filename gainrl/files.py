"""Files that are whole at any moment: atomic writes, JSON lines with a torn end, folders with checksums."""

import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gainrl.errors import InputError, one_line

MANIFEST = "manifest.json"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` of a text."""
    write_atomically(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def read_text(path: Path) -> str:
    """A UTF-8 file without its byte order mark. Raises InputError: it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def parse_json(text: str, where: str) -> Any:
    """A JSON value; an integer of too many digits for Python is an infinite number.

    Raises InputError: ``where`` is not JSON, nested too deeply, or an object has a key twice.
    """
    try:
        return json.loads(text, parse_int=_integer, object_pairs_hook=_each_once)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    except RecursionError as error:
        raise InputError(f"{where}: lists or objects are nested too deeply") from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        repeated = next(key for key in content if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"an object has the key {repeated[:40]!r} twice")
    return content


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogate (half of a character, which JSON can spell), so that it can be written."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 4000 else float(digits)


def write_json_lines(path: Path, rows: list[Any]) -> None:
    """`write_atomically` of one line of JSON per row. Raises ValueError for a NaN or an infinity."""
    write_text(path, "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows))


def append_json_line(path: Path, row: Any, *, allow_nan: bool = False) -> None:
    """Add one line of JSON. A process killed while it writes leaves a torn line, which `read_json_lines` drops.

    Raises ValueError for a NaN or an infinity, unless ``allow_nan``.
    """
    with path.open("a") as file:
        file.write(json.dumps(row, allow_nan=allow_nan) + "\n")


def read_json_lines(path: Path, *, mend: bool = False) -> list[Any]:
    """The rows of a file of JSON lines, [] where there is no file; a last line that was cut off is left out.

    Args:
        mend: remove the cut-off line from the file too, so that lines can be appended.

    Raises:
        InputError: another line is not JSON (which), or the file is not UTF-8.
    """
    if not path.exists():
        return []
    *lines, last = read_text(path).split("\n")  # not splitlines(), which also splits at U+2028 inside a string
    if last and _is_json(last):  # only its line break is missing
        lines.append(last)
    rows = [parse_json(line, f"{path}, row {number}") for number, line in enumerate(lines, 1)]
    if last and mend:
        write_text(path, "".join(f"{line}\n" for line in lines))
    return rows


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return False
    return True


def read_json_object(path: Path) -> dict[str, Any]:
    """`parse_json_object` of a file. Raises InputError: it is missing or cannot be read."""
    return parse_json_object(read_text(path), path)


def parse_json_object(text: str, where: object) -> dict[str, Any]:
    """Raises InputError, which says where: no JSON object, a key twice, a number that is not finite, text not Unicode."""
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_each_once)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON: {str(error)[:120] or 'it is empty'}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} holds {str(value)[:40]!r}; a JSON object is needed")
    return value


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:20]} is not a finite number")
    return float(text)


def replace_folder(place: Path, new: Path) -> None:
    """Put the folder ``new``, which lies on the same disk, at ``place``, instead of what is there."""
    with replacing(place):
        new.rename(place)


def replaced(place: Path) -> Path:
    """Where `replacing` keeps what was at ``place``."""
    return place.with_name(f".{place.name}.replaced")


@contextmanager
def replacing(place: Path, *, goes_on: bool = False, has_begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Move what is at ``place`` aside while the block puts something there; it goes when the block has ended well, and comes
    back if not.

    Args:
        goes_on: the block goes on with what an earlier one has begun there; that stays.
        has_begun: after an error, whether a later block can go on; then what was replaced stays aside until one ends well.
    """
    old = replaced(place)
    if not goes_on and old.exists():
        shutil.rmtree(place, ignore_errors=True)
    elif not goes_on and place.exists():
        place.rename(old)
    try:
        yield
    except BaseException:
        if old.exists() and not has_begun():
            shutil.rmtree(place, ignore_errors=True)
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """A folder beside ``place`` to fill, which becomes ``place`` when it is full, instead of what is there.

    Raises InputError: it could not be filled, by whatever a library's writer raises on a full disk; nothing of it is left.
    """
    unfinished = place.with_name(f".{place.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        replace_folder(place, unfinished)
    except Exception as error:
        free = shutil.disk_usage(place.parent).free // 2**20
        raise InputError(f"{place} cannot be written; its disk has {free:,} MiB free: {one_line(error)}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def exclusive(lock: Path, work: str) -> Iterator[None]:
    """While open, no other process can open it; the lock ends with its process, however that ends.

    Args:
        work: what the other process does, for the error.

    Raises:
        InputError: another process has it open.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise InputError(f"another process {work}; wait for it, or end it") from None


def require_settings(path: Path, settings: Mapping[str, Any], content: str) -> None:
    """Check that the file, where there is one, says that a folder's files are made with these settings.

    Args:
        content: what the folder holds, for the error.

    Raises:
        InputError: the file names other settings (which), or cannot be read.
    """
    if not path.exists():
        return
    existing = read_json_object(path)
    if differing := sorted(key for key in {*existing, *settings} if existing.get(key) != settings.get(key)):
        raise InputError(
            f"{path.parent} holds {content} with other settings ({', '.join(differing)} differ); "
            "remove it, or write to another --out"
        )


def claim_settings(path: Path, settings: Mapping[str, Any], content: str) -> None:
    """`require_settings`, and write them down where there is no such file yet."""
    require_settings(path, settings, content)
    if not path.exists():
        write_text(path, json.dumps(settings, indent=1) + "\n")


def made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, filled by ``make`` unless it is there and whole. One process makes it, others wait.

    A damaged folder is made again, and stderr says so.
    """
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f".{folder.name}.lock"):
        if folder.exists():
            wrong = damage(folder)
            if wrong is None:
                return folder
            print(f"gainrl: the cached {folder} is damaged ({wrong}); making it again", file=sys.stderr)
            shutil.rmtree(folder)
        for left in cache.glob(f"making-{folder.name}-*"):  # by a process that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f"making-{folder.name}-") as unfinished:
            work = Path(unfinished) / folder.name
            make(work)
            write_manifest(work)
            work.rename(folder)
    return folder


def write_manifest(folder: Path) -> None:
    """Write down the checksum of every file under ``folder``, after all of them."""
    (folder / MANIFEST).write_text(json.dumps(_checksums(folder), indent=1))


def damage(folder: Path) -> str | None:
    """What is wrong with a folder that has a manifest; None if all its files are as they were written."""
    try:
        expected = read_json_object(folder / MANIFEST)
    except InputError:
        return "its manifest cannot be read"
    if not expected:
        return "its manifest names no file"
    found = _checksums(folder)
    return next((f"{name} is not as it was written" for name in expected if found.get(name) != expected[name]), None)


def _checksums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
