"""What is a signal read before training worth once pass rates come in? The same belief, with other features for its prior.

`none` knows nothing of a problem before its first rollouts; what a feature adds must show against it. `all` is the prior of
`selectors`: angle, length, level and kind.
"""

from experiments.cells import UNIFORM, assemble, cell
from experiments.selectors import SETS
from gainrl.runs.config import ScheduleConfig
from gainrl.runs.experiment import Experiment

FEATURES = {
    "none": "no feature",
    "length": "length",
    "angle": "angle",
    "level": "level of difficulty",
    "kind": "kind",
    "angle+length": "angle and length",
    "all": "all features",
}


def experiment(scale: str = "tiny") -> Experiment:
    train, model, _ = SETS[scale][""]
    schedules = {
        features.replace("+", "-"): (label, ScheduleConfig(name="prior", options={"features": features}))
        for features, label in FEATURES.items()
    }
    return assemble(
        scale,
        "ablate_prior",
        "Features of the prior",
        {
            name: (label, cell(scale, schedule, model=model, train=train))
            for name, (label, schedule) in {"uniform": ("uniform", UNIFORM), **schedules}.items()
        },
        baseline="none",
    )
