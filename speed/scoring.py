"""Scoring against the authors' way of it, with random weights of Qwen2.5's shapes: prompts a second, ratio, share of peak.

Theirs, written cleanly: one prompt at a time, the whole prompt with its prefix, every layer and the LM head, then the
T x T cosine matrix. Ours is `score_problems`. Both give the same angles (checked here). The floor of the work is
2 * (question tokens) * (weights of the layers' projections); at the rate of plain matrix products, measured in the same
run on the shape's own largest product, it gives the shortest time that is possible.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from rich.progress import track
from torch import nn

from gainrl.errors import InputError
from gainrl.models import SHAPES, Shape
from gainrl.models.text import bpe_tokenizer, random_model
from gainrl.problems import Problem, ProblemSet, load_problems
from gainrl.prompts import EncodedPrompt, Example, Prompt, encode_problems
from gainrl.rng import generator
from gainrl.runs.config import SignalConfig
from gainrl.scoring import capture, score_problems
from gainrl.scoring.prefill import BATCH_TOKENS
from speed.report import publish

LONGER_PROMPT = Prompt(
    system=(
        "You are given a problem in mathematics. Read it with care, say which quantities are known and which one is "
        "asked for, work through it one step at a time, check the result against the question, and write the final "
        "answer, and nothing else, inside \\boxed{}."
    ),
    example=Example(
        question="A box holds 12 red pens and twice as many blue ones. How many pens does it hold in all?",
        answer="There are 12 red pens and 2 * 12 = 24 blue ones. In all that makes 12 + 24 = 36 pens. \\boxed{36}",
    ),
)
"""With a worked example in words, of about the length that was measured before; the suite's own prompt is shorter."""


@torch.no_grad()
def angle_by_whole_prompt(model: Any, one: EncodedPrompt) -> float:
    """What the authors' script does for a prompt, with the paper's spans."""
    with capture(model, SignalConfig()) as states:
        model(torch.as_tensor(one.ids[None], dtype=torch.long, device=model.device))
    unit_TD = nn.functional.normalize(states[0][0].float(), dim=-1)
    cos_TT = unit_TD @ unit_TD.T
    question, prefix = slice(one.prefix_tokens, one.question_end), slice(0, one.prefix_tokens)
    return float(cos_TT[question, question].mean() + cos_TT[question, prefix].mean())


def seconds(action: Callable[[], object], device: str) -> float:
    began = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matmul_rate(shape: Shape, tokens: int, dtype: torch.dtype, device: str) -> float:
    """Operations a second of the product with the MLP's first weight, median of ten."""
    states, weight = (
        torch.randn(rows, columns, dtype=dtype, device=device)
        for rows, columns in ((tokens, shape.hidden_size), (shape.hidden_size, shape.intermediate_size))
    )
    times = [seconds(lambda: states @ weight, device) for _ in range(12)][2:]
    return float(2 * states.numel() * shape.intermediate_size / np.median(times))


def choose(problems: ProblemSet, size: int) -> ProblemSet:
    """A seeded random choice, so that lengths are spread as they are in the set."""
    kept = set(generator(0, "benchmark").choice(len(problems), min(size, len(problems)), replace=False).tolist())
    return problems.without(row for row in range(len(problems)) if row not in kept)


def generated_problems(size: int = 8000) -> ProblemSet:
    """Questions of random words, as many as MATH's have on average and as unevenly long."""
    rng = generator(0, "benchmark questions")
    words = ["".join(rng.choice(list("aeioulnrst"), rng.integers(2, 8))) for _ in range(2000)]
    lengths = np.clip(rng.lognormal(3.4, 0.7, size), 4, 400).astype(int)
    return ProblemSet(
        "generated words",
        tuple(Problem(str(row), " ".join(rng.choice(words, length)), "1") for row, length in enumerate(lengths)),
    )


