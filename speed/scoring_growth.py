"""Scoring as a set grows: time a prompt and peak memory of a process that scores N problems, for several N.

Each N has a process of its own, as peak memory never falls within one. Time is that of `score_problems` alone; memory is
the whole process's, so the interpreter, torch, the model and the problems themselves are in it.
"""

import json
import resource
import subprocess
import sys
import time

import pandas as pd
import tyro
from rich.progress import track

from gainrl.models import SHAPES
from gainrl.models.text import bpe_tokenizer, random_model
from gainrl.problems import load_problems
from gainrl.scoring import score_problems
from speed.report import publish
from speed.scoring import choose, generated_problems


def measure(size: int, data: str | None, shape: str) -> dict[str, float]:
    """Scores a seeded choice of ``size`` problems in this process."""
    everything = generated_problems() if data is None else load_problems(data, drop_null_answers=True)
    tokenizer = bpe_tokenizer([problem.question for problem in everything.problems], 16_384)
    model = random_model(SHAPES[shape], tokenizer, 0)
    chosen = choose(everything, size)
    score_problems(model, tokenizer, chosen.head(8), model_version="random")  # warm
    began = time.perf_counter()
    table = score_problems(model, tokenizer, chosen, model_version="random").table
    seconds = time.perf_counter() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "problems": len(chosen),
        "milliseconds a problem": 1000 * seconds / len(chosen),
        "milliseconds a question token": 1000 * seconds / float(table.question_tokens.sum()),
        "peak memory, MiB": peak_kib / 1024,
    }


def main(
    data: str | None = None,
    shape: str = "small",
    sizes: tuple[int, ...] = (500, 1000, 2000, 4000, 8000),
    only: int | None = None,
) -> None:
    """Measure and publish.

    Args:
        data: Problem file or set; generated words if not given.
        shape: One of the shapes of gainrl.models.
        sizes: How many problems.
        only: Measure this size in this process and print it; what the command does for each size.
    """
    if only is not None:
        print(json.dumps(measure(only, data, shape)))
        return
    command = [sys.executable, "-m", "speed.scoring_growth", "--shape", shape, *(["--data", data] if data else [])]
    rows = []
    for size in track(sizes, description="sizes"):
        result = subprocess.run([*command, "--only", str(size)], capture_output=True, text=True, check=True)
        rows.append(json.loads(result.stdout.splitlines()[-1]))
    table = pd.DataFrame(rows).drop_duplicates("problems")
    first = table.iloc[0]
    table = table.assign(
        **{
            "time, ratio to the smallest": table["milliseconds a question token"]
            / first["milliseconds a question token"],
            "memory, ratio to the smallest": table["peak memory, MiB"] / first["peak memory, MiB"],
        }
    )
    note = (
        f"Shape {shape}, random weights, {data or 'generated words'}. The first ratio is of the time a question token, as "
        "the choices differ a little in length."
    )
    publish("scoring_growth", "Scoring larger and larger sets", table, note)


if __name__ == "__main__":
    tyro.cli(main)
