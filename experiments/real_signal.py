"""The signal on a real model: angle against gradient and against what matters to a schedule. Real questions, programs, skills.

Nothing is trained. What counts as yes and as no was written into results/NOTES.md before the measurement.
"""

from experiments.cells import SMALL_COMPLETION, SMALL_TEMPERATURE, STUDIED
from gainrl.runs.study import Measurement, Study

SCALES = ("small",)
LOOKED_AT = 160
"""The first problems of GSM8K's test set served for a first look, from which the questions came."""
# Core-seconds: 9 milliseconds a token, from 160 problems of GSM8K (gradients at 2.6 seconds each), and a second for scores.
SETS = {
    "gsm8k": Measurement(
        title="GSM8K",
        problems="gsm8k-test",
        files=("gsm8k", "gsm8k_eval"),
        skip=LOOKED_AT,
        size=1000,
        core_seconds=3.6,
    ),
    "olympiadbench": Measurement(
        title="OlympiadBench",
        problems="olympiadbench",
        files=("olympiadbench", "olympiad_bench"),
        size=600,
        core_seconds=8.0,
    ),
    "math": Measurement(
        title="MATH",
        problems="math",
        files=("math", "math_train", "math500", "math_eval"),
        size=1000,
        at_random=True,
        core_seconds=2.4,
    ),
    "humaneval": Measurement(
        title="HumanEval",
        problems="humaneval",
        size=164,
        core_seconds=3.0,
    ),
    "skills": Measurement(
        title="skills",
        problems="skills",
        size=600,
        samples=8,
        temperature=SMALL_TEMPERATURE,
        max_completion_tokens=SMALL_COMPLETION,
        core_seconds=14.0,
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
