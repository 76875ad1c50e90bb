"""Sampling by transformers, as training and evaluation do it: seconds for a token of each completion of a batch.

The two ways differ in where keys and values are kept: transformers' own cache copies all of them at every token, the suite's
has room for more.
"""

import time

import numpy as np
import pandas as pd
import torch
import tyro
from rich.progress import track
from transformers import DynamicCache

from gainrl.models import SHAPES
from gainrl.models.generation import hf
from gainrl.models.text import bpe_tokenizer, random_model
from gainrl.rng import generator
from speed.report import publish

WAYS = {"transformers' cache": lambda model: DynamicCache(config=model.config), "room for more": hf._cache}


def main(rows: int = 64, prompt_tokens: int = 130, tokens: int = 12, rounds: int = 5) -> None:
    """Measure and publish.

    Args:
        rows: Completions of a batch; their prompts differ in the last eight tokens.
        tokens: Of each completion.
        rounds: The two ways take turns; the first round is not counted.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = bpe_tokenizer(["any words will do"], 300)
    model = random_model(SHAPES["smollm2-135m"], tokenizer, 0, device=device).requires_grad_(True)  # as in training
    backend = hf.HfBackend(model, end_tokens=[], pad_token=0)
    rng = generator(0, "benchmark")
    shared = rng.integers(3, 40_000, prompt_tokens - 8).tolist()
    prompts = [[*shared, *rng.integers(3, 40_000, 8).tolist()] for _ in range(rows)]

    def seconds(count: int) -> float:
        began = time.perf_counter()
        backend(prompts, max_tokens=count, temperature=1.0, seed=0)
        return time.perf_counter() - began

    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with torch.autocast(device, dtype=torch.bfloat16):
        for _ in track(range(rounds + 1), description="rounds"):
            for way, cache in WAYS.items():
                hf._cache = cache
                times[way].append((seconds(tokens) - seconds(1)) / (tokens - 1))
    table = pd.DataFrame({"how": list(WAYS), "s a token": [float(np.median(times[way][1:])) for way in WAYS]})
    table["times as fast"] = table["s a token"].iloc[0] / table["s a token"]
    note = (
        f"Shape smollm2-135m, random weights, bf16 autocast; {rows} completions of {tokens} tokens, prompts of "
        f"{prompt_tokens}; from the second token on, medians of {rounds} rounds in turns."
    )
    publish("decoding", "Sampling by transformers", table, note)


if __name__ == "__main__":
    tyro.cli(main)
