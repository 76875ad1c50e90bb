"""The same cell by TRL and by verl (a real one, with Ray, on a CPU), and a run by verl that is broken off and resumed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from analysis.engines import FIRST
from experiments import load_experiment
from experiments.cells import by_verl
from gainrl.launch import Slurm, run_all
from gainrl.models import TINY_RECIPES
from gainrl.models.tiny import make_tiny_model
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution, Experiment, SlurmOptions
from gainrl.runs.plan import Run, claim, plan_runs
from gainrl.runs.records import RunFolder
from gainrl.runs.verl import checkpoint_step
from gainrl.runs.whole import require_whole

pytestmark = pytest.mark.verl
ROOT = Path(__file__).parents[1]
OPTIONS = (
    "trainer.device=cpu",
    "actor_rollout_ref.rollout.name=transformers",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
)
"""What a machine without a GPU needs beside the test-only platform (tests/verl)."""
OWN_RAY = (
    "ray_kwargs.ray_init.num_cpus=16",
    "+ray_kwargs.ray_init.num_gpus=1",
    "+ray_kwargs.ray_init.include_dashboard=False",
)


@pytest.fixture(autouse=True)
def _a_cpu_for_verl(monkeypatch):
    if "GAINRL_VERL_PYTHON" not in os.environ and not (ROOT / ".venv-verl").exists():
        pytest.fail("verl's environment is not here; make verl")
    with tempfile.TemporaryDirectory(
        prefix="ray", dir="/tmp", ignore_cleanup_errors=True
    ) as ray:  # sockets have short paths
        for name, value in {
            "VERL_PLATFORM": "cpu",
            "VERL_ENGINE_DEVICE": "cuda",  # only chooses the class: FSDP
            "VERL_USE_EXTERNAL_MODULES": "tests.verl.cpu",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_register_timeout_seconds": "600",
            "RAY_worker_niceness": "0",  # Ray's workers are 15 nicer than their parent, which starves them on a busy machine
            "RAY_TMPDIR": ray,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A tiny model that is warmed up until it is sometimes right."""
    recipe = TINY_RECIPES["tiny-small"].model_copy(update={"steps": 500})
    return make_tiny_model(recipe, 0, tmp_path_factory.mktemp("models"), None)


def plan(model: Path, *, steps: int = FIRST) -> Experiment:
    """GAIN-RL's cell of quickstart on that model, shorter."""
    whole = load_experiment("quickstart")
    changes = {
        "model": {"name": str(model)},
        "problems": {"train": "arithmetic", "heldout": ["arithmetic"], "train_size": 64, "heldout_size": 32},
        "training": whole.cells["gainrl"].training.model_dump()
        | {"steps": steps, "prompts_per_step": 8, "generations": 4, "prompts_per_epoch": 16},
        "evaluation": {"every": 5, "max_completion_tokens": 26},
    }
    run = RunConfig.model_validate({**whole.cells["gainrl"].model_dump(), **changes})
    return Experiment(
        name="both",
        title="Both",
        cells={"gainrl": run},
        labels={"gainrl": "GAIN-RL"},
        baseline="gainrl",
        targets=(0.5,),
    )


def planned(experiment: Experiment, runs_dir: Path, seed: int = 0, **execution) -> Run:
    (run,) = plan_runs(experiment, cells=["gainrl"], seeds=[seed], runs_dir=runs_dir)
    if run.config.engine == "verl":
        nodes = execution.get("nodes", 1)
        options = OPTIONS if nodes > 1 else OPTIONS + OWN_RAY
        own = Execution(**{"gpus": nodes, "checkpoint_every": 2, "verl_options": options, **execution})
        run = Run(**{**vars(run), "execution": own})
    return run


def train(run: Run) -> RunFolder:
    """In a process of its own, as a launcher does."""
    claim(run)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, _file(run)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return RunFolder(run.home)


