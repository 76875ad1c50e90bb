"""A real Slurm of one node (tests/slurm/start.sh): two cells to the end, and jobs that are disturbed in the middle."""

import json
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from gainrl.launch import Slurm, run_all
from gainrl.runs.experiment import SlurmOptions
from gainrl.runs.plan import plan_runs
from gainrl.runs.records import RunFolder
from gainrl.runs.state import read_state
from tests.helpers import TIMES, small_experiment

pytestmark = pytest.mark.slurm
OPTIONS = SlurmOptions(cpus=1, hours=0.5, array_size=2)


def plan(experiment, runs_dir, *cells):
    return plan_runs(experiment, cells=cells, seeds=[0], runs_dir=runs_dir)


def through_slurm(runs) -> list[RunFolder]:
    failures = run_all(runs, Slurm(OPTIONS))
    assert not failures, "\n".join(map(str, failures))
    return [RunFolder(run.path) for run in runs]


def in_the_middle(run, command: Callable[[str], list[str]]) -> None:
    """Once, when the run has come some way: the command, given the id of its job."""

    def wait() -> None:
        while read_state(run.home).state != "training" or read_state(run.home).done < 20:
            time.sleep(0.05)
        (record,) = (run.runs_dir / "shared" / "jobs").glob("*.json")
        subprocess.run(command(json.loads(record.read_text())["job"]), check=True)

    threading.Thread(target=wait, daemon=True).start()


def times_resumed(run) -> int:
    return len(json.loads((run.home / "environment.json").read_text()).get("resumed", []))


def test_two_cells_run_as_an_array(tiny, tmp_path):
    runs = plan(small_experiment(tiny, tmp_path), tmp_path / "runs", "grpo", "gainrl")
    for folder, run in zip(through_slurm(runs), runs, strict=True):
        assert folder.status() == ("finished", None)
        assert folder.config() == run.config
        assert folder.metrics().step.tolist() == [1, 2, 3, 4]
    (script,) = (tmp_path / "runs" / "shared" / "jobs").rglob("*_submission.sh")
    assert "--array=0-1%2" in script.read_text()
    assert "#SBATCH --requeue" in script.read_text()


DISTURBANCES = {
    "requeued, as by preemption": lambda job_id: ["scontrol", "requeue", job_id],
    "near its time limit": lambda job_id: ["scancel", "--signal=USR2", job_id],
}


@pytest.mark.parametrize("command", DISTURBANCES.values(), ids=DISTURBANCES)
def test_a_disturbed_job_goes_on_and_ends_as_an_undisturbed_one(tiny, tmp_path, command):
    experiment = small_experiment(tiny, tmp_path, steps=150)
    (whole,) = through_slurm(plan(experiment, tmp_path / "one", "gainrl"))
    (run,) = plan(experiment, tmp_path / "two", "gainrl")
    in_the_middle(run, command)
    (disturbed,) = through_slurm([run])
    assert times_resumed(run) == 1
    assert disturbed.draws().equals(whole.draws())
    assert disturbed.evals().equals(whole.evals())
    assert disturbed.metrics().drop(columns=TIMES).equals(whole.metrics().drop(columns=TIMES))
    one, two = (next(folder.checkpoints.rglob("model.safetensors")).read_bytes() for folder in (whole, disturbed))
    assert one == two


@pytest.mark.slow
def test_a_cancelled_job_is_reported_and_the_same_command_goes_on(tiny, tmp_path):
    (run,) = plan(small_experiment(tiny, tmp_path, steps=150), tmp_path / "runs", "grpo")
    in_the_middle(run, lambda job_id: ["scancel", job_id])
    (failure,) = run_all([run], Slurm(OPTIONS))
    assert "left no result; its state is CANCELLED" in failure.reason
    assert "gainrl train small --cell grpo --seed 0" in str(failure)
    assert run.checkpoint_step() >= 20
    (folder,) = through_slurm([run])
    assert times_resumed(run) == 1
    assert folder.metrics().step.tolist() == list(range(1, 151))


@pytest.mark.slow
def test_jobs_outlive_the_launcher_and_are_watched_again(tiny, tmp_path):
    (run,) = plan(small_experiment(tiny, tmp_path, steps=150), tmp_path / "runs", "grpo")

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(Slurm(OPTIONS).train([run], ctrl_c))
    through_slurm([run])
    assert len(list((tmp_path / "runs" / "shared" / "jobs").rglob("*_submission.sh"))) == 1
