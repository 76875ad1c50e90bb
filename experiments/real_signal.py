"""The signal on a real model: angle against gradient and against what matters to a schedule, on real and generated questions.

Nothing is trained. What counts as yes and as no was written into results/NOTES.md before the measurement.
"""

from experiments.cells import SMALL_COMPLETION, STUDIED
from gainrl.runs.study import Measurement, Study

SCALES = ("small",)
LOOKED_AT = 160
"""The first problems of GSM8K's test set served for a first look, from which the questions came."""
SETS = {
    "gsm8k": Measurement(
        title="GSM8K", problems="gsm8k-test", files=("gsm8k", "gsm8k_eval"), skip=LOOKED_AT, size=1000
    ),
    "olympiadbench": Measurement(
        title="OlympiadBench", problems="olympiadbench", files=("olympiadbench", "olympiad_bench"), size=600
    ),
    "math": Measurement(
        title="MATH",
        problems="math",
        files=("math", "math_train", "math500", "math_eval"),
        size=1000,
        at_random=True,
    ),
    "skills": Measurement(
        title="skills", problems="skills", size=600, samples=8, max_completion_tokens=SMALL_COMPLETION
    ),
}


def study(scale: str = "small") -> Study:
    model, _ = STUDIED[scale]
    return Study(
        name="real_signal",
        title="The signal on a real model",
        model=model,
        measurements=SETS,
        primary="gsm8k",
        scheduled="skills",
    )