PROGRAM = "import pickle, sys; from gainrl.launch.job import Job; Job(pickle.load(open(sys.argv[1], 'rb')))()"


def _file(run: Run) -> str:
    import pickle

    path = run.runs_dir / f"{run.hash}.pickle"
    path.write_bytes(pickle.dumps(run))
    return str(path)


def test_the_same_cell_by_both_engines_begins_alike(model, tmp_path):
    experiment = plan(model)
    trl = train(planned(experiment, tmp_path / "trl"))
    another = train(planned(experiment, tmp_path / "trl", seed=1))
    verl = train(planned(by_verl(experiment, "tiny"), tmp_path / "trl"))
    require_whole(verl)
    first = [folder.draws().query("epoch == 0") for folder in (trl, verl)]
    assert first[0].problem_id.tolist() == first[1].problem_id.tolist()
    angles = [draw.angle.to_numpy(float)[:8] for draw in first]  # of the first step: after it the weights differ
    np.testing.assert_allclose(*angles, rtol=1e-5)
    assert trl.evals().query("step == 0").value.tolist() == verl.evals().query("step == 0").value.tolist()
    accuracy = {
        name: folder.metrics().accuracy.to_numpy()
        for name, folder in (("trl", trl), ("other", another), ("verl", verl))
    }
    assert 0 < accuracy["trl"].mean() < 1
    between_seeds = max(np.abs(accuracy["trl"] - accuracy["other"]).mean(), 0.05)
    assert np.abs(accuracy["trl"] - accuracy["verl"]).mean() <= 2 * between_seeds
    assert json.loads((verl.path / "environment.json").read_text())["inputs"]["verl"]["verl"] == "0.9.1"
    assert (verl.checkpoints / f"step-{FIRST}" / "model.safetensors").is_file()
    assert not (verl.checkpoints / "verl").exists()


def test_a_run_by_verl_that_is_broken_off_resumes_with_the_draws_it_would_have_had(model, tmp_path):
    run = planned(by_verl(plan(model, steps=6), "tiny"), tmp_path)
    claim(run)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, _file(run)], cwd=ROOT)
    end = time.monotonic() + 1200
    while checkpoint_step(run.home) < 2 and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 128 + signal.SIGTERM
    state, why = RunFolder(run.home).status()
    assert (state, why) == ("failed", "interrupted by SIGTERM; the same command resumes the run")
    before = RunFolder(run.home).metrics()
    folder = train(run)
    require_whole(folder)
    draws, resumed = folder.draws(), folder.metrics()
    assert len(folder.read_json("environment.json")["resumed"]) == 1
    assert resumed.accuracy[:2].tolist() == before.accuracy[:2].tolist()  # kept, not trained again
    assert draws.groupby("epoch").size().tolist() == [16, 16, 16]
    assert draws.rollouts.tolist() == [4] * 48


def test_two_nodes_of_ray_train_one_run(model, tmp_path, monkeypatch):
    run = planned(by_verl(plan(model, steps=2), "tiny"), tmp_path, nodes=2)
    claim(run)
    tasks = []
    for rank in range(2):
        slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": str(rank)}
        tasks.append(
            subprocess.Popen([sys.executable, "-c", PROGRAM, _file(run)], cwd=ROOT, env={**os.environ, **slurm})
        )
    assert [task.wait(1200) for task in tasks] == [0, 0]
    require_whole(RunFolder(run.home))


@pytest.mark.slurm
def test_slurm_starts_ray_in_each_task_and_verl_in_the_first(model, tmp_path):
    """The Slurm of tests/slurm/start.sh has one node, so both tasks run on it."""
    run = planned(by_verl(plan(model, steps=2), "tiny"), tmp_path, nodes=2, gpus=2)
    options = SlurmOptions(cpus=1, hours=0.5, extra=("nodes=1", "ntasks_per_node=2", "gpus_per_node=0"))
    assert not run_all([run], Slurm(options))
    require_whole(RunFolder(run.home))