def main(
    data: str | None = None,
    shape: str = "qwen2.5-0.5b",
    problems: int = 96,
    rounds: int = 3,
    batch_tokens: int | None = None,
    own_prompt: bool = False,
    name: str = "scoring",
) -> None:
    """Measure and publish.

    Args:
        data: Problem file or set, such as MATH's training problems; generated words if not given.
        shape: One of the shapes of gainrl.models.
        problems: How many are scored, a seeded choice.
        rounds: The two ways take turns: each round scores all our way and a share of them their way.
        batch_tokens: Of ours; the default for the device if not given.
        own_prompt: The suite's own, short prompt instead of one of 140 tokens or so.
        name: Of the files under results/benchmarks.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    batch_tokens = batch_tokens or BATCH_TOKENS[device]
    everything = generated_problems() if data is None else load_problems(data, drop_null_answers=True)
    tokenizer = bpe_tokenizer([problem.question for problem in everything.problems], 16_384)
    model, prompt = random_model(SHAPES[shape], tokenizer, 0, dtype, device), Prompt() if own_prompt else LONGER_PROMPT
    chosen = choose(everything, problems)
    encoded = encode_problems(tokenizer, chosen.problems, prompt)

    ours: list[pd.DataFrame] = []
    theirs: dict[int, float] = {}

    def score_ours() -> None:
        scores = score_problems(model, tokenizer, chosen, prompt, batch_tokens=batch_tokens, model_version="random")
        ours.append(scores.table)

    def score_theirs(rows: Sequence[int]) -> None:
        theirs.update({row: angle_by_whole_prompt(model, encoded[row]) for row in rows})

    score_problems(model, tokenizer, chosen.head(4), prompt, model_version="random")  # both warm
    angle_by_whole_prompt(model, encoded[0])
    times: dict[str, list[float]] = {"ours": [], "theirs": [], "rate": []}
    for number in track(range(rounds), description="rounds"):
        share = range(number, len(chosen), rounds)
        times["rate"].append(matmul_rate(SHAPES[shape], batch_tokens, dtype, device))
        times["ours"].append(seconds(score_ours, device))
        times["theirs"].append(seconds(partial(score_theirs, share), device))
        times["rate"].append(matmul_rate(SHAPES[shape], batch_tokens, dtype, device))
    difference = max(abs(ours[0]["angle"][row] - angle) for row, angle in theirs.items())
    if difference > (1e-4 if dtype == torch.float32 else 0.05):
        raise InputError(f"the two ways differ by {difference:.2g}; nothing is published")

    floor = 2 * int(ours[0].question_tokens.sum()) * SHAPES[shape].parameters
    fastest, mine = floor / np.median(times["rate"]), float(np.median(times["ours"]))
    whole = sum(times["theirs"])
    rows = [
        {"way": "the authors', one prompt at a time", "seconds": whole},
        {"way": "gainrl", "seconds": mine},
        {"way": "floor, at the rate of matrix products", "seconds": fastest},
    ]
    table = pd.DataFrame(rows)
    table = table.assign(
        **{
            "prompts/s": len(chosen) / table.seconds,
            "times as fast as theirs": whole / table.seconds,
            "share of the rate": fastest / table.seconds,
        }
    )
    rate, length = [value / 1e9 for value in times["rate"]], ours[0].question_tokens
    note = (
        f"Shape {shape}, random weights, {str(dtype).removeprefix('torch.')}; {len(chosen)} problems of {everything.name}, "
        f"questions of {length.mean():.0f} tokens on average (median {length.median():.0f}, at most {length.max()}), prefix "
        f"of {ours[0].prefix_tokens[0]}; batches of {batch_tokens} tokens. {rounds} rounds in turns; ours took "
        f"{min(times['ours']):.1f} to {max(times['ours']):.1f} s. Rate of matrix products: {np.median(rate):,.0f} GFLOP/s "
        f"({min(rate):,.0f} to {max(rate):,.0f}). Angles differ by at most {difference:.1g}."
    )
    publish(name, "Scoring a problem set", table, note)


if __name__ == "__main__":
    tyro.cli(main)
