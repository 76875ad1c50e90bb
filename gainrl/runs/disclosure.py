"""What is published of other people's problems: ids and numbers. A folder is read through before it is published."""

import json
import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path

import pandas as pd

from gainrl.errors import InputError
from gainrl.files import read_text

BEGINNING = 40
"""Characters of a longer text by which it is recognized."""
LONGEST = 64
"""Characters of a text in a table: names and ids are no longer."""


def require_no_text(folder: Path, texts: Iterable[str]) -> None:
    """Raises InputError: a file holds one of the texts (its beginning is enough), or a table a text that is no name or id.

    Line breaks and spaces do not matter, nor how a file escapes characters. Pictures are not read.
    """
    needles = sorted({_plain(text)[:BEGINNING] for text in texts} - {""})
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.suffix == ".png":
            continue
        content = _plain(_table(path) if path.suffix == ".parquet" else _readable(path))
        if found := next((needle for needle in needles if needle in content), None):
            raise InputError(f"{path.name} holds the text of a problem, {found!r}; nothing is published")


def _table(path: Path) -> str:
    table = pd.read_parquet(path)
    values = [str(value) for name in table.select_dtypes(exclude="number") for value in table[name].dropna().unique()]
    if long := next((value for value in values if len(value) > LONGEST), None):
        raise InputError(
            f"{path.name} holds a text that is neither name nor id, {long[:BEGINNING]!r}; nothing is published"
        )
    return "\n".join([*map(str, table.columns), *values])


def _readable(path: Path) -> str:
    text = read_text(path)
    if path.suffix == ".json":
        return json.dumps(json.loads(text), ensure_ascii=False).replace("\\\\", "\\").replace('\\"', '"')
    return unescape(text).replace('""', '"') if path.suffix in (".html", ".csv") else text


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
