"""Where a benchmark's numbers go: results/benchmarks/NAME.md and .json, with the command that repeats them."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.files import write_atomically
from gainrl.runs.records import environment

FOLDER = Path("results") / "benchmarks"


def _command() -> str:
    module = sys.modules["__main__"].__spec__
    return shlex.join(["python", "-m", module.name if module else sys.argv[0], *sys.argv[1:]])


def publish(name: str, title: str, rows: pd.DataFrame, note: str) -> None:
    """Write and print a benchmark's table."""
    machine = environment()
    grid = rows.astype(object).where(rows.notna(), None).to_markdown(index=False, floatfmt=".3f", missingval="–")  # noqa: RUF001
    text = (
        f"# {title}\n\n{grid}\n\n{note}\n\n"
        f"{machine['cpus']} CPUs, {machine['threads']} threads, accelerator: {machine['accelerator'] or 'none'}; "
        f"torch {machine['packages']['torch']}, TRL {machine['packages']['trl']}. Repeat with `{_command()}`.\n"
    )
    content: dict[str, Any] = {
        "title": title,
        "note": note,
        "rows": [row.dropna().to_dict() for _, row in rows.iterrows()],
        "environment": machine,
    }
    write_atomically(FOLDER / f"{name}.json", lambda path: path.write_text(json.dumps(content, indent=1) + "\n"))
    write_atomically(FOLDER / f"{name}.md", lambda path: path.write_text(text))
    print(text)
