"""Fixtures: a random tiny model (no training, no network) and a few generated problems."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import signal
from pathlib import Path

import pytest
import torch

from gainrl.models import TINY_RECIPES, TinyRecipe
from gainrl.models.loading import LoadedModel, weights_hash
from gainrl.models.tiny import random_tiny_model, tiny_tokenizer
from gainrl.problems import ProblemSet, load_problems

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore Ctrl-C

SMALL = TinyRecipe(
    hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=64, steps=2, batch_size=4, ramp_steps=1
)


@pytest.fixture(autouse=True)
def _no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test writes by default goes into its own folder."""
    monkeypatch.setenv("GAINRL_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def tiny() -> LoadedModel:
    """A random two-layer Qwen2 with the tiny model's tokenizer; new for each test, the same weights every time."""
    tokenizer = tiny_tokenizer()
    model = random_tiny_model(SMALL, tokenizer, seed=0).eval()
    return LoadedModel("random", weights_hash(model), model, tokenizer)


@pytest.fixture
def small_recipe(monkeypatch: pytest.MonkeyPatch) -> TinyRecipe:
    """Makes the registered tiny model a small one that is warmed up for two steps."""
    monkeypatch.setitem(TINY_RECIPES, "tiny", SMALL)
    return SMALL


@pytest.fixture(scope="session")
def problems() -> ProblemSet:
    return load_problems("arithmetic", limit=16, seed=0)


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


@pytest.fixture
def folder(tiny, tmp_path, monkeypatch):
    """A working directory that holds a model folder and a problem file."""
    tiny.model.save_pretrained(tmp_path / "model")
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(9)] + [{"question": "1", "answer": None}]
    (tmp_path / "problems.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def short_experiments(monkeypatch):
    """Commands find experiments of 30 steps, as `write_runs` writes their runs."""
    from tests.test_comparison import short_experiment

    monkeypatch.setattr("experiments.load_experiment", short_experiment)
