"""Trains a few steps with completions by vLLM and by transformers; run by test_vllm.py in a process of its own.

python -m tests.vllm_training MODEL_FOLDER OUT
"""

import json
import sys
from pathlib import Path
from unittest.mock import patch

from experiments import load_experiment
from gainrl.evaluation.heldout import HeldOut
from gainrl.models.generation.hf import hf_backend
from gainrl.models.loading import load_model
from gainrl.problems import load_problems
from gainrl.runs.config import RunConfig
from gainrl.runs.records import RunFolder
from gainrl.training.run import train_run

STEPS, TOKENS = 6, 24


def config_of(model: Path, generation: str) -> RunConfig:
    whole = load_experiment("quickstart").cells["grpo"].model_dump()
    sizes = {"steps": STEPS, "prompts_per_step": 4, "generations": 4, "prompts_per_epoch": 12, "learning_rate": 1e-3}
    changes = {
        "model": {"name": str(model)},
        "problems": {"train": "arithmetic", "heldout": ["arithmetic"], "train_size": 24, "heldout_size": 60},
        "training": {**whole["training"], **sizes, "max_completion_tokens": TOKENS, "generation": generation},
        "evaluation": {"every": STEPS, "max_completion_tokens": TOKENS},
    }
    return RunConfig.model_validate({**whole, **changes})


def brevity(completion_ids, **columns) -> list[float]:
    """A correctness that soon changes what the model writes: few tokens, with even numbers."""
    return [1 - (len(ids) / TOKENS + sum(token % 2 for token in ids) / len(ids)) / 2 for ids in completion_ids]


def main(model: Path, out: Path) -> None:
    for generation in ("transformers", "vllm"):
        with patch("gainrl.training.run.accuracy_reward", brevity):
            train_run(config_of(model, generation), out / generation, out / "shared", lambda *_: None)
    config = config_of(model, "vllm")
    trained = load_model(str(RunFolder(out / "vllm").checkpoints / f"step-{STEPS}"), cache=out)
    held_out = HeldOut(
        load_problems("arithmetic-heldout", limit=60),
        config.prompt,
        trained.tokenizer,
        context=trained.context,
        max_completion_tokens=TOKENS,
        batch_size=60,
    )
    answers = vars(held_out.evaluate(hf_backend(trained.model, trained.tokenizer)))
    (out / "transformers_on_the_trained.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
