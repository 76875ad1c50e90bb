"""What `gainrl reproduce` and `gainrl publish` do with a study, which trains nothing."""

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gainrl.cli.options import folder_to_write
from gainrl.columns import read_rows
from gainrl.errors import InputError
from gainrl.files import replace_folder, write_atomically, write_text
from gainrl.runs.study import Study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from analysis.real_signal import Findings
    from gainrl.models.loading import LoadedModel
    from gainrl.progress import Report
    from gainrl.studies.real_signal import Chosen, MeasuredSet

TABLES = (
    "problems.parquet", "angles.parquet", "gradients.parquet", "layers.parquet",
    "predictions.csv", "against_last.csv", "orders.csv", "cosine_blocks.csv",
)  # fmt: skip
PUBLISHED = (*TABLES, "measurement.json", "report.md", "report.html")
FINISHED = "parts.parquet"
"""The file that a set's measurement writes last."""
OF_GRADIENTS = (
    "problem_id", "layer", "loss", "gradient_model", "gradient_layer", "gradient_projection", "question_share",
    "completion_tokens",
)  # fmt: skip


def describe(study: Study, root: Path) -> str:
    """What is measured, what of it is finished, and about how long the rest takes."""
    import pandas as pd

    rows, seconds = [], 0.0
    for name, measurement in study.measurements.items():
        folder = root / study.name / name
        state = "finished" if (folder / FINISHED).exists() else "begun" if folder.exists() else "to do"
        rest = 0.0 if state == "finished" else measurement.size * measurement.core_seconds
        seconds += rest
        rows.append(
            {
                "set": name,
                "problems at most": measurement.size,
                "losses": "supervised, GRPO" if measurement.samples else "supervised",
                "state": state,
                "core-hours": f"{rest / 3600:.1f}",
            }
        )
    return (
        f"{study.name}: {study.title}, {study.model}\n\n{pd.DataFrame(rows).to_string(index=False)}\n\n"
        f"about {seconds / 3600:.1f} core-hours on a CPU; nothing is trained"
    )


def measure(study: Study, root: Path, data_dir: Path | None = None) -> str:
    """Measure every set in <root>/<study>/<set>/, then write tables, figures, report.md and report.html beside these folders.

    What is finished is not measured again. Returns the two answers and where the report is.
    """
    import torch

    from gainrl.models.loading import load_model
    from gainrl.progress import bar
    from gainrl.studies.real_signal import choose, measure_set

    folder = root / study.name
    folder_to_write(folder)
    with bar() as report:
        loaded = load_model(study.model, cache=root / "shared" / "models", seed=study.seed)
        loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
        chosen = {
            name: choose(measurement, loaded.tokenizer, longest=study.longest, data_dir=data_dir, seed=study.seed)
            for name, measurement in study.measurements.items()
        }
        sets = {}
        for name, measurement in study.measurements.items():
            named = _named(report, name)
            sets[name] = measure_set(folder / name, study, measurement, loaded, chosen[name], named)
    answers = _write(folder, study, loaded, chosen, sets)
    return "\n\n".join([*answers, str(folder / "report.md")])


def _named(report: "Report", name: str) -> "Report":
    return lambda what, done, of: report(f"{name}: {what}", done, of)


def _write(
    folder: Path,
    study: Study,
    loaded: "LoadedModel",
    chosen: Mapping[str, "Chosen"],
    sets: Mapping[str, "MeasuredSet"],
) -> tuple[str, str]:
    """Everything that is not a set's own; report.html last."""
    from analysis.real_signal import findings, markdown
    from analysis.report import document
    from paper_figures import style

    found = findings(study, sets)
    blocks, drawn = _blocks(study, loaded, chosen[study.scheduled])
    figures = _figures(study, found) | drawn
    _write_tables(folder, found, sets, blocks)
    for name, (_, figure) in figures.items():
        style.save_all(figure, folder / name)
    too_long = {name: one.too_long for name, one in chosen.items()}
    text = markdown(
        study, found, sets, too_long, _model_in_words(loaded), {name: caption for name, (caption, _) in figures.items()}
    )
    write_text(folder / "measurement.json", json.dumps(_described(folder, study, too_long), indent=1) + "\n")
    write_text(folder / "report.md", text)
    pictures = {name: (folder / f"{name}.svg").read_bytes() for name in figures}
    write_text(folder / "report.html", document(study.title, text, pictures))
    return found.answers


def _model_in_words(loaded: "LoadedModel") -> str:
    size = sum(parameter.numel() for parameter in loaded.model.parameters())
    return f"{loaded.name}, {size:,} parameters, weights {loaded.version}"


