"""Sampling by transformers, as training and evaluation do it: seconds for a token of each completion of a batch.

The ways differ in where keys and values are kept (transformers' own cache copies all of them at every token, the suite's has
room for more) and in how the process gets its memory. That is decided when it starts, so every way is a process of its own.
"""

import json
import os
import subprocess
import sys
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

PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""What `gainrl` sets for itself."""
KEPT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""What docs/real_model.md advises on Linux."""
WAYS: dict[str, tuple[bool, dict[str, str]]] = {
    "transformers' cache": (False, {}),
    "room for more": (True, {}),
    "room for more, large pages": (True, PAGES),
    "room for more, large pages, freed memory kept": (True, PAGES | KEPT),
}


def seconds_a_token(room: bool, rows: int, prompt_tokens: int, tokens: int, rounds: int) -> float:
    """The median over rounds of (a batch's time - that of its first token) / (tokens - 1), under bf16 autocast."""
    tokenizer = bpe_tokenizer(["any words will do"], 300)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = random_model(SHAPES["smollm2-135m"], tokenizer, 0, device=device)
    model.requires_grad_(True)  # as in training
    backend = hf.HfBackend(model, end_tokens=[], pad_token=0)
    if not room:
        hf._cache = lambda model: DynamicCache(config=model.config)
    rng = generator(0, "benchmark")
    shared = rng.integers(3, 40_000, prompt_tokens - 8).tolist()
    prompts = [[*shared, *rng.integers(3, 40_000, 8).tolist()] for _ in range(rows)]

    def seconds(count: int) -> float:
        began = time.perf_counter()
        backend(prompts, max_tokens=count, temperature=1.0, seed=0)
        return time.perf_counter() - began

    with torch.autocast(device, dtype=torch.bfloat16):
        seconds(tokens)  # the first round fills what memory is kept
        return float(np.median([(seconds(tokens) - seconds(1)) / (tokens - 1) for _ in range(rounds)]))


def _exports(settings: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def main(rows: int = 64, prompt_tokens: int = 130, tokens: int = 12, rounds: int = 3, only: str | None = None) -> None:
    """Measure and publish.

    Args:
        rows: Completions of a batch; their prompts differ in the last eight tokens.
        only: Measure one way in this process, and print it.
    """
    if only is not None:
        print(json.dumps(seconds_a_token(WAYS[only][0], rows, prompt_tokens, tokens, rounds)))
        return
    sizes = {"--rows": rows, "--prompt-tokens": prompt_tokens, "--tokens": tokens, "--rounds": rounds}
    arguments = [str(part) for pair in sizes.items() for part in pair]
    bare = {name: value for name, value in os.environ.items() if name not in PAGES | KEPT}
    table = []
    for way, (_, settings) in track(WAYS.items(), description="ways"):
        command = [sys.executable, "-m", "speed.decoding", *arguments, "--only", way]
        result = subprocess.run(command, capture_output=True, text=True, check=True, env=bare | settings)
        table.append({"how": way, "s a token": json.loads(result.stdout.splitlines()[-1])})
    times = pd.DataFrame(table)
    note = (
        f"Shape smollm2-135m, random weights, bf16 autocast; {rows} completions of {tokens} tokens, prompts of "
        f"{prompt_tokens}, medians of {rounds} rounds. Large pages: {_exports(PAGES)}. Freed memory kept: {_exports(KEPT)}."
    )
    times["times as fast"] = times["s a token"].iloc[0] / times["s a token"]
    publish("decoding", "Sampling by transformers", times, note)


if __name__ == "__main__":
    tyro.cli(main)
