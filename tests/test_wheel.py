"""A wheel built from this checkout works where it is installed: no file is looked for in the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gainrl", "analysis", "experiments", "paper_figures", "speed")
PROGRAM = """
import importlib, sys
for package in ("gainrl", "analysis", "experiments", "paper_figures", "speed"):
    assert importlib.import_module(package).__file__.startswith(sys.argv[1]), package
from gainrl.models import TINY_RECIPES
TINY_RECIPES["tiny"] = TINY_RECIPES["tiny"].model_copy(update={"steps": 2, "hidden_size": 32, "layers": 2})
import experiments
from gainrl.cli import main
from gainrl.runs.config import RunConfig

whole = experiments.load_experiment

def shrunk(name, scale="tiny"):
    plan = whole(name, scale)
    changes = {"steps": 2, "prompts_per_step": 2, "generations": 4, "prompts_per_epoch": 4, "max_completion_tokens": 4,
               "prompts_per_generation": None}
    problems = {"train": "arithmetic", "heldout": ["arithmetic"], "train_size": 12, "heldout_size": 8}
    cells = {
        cell: RunConfig.model_validate(
            {**run.model_dump(), "problems": problems, "training": {**run.training.model_dump(), **changes}}
        )
        for cell, run in plan.cells.items()
    }
    return plan.model_copy(update={"cells": cells})

experiments.load_experiment = shrunk
for command in sys.argv[2:]:
    sys.argv = ["gainrl", *command.split()]
    main()
"""
COMMANDS = (
    "list",
    "show quickstart --cell gainrl",
    "score tiny arithmetic --limit 4 --out scores.parquet",
    "train quickstart --cell grpo",
    "train quickstart --cell gainrl",
    "table quickstart",
    "figure quickstart",
    "report quickstart",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The wheel's files, unpacked. It is built from a copy, since a build leaves files that the next one would take along."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", str(folder), "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*build, "--wheel-dir", str(folder)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_commands_work_from_an_installed_wheel(site, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(site), "GAINRL_RUNS": str(tmp_path / "runs"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(site), *COMMANDS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "scores.parquet").exists()
    folder = tmp_path / "runs" / "quickstart"
    assert {"table.csv", "learning_curves.png", "report.html"} <= {path.name for path in folder.iterdir()}
    assert "release: " in done.stdout  # the paper's values travel with the wheel


def test_the_wheel_holds_what_the_checkout_tracks(site):
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    packages = tuple(f"{package}/" for package in PACKAGES)
    ours = [name for name in tracked.stdout.splitlines() if name.startswith(packages) and (ROOT / name).exists()]
    assert [name for name in ours if not (site / name).exists()] == []


def test_folders_and_wheels_are_carried_in_parts_and_a_damaged_part_is_refused(tmp_path):
    """With no lock, so that nothing is downloaded or installed."""
    here, parts, there = tmp_path / "here", tmp_path / "parts", tmp_path / "there"
    (here / "models").mkdir(parents=True)
    (here / "models" / "weights").write_bytes(np.random.default_rng(0).bytes(2_500_000))
    (here / "empty.lock").write_text("torch==1.0\n")
    settings = {"LOCKS": "empty.lock", "LEFT_OUT": "torch setuptools", "PART_MB": "1", "PYTHON": sys.executable}

    def run(folder, *arguments):
        command, env = [ROOT / "carry.sh", *arguments], {**os.environ, **settings}
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    assert run(here, "pack", parts, "models").returncode == 0
    assert [path.stat().st_size for path in sorted(parts.glob("part-*"))][:2] == [1_000_000] * 2
    assert len(list(parts.glob("part-*"))) == 3
    again = run(here, "pack", parts, "models")
    assert (again.returncode, again.stderr) == (2, f"{parts} is not empty\n")
    there.mkdir()
    (there / "pyproject.toml").write_text(
        '[project]\nname = "stand-in"\nversion = "1"\n[tool.setuptools]\npy-modules = []\n'
    )
    unpacked = run(there, "unpack", parts)
    assert (there / "models" / "weights").read_bytes() == (here / "models" / "weights").read_bytes(), unpacked.stderr
    assert (there / "wheels" / "packages.txt").read_text() == ""
    part = parts / "part-ab"
    part.write_bytes(b"x" + part.read_bytes()[1:])
    damaged = run(there, "unpack", parts)
    assert damaged.returncode == 2
    assert damaged.stderr.endswith(f"a part of {parts} is missing or damaged\n")
