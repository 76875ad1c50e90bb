"""Which problems next? GAIN-RL among the selectors that learn from pass rates, and how far any of them could go.

On a mixture of skills (`gainrl.problems.mixture`), where about half of the problems give no gradient at the start; on
arithmetic and lists as well (``arithmetic-...``, ``lists-...``). At ``small``: some of them, on a real model's mixture of
skills. At ``paper``: GSM8K, and DeepScaleR (``deepscaler-...``).

Settings are each paper's own as its code has them (the classes in `gainrl.schedules` name the source). One rule scales them to
the set: what counts ranks goes with the size of the order, what counts draws with the draws of a run, and what counts
rollouts with those of a problem. Nothing else is changed, and nothing is tuned. Whatever a method samples and throws away
counts in its rollouts and tokens; the oracle's measurements do not, so it is no method.
"""

from experiments import paper
from experiments.cells import ADARFT, MODELS, SIGMA_AT, STUDIED, UNIFORM, assemble, cell, gaussian
from gainrl.runs.config import RunConfig, ScheduleConfig
from gainrl.runs.experiment import Experiment

SCALES = ("tiny", "small", "paper")
SETS: dict[str, dict[str, tuple[str, str, str]]] = {
    "tiny": {
        "": ("mixture", "tiny-mixture", ""),
        "arithmetic-": ("arithmetic", "tiny", "arithmetic, "),
        "lists-": ("lists", "tiny-lists", "lists, "),
    },
    "small": {"": (STUDIED["small"][1], STUDIED["small"][0], "")},
    "paper": {
        "": ("gsm8k", MODELS["0.5b"][1]["paper"], ""),
        "deepscaler-": ("deepscaler-difficulty", MODELS["math-1.5b"][1]["paper"], "DeepScaleR, "),
    },
}
"""By scale: prefix of the cells -> (training set, model, prefix of the labels)."""
ASKED_IN = {
    "arithmetic-gainrl": "ablate_schedule",
    "arithmetic-control": "ablate_schedule",
    "arithmetic-adarft": "ablate_schedule",
    "lists-gainrl": "ablate_schedule_lists",
    "lists-control": "ablate_schedule_lists",
    "lists-adarft": "single_dataset",
}
AT_SMALL = ("uniform", "gainrl", "control", "mopps", "prior")
"""A run takes too long there for all."""
WITH_KINDS = ("mixture", "lists", "skills")
"""Sets whose problems have a kind, which is SEC's arm there; elsewhere it is a level of difficulty."""
DRAWS = {"tiny": 120, "small": 60, "paper": paper.EPOCHS}
"""Draws of a run for a selector that draws for every step, or for every generation at ``paper``."""
GRESO_DRAWS = 1001
"""Most steps of its scripts, for which its step of 0.01 is."""


def selectors(scale: str, train: str) -> dict[str, tuple[str, ScheduleConfig]]:
    """Cell -> (label, schedule)."""
    arms = {"order": None, "options": {"arms": "kind"}} if train in WITH_KINDS else {"order": "difficulty"}
    return {
        "uniform": ("uniform", UNIFORM),
        "gainrl": ("GAIN-RL (angle)", gaussian(scale)),
        "control": ("control (random)", gaussian(scale, "random")),
        "adarft": ("AdaRFT", ADARFT),
        "e2h": ("E2H", ScheduleConfig(name="e2h", order="difficulty", options={"draws": DRAWS[scale]})),
        "mopps": ("MoPPS", ScheduleConfig(name="mopps")),
        "greso": ("GRESO", ScheduleConfig(name="greso", options={"step": round(0.01 * GRESO_DRAWS / DRAWS[scale], 3)})),
        "learnability": ("learnability", ScheduleConfig(name="learnability")),
        "sec": ("SEC", ScheduleConfig.model_validate({"name": "sec", **arms})),
        "insight": ("InSight", ScheduleConfig(name="insight")),
        "prior": ("prior from features", ScheduleConfig(name="prior")),
        "dapo": ("DAPO", ScheduleConfig(name="dapo")),
        "speed": ("SPEED", ScheduleConfig(name="speed", options={"screening": 2})),
        "oracle": ("oracle", ScheduleConfig(name="oracle")),
        "oracle-wide": ("wide oracle", ScheduleConfig(name="oracle", options={"sigma": SIGMA_AT[scale]})),
    }


def experiment(scale: str = "tiny") -> Experiment:
    cells: dict[str, tuple[str, RunConfig]] = {
        f"{prefix}{name}": (f"{words}{label}", cell(scale, schedule, model=model, train=train))
        for prefix, (train, model, words) in SETS[scale].items()
        for name, (label, schedule) in selectors(scale, train).items()
        if scale != "small" or name in AT_SMALL
    }
    return assemble(
        scale,
        "selectors",
        "Selectors of problems",
        cells,
        baseline="uniform",
        asked_in=ASKED_IN if scale == "tiny" else {},
        leaderboard=True,
        reference=f"Paper: GAIN-RL {paper.SPEED_UP} over vanilla GRPO (abstract).",
    )
