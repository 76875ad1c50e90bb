"""From experiments and their runs to the page's HTML: everything that it shows is inside the file."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analysis.comparison import Lookup
from analysis.control import Controls
from analysis.leaderboard import boards, families, ranking, together
from analysis.report import release
from analysis.report.methods import method_details
from analysis.report.run_details import run_details
from analysis.runs import Runs
from analysis.tables import Grid, grids, seeds_and_marks
from analysis.verdict import Verdict, verdict
from gainrl.runs.experiment import Experiment

FOLDER = Path(__file__).parent
OF_A_BOARD = "leaderboard-"
"""Figures of that name, and the family's, stand beside their table."""


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it."""

    name: str
    caption: str
    svg: bytes

    @property
    def source(self) -> str:
        """A data URL."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


@dataclass(frozen=True)
class Board:
    """The leaderboard of one family of problems."""

    grid: Grid
    cells: list[str]
    """A cell a row of the grid"""
    picture: Picture | None


@dataclass(frozen=True)
class Leaderboard:
    """All of an experiment's."""

    boards: list[Board]
    together: Grid | None
    details: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """One experiment on the page."""

    experiment: Experiment
    verdict: Verdict
    note: str
    pictures: list[Picture]
    grids: list[Grid]
    details: dict[str, Any]
    unfinished: list[str]
    left_out: tuple[str, ...]
    """Runs that are damaged, and why."""
    notes: tuple[str, ...]
    leaderboard: Leaderboard | None = None


def section(
    experiment: Experiment,
    runs: Runs,
    comparison: pd.DataFrame,
    controls: Controls,
    pictures: list[Picture],
    unfinished: list[str],
) -> Section:
    """Everything about one experiment, from its finished runs, their comparisons and figures."""
    return Section(
        experiment,
        verdict(experiment, comparison, controls, runs),
        seeds_and_marks(experiment, comparison),
        [picture for picture in pictures if not picture.name.startswith(OF_A_BOARD)],
        grids(experiment, comparison, controls, runs),
        run_details(experiment, runs),
        unfinished,
        runs.left_out,
        runs.notes,
        _leaderboard(experiment, runs, comparison, pictures) if experiment.leaderboard else None,
    )


def _leaderboard(experiment: Experiment, runs: Runs, comparison: pd.DataFrame, pictures: list[Picture]) -> Leaderboard:
    drawn, rows, grids_by_family = (
        {picture.name: picture for picture in pictures},
        Lookup(comparison),
        boards(experiment, comparison),
    )
    found = [
        Board(
            grids_by_family[family.name],
            [family.cells[method] for method in ranking(experiment, rows, family)],
            drawn.get(f"{OF_A_BOARD}{family.name}"),
        )
        for family in families(experiment)
        if family.name in grids_by_family
    ]
    return Leaderboard(found, together(experiment, runs), method_details(experiment, runs))


def page(sections: list[Section]) -> str:
    """The HTML. Nothing in it is fetched from anywhere."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["json"] = _json
    environment.filters["code"] = _code
    environment.filters["interval"] = _interval
    title = sections[0].experiment.title if len(sections) == 1 else "GAIN-RL: all experiments"
    return environment.get_template("page.html.j2").render(
        title=title,
        sections=sections,
        release=release,
        css=Markup((FOLDER / "page.css").read_text()),
        script=Markup((FOLDER / "page.js").read_text()),
    )


def _json(value: Any) -> Markup:
    """For a script element of type application/json: nothing in it can end the element."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _code(text: str) -> Markup:
    """Text with `code` between backticks."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if odd % 2 else piece for odd, piece in enumerate(pieces)
    )


def _interval(text: str) -> Markup:
    """A cell of a table whose interval stands in a line of its own."""
    mean, bracket, rest = text.partition(" [")
    low_high, end, star = rest.partition("]")
    if not bracket:
        return Markup("{}").format(text)
    return Markup('{}{} <span class="interval">{}</span>').format(mean, star, f"[{low_high}{end}")