def _described(folder: Path, study: Study, too_long: Mapping[str, int]) -> dict[str, Any]:
    """The study's plan, each set's settings, and how many problems were left out. The command line, which may hold paths, is
    left out of the environment."""
    from gainrl.files import read_json_object

    sets = {}
    for name in study.measurements:
        environment = read_json_object(folder / name / "environment.json")
        environment.pop("command", None)
        settings = read_json_object(folder / name / "settings.json")
        sets[name] = {"settings": settings, "too_long": too_long[name], "environment": environment}
    return {"study": study.model_dump(mode="json"), "sets": sets}


def _blocks(study: Study, loaded: "LoadedModel", chosen: "Chosen") -> tuple["pd.DataFrame", dict[str, Any]]:
    """Cosines between the tokens of one prompt, layer by layer: the first problem of the scheduled set, a generated one."""
    from gainrl.runs.config import SignalConfig
    from gainrl.studies.angle_gradient import cosine_matrices
    from paper_figures import cosine_layers

    if study.measurements[study.scheduled].files:
        raise InputError(f"{study.scheduled} is not generated; a prompt is shown of generated problems alone")
    signal = SignalConfig(site=study.sites[0])
    problems = chosen.problems
    shown = cosine_matrices(loaded.model, loaded.tokenizer, problems.problems[0], problems.prompt, signal)
    title = f"Cosines between tokens, {loaded.name}"
    return cosine_layers.data(*shown), {"cosine_layers": (title, cosine_layers.plot(*shown, title=title))}


def _figures(study: Study, found: "Findings") -> dict[str, "tuple[str, Figure]"]:
    """Name -> (caption, figure)."""
    from analysis.real_signal.report import OF_LOSS, blocks
    from paper_figures import layer_bands, prediction_bars, rank_matrix

    figures: dict[str, tuple[str, Figure]] = {}
    for name, loss, weights, table in blocks(study, found):
        title = f"{study.measurements[name].title}, {OF_LOSS[loss, weights]}"
        caption = f"Rank correlation of angle and gradient norm by layer: {title}"
        figures[f"layers_{name}_{loss}_{weights}"] = caption, layer_bands.plot(layer_bands.data(table), title=title)
    if len(found.predictions):
        caption = "What predicts what matters to a schedule"
        figures["predictions"] = caption, prediction_bars.plot(prediction_bars.data(found.predictions))
    if len(found.against_last):
        caption = "The angle of other layers against the last layer's"
        lead = layer_bands.plot(layer_bands.data_against_last(found.against_last), title=caption, ylabel="R² above it")
        figures["against_last"] = caption, lead
    for name, measurement in study.measurements.items():
        title, table = f"How alike the orders are, {measurement.title}", found.orders[found.orders.set == name]
        figures[f"orders_{name}"] = title, rank_matrix.plot(table, title=title)
    return figures


def _write_tables(folder: Path, found: "Findings", sets: Mapping[str, "MeasuredSet"], blocks: "pd.DataFrame") -> None:
    """`TABLES`: ids and numbers alone."""
    import pandas as pd
    import pyarrow as pa

    from gainrl.runs.published import write_parquet

    def together(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([table.assign(set=name) for name, table in tables.items()], ignore_index=True)

    tables = {
        "problems.parquet": together({name: measured.problems for name, measured in sets.items()}),
        "angles.parquet": together({name: measured.angles for name, measured in sets.items()}),
        "gradients.parquet": together(
            {name: measured.gradients[list(OF_GRADIENTS)] for name, measured in sets.items()}
        ),
        "layers.parquet": found.layers,
        "predictions.csv": found.predictions,
        "against_last.csv": found.against_last,
        "orders.csv": found.orders,
        "cosine_blocks.csv": blocks,
    }
    for name, table in tables.items():
        if name.endswith(".csv"):
            write_atomically(folder / name, partial(table.to_csv, index=False))
        else:
            whole = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
            write_atomically(folder / name, partial(write_parquet, whole))


def publish(study: Study, root: Path, results: Path) -> Path:
    """Put a study's tables, figures and report into ``results``: ids and numbers, never a question.

    Raises InputError: it is not finished, or a file holds a question or a solution; what is published stays as it is.
    """
    import pandas as pd

    from gainrl.runs.disclosure import require_no_text
    from gainrl.studies.real_signal.stages import ASKED

    folder = root / study.name
    if missing := [name for name in PUBLISHED if not (folder / name).exists()]:
        raise InputError(f"{folder} has no {missing[0]}; gainrl reproduce {study.name} first")
    asked = pd.concat([read_rows(folder / name / "asked.parquet", ASKED) for name in study.measurements])
    results.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".publishing-", dir=results) as name:
        new = Path(name) / study.name
        new.mkdir()
        for path in [*(folder / name for name in PUBLISHED), *sorted(folder.glob("*.png"))]:
            shutil.copyfile(path, new / path.name)
        require_no_text(new, [*asked.question, *asked.completion])
        replace_folder(results / study.name, new)
    return results / study.name
