"""From experiments and their runs to the page's HTML: everything that it shows is inside the file."""

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from analysis.comparison import compare
from analysis.control import against_control
from analysis.report import release
from analysis.report.run_details import run_details
from analysis.runs import Runs
from analysis.tables import Grid, grids, seeds_and_marks
from analysis.verdict import Verdict, verdict
from gainrl.runs.experiment import Experiment
from paper_figures import of_experiment, style

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Picture:
    name: str
    caption: str
    source: str
    """A data URL."""


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


def section(experiment: Experiment, runs: Runs, correlations: pd.DataFrame, unfinished: list[str]) -> Section:
    """Everything about one experiment, from its finished runs and how alike their orders are (may be empty)."""
    comparison, controls = compare(experiment, runs), against_control(experiment, runs)
    figures = of_experiment.figures(experiment, runs, comparison, controls, correlations)
    return Section(
        experiment,
        verdict(experiment, comparison, controls, runs),
        seeds_and_marks(comparison),
        [Picture(name, of_experiment.caption(name), _data_url(figure)) for name, figure in figures.items()],
        grids(experiment, comparison, controls, runs),
        run_details(experiment, runs),
        unfinished,
    )


def page(sections: list[Section]) -> str:
    """The HTML. Nothing in it is fetched from anywhere."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["json"] = _json
    environment.filters["code"] = _code
    title = sections[0].experiment.title if len(sections) == 1 else "GAIN-RL: all experiments"
    return environment.get_template("page.html.j2").render(
        title=title,
        sections=sections,
        release=release,
        css=Markup((FOLDER / "page.css").read_text()),
        script=Markup((FOLDER / "page.js").read_text()),
    )


def _data_url(figure: Figure) -> str:
    buffer = io.BytesIO()
    style.write(figure, buffer, "svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _json(value: Any) -> Markup:
    """For a script element of type application/json: nothing in it can end the element."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _code(text: str) -> Markup:
    """Text with `code` between backticks."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if odd % 2 else piece for odd, piece in enumerate(pieces)
    )
