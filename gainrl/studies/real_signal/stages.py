"""One set's measurement in stages, each kept in a file, so that an interrupted study resumes.

sites.parquet       scores at every layer of all sites, from one pass
released.parquet    scores by the definition of the authors' release, at the probed layer
likelihoods.parquet
rollouts.parquet    where there is a GRPO loss
measured.parquet, parts.parquet     gradients, beside the scores at the paper's site
asked.parquet       questions and gold completions, so that publishing can see that none gets out
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gainrl.columns import Column, Rows, read_rows
from gainrl.files import write_atomically
from gainrl.models.loading import LoadedModel
from gainrl.progress import Report
from gainrl.prompts import Prompt
from gainrl.runs.config import SignalConfig, Site
from gainrl.runs.study import Measurement, Study
from gainrl.scoring import Scores, score_problems
from gainrl.scoring.hooks import has_site
from gainrl.studies.angle_gradient import Measured, Settings, measure_into
from gainrl.studies.angle_gradient.stages import claim
from gainrl.studies.real_signal.likelihoods import COLUMNS, likelihoods
from gainrl.studies.real_signal.sets import Chosen

LIKELIHOODS = Rows(
    {"problem_id": Column("text"), COLUMNS[1]: Column(high=0), **dict.fromkeys(COLUMNS[2:], Column(low=0))},
    unique=("problem_id",),
)
ASKED = Rows(dict.fromkeys(("problem_id", "question", "completion"), Column("text")), unique=("problem_id",))


@dataclass(frozen=True)
class MeasuredSet:
    """What is known of one set's problems.

    ``problems``: a row a problem: problem_id, question_tokens, difficulty, kind, completion_tokens (of the gold completion),
    likelihoods, pass_rate, released (the release's score). ``angles``: a row a (problem, site, layer). ``gradients``: a row a
    (problem, layer, loss), as `gainrl.studies.angle_gradient.measure` gives it.
    """

    problems: pd.DataFrame
    angles: pd.DataFrame
    gradients: pd.DataFrame


def measure_set(
    folder: Path,
    study: Study,
    measurement: Measurement,
    loaded: LoadedModel,
    chosen: Chosen,
    report: Report,
) -> MeasuredSet:
    """Everything about one set, every stage kept in ``folder``; a finished stage is read from there.

    Raises InputError: the folder holds a measurement with other settings (which), or a number is not finite.
    """
    problems, prompt, signal = chosen.problems, chosen.problems.prompt, SignalConfig(site=study.sites[0])
    settings = Settings(
        signal,
        measurement.samples,
        measurement.temperature,
        measurement.max_completion_tokens,
        study.seed,
        decomposed=0,
    )
    claim(folder, loaded, problems, prompt, settings, None)
    _keep_questions(folder, chosen)
    sites = _sites(folder, study, loaded, chosen, prompt, report)
    released = _released(folder, loaded, chosen, prompt, report)
    beliefs = _likelihoods(folder, loaded, chosen, prompt, report)
    sites.at_site(signal.site).save(folder / "scores.parquet")
    measured = measure_into(folder, loaded, problems, prompt, settings, None, report)
    return MeasuredSet(_by_problem(chosen, measured, released, beliefs), sites.table, measured.table)


def _keep_questions(folder: Path, chosen: Chosen) -> None:
    rows = [(p.problem_id, p.question, p.gold_completion) for p in chosen.problems.problems]
    asked = pd.DataFrame(rows, columns=list(ASKED.columns))
    if not (path := folder / "asked.parquet").exists():
        write_atomically(path, lambda file: asked.to_parquet(file, index=False))


def _sites(folder: Path, study: Study, loaded: LoadedModel, chosen: Chosen, prompt: Prompt, report: Report) -> Scores:
    """Scores at every layer of the study's sites; a site that the model does not have is left out."""
    path = folder / "sites.parquet"
    if path.exists():
        return Scores.load(path)
    sites: list[Site] = [site for site in study.sites if has_site(loaded.model, SignalConfig(site=site))]
    scores = score_problems(
        loaded.model,
        loaded.tokenizer,
        chosen.problems,
        prompt,
        layers="all",
        sites=sites,
        model_version=loaded.version,
        unfinished=folder / "sites.unfinished",
        progress=lambda done, of: report("scoring", done, of),
    )
    scores.save(path)
    return scores


def _released(folder: Path, loaded: LoadedModel, chosen: Chosen, prompt: Prompt, report: Report) -> Scores:
    path = folder / "released.parquet"
    if path.exists():
        return Scores.load(path)
    scores = score_problems(
        loaded.model,
        loaded.tokenizer,
        chosen.problems,
        prompt,
        signal=SignalConfig(definition="released"),
        model_version=loaded.version,
        unfinished=folder / "released.unfinished",
        progress=lambda done, of: report("scoring as the release", done, of),
    )
    scores.save(path)
    return scores


def _likelihoods(folder: Path, loaded: LoadedModel, chosen: Chosen, prompt: Prompt, report: Report) -> pd.DataFrame:
    path = folder / "likelihoods.parquet"
    if not path.exists():
        table = likelihoods(
            loaded.model,
            loaded.tokenizer,
            chosen.problems,
            prompt,
            progress=lambda done, of: report("likelihoods", done, of),
        )
        write_atomically(path, lambda file: table.to_parquet(file, index=False))
    return read_rows(path, LIKELIHOODS)


def _by_problem(chosen: Chosen, measured: Measured, released: Scores, beliefs: pd.DataFrame) -> pd.DataFrame:
    own = ["problem_id", "question_tokens", "difficulty", "completion_tokens", "pass_rate"]
    supervised = measured.table[measured.table.loss == "supervised"]
    table = supervised.drop_duplicates("problem_id")[own]
    kinds = pd.DataFrame({"problem_id": chosen.problems.ids, "kind": [p.kind for p in chosen.problems.problems]})
    keys = pd.DataFrame({"problem_id": released.table.problem_id, "released": released.table.angle})
    for other in (kinds, beliefs, keys):
        table = table.merge(other, on="problem_id", validate="one_to_one")
    return table
