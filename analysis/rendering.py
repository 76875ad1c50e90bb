"""Grids as Markdown and LaTeX."""

from collections.abc import Sequence

import pandas as pd

from analysis.tables import Grid, seeds_and_marks
from analysis.verdict import Verdict
from gainrl.runs.experiment import Experiment

LATEX = {">": "$>$", "<": "$<$", "`": ""}
"""What LaTeX prints otherwise than it stands, beside what pandas escapes."""


def markdown(experiment: Experiment, comparison: pd.DataFrame, grids: Sequence[Grid], verdict: Verdict) -> str:
    sentences = "\n".join(f"- {sentence}" for sentence in verdict.sentences)
    parts = [f"# {experiment.title}", seeds_and_marks(experiment, comparison)]
    parts += ["## Does it hold?", f"**{verdict.answer[0].upper()}{verdict.answer[1:]}.**", *filter(None, [sentences])]
    for grid in grids:
        alignment = ["left"] + ["left" if grid.words else "right"] * (grid.table.shape[1] - 1)
        table = grid.table.to_markdown(index=False, disable_numparse=True, colalign=alignment)
        parts += [f"## {grid.title}", str(table), *filter(None, [grid.note])]
    return "\n\n".join([*parts, *filter(None, [experiment.reference])]) + "\n"


def latex(experiment: Experiment, comparison: pd.DataFrame, grids: Sequence[Grid]) -> str:
    """Tables for a document with the packages fontenc (T1), booktabs and graphicx."""
    parts = [f"% {experiment.title}\n% \\usepackage[T1]{{fontenc}} \\usepackage{{booktabs,graphicx}}"]
    for grid in grids:
        caption = " ".join(
            filter(None, [f"{experiment.title}: {grid.title}.", seeds_and_marks(experiment, comparison), grid.note])
        )
        parts.append(
            "\\begin{table}\n\\centering\n"
            f"\\caption{{{_escaped(caption)}}}\n"
            f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{_tabular(grid)}}}\n"
            "\\end{table}"
        )
    return "\n\n".join(parts) + "\n"


def _tabular(grid: Grid) -> str:
    columns = "l" + ("p{7cm}" if grid.words else "r") * (grid.table.shape[1] - 1)
    style = grid.table.map(_escaped).rename(columns=_escaped).style.hide(axis="index")
    return str(style.to_latex(hrules=True, column_format=columns)).strip()


def _escaped(text: str) -> str:
    special = (
        {character: f"\\{character}" for character in "%&_#${}"} | {"~": "\\textasciitilde{}", "^": "\\^{}"} | LATEX
    )
    return "".join(special.get(character, character) for character in text)
