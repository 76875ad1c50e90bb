"""A real Slurm of one node (tests/slurm/start.sh): two cells to the end, and a job that is requeued in the middle."""

import subprocess
import threading
import time

import pytest

from gainrl.config import SlurmOptions
from gainrl.launch import Slurm, plan_runs, run_all
from gainrl.launch.progress import read_progress
from gainrl.records import RunFolder
from tests.launching import small_experiment

pytestmark = pytest.mark.slurm
OPTIONS = SlurmOptions(cpus=1, hours=0.5, array_size=2)


def through_slurm(experiment, runs_dir, cells):
    runs = plan_runs(experiment, cells=cells, seeds=[0], runs_dir=runs_dir)
    failures = run_all(runs, Slurm(OPTIONS))
    assert not failures, "\n".join(map(str, failures))
    return [RunFolder(run.path) for run in runs]


def job_ids(runs_dir) -> list[str]:
    told = subprocess.run(
        ["squeue", "--me", "--array", "--noheader", "--format=%i"], capture_output=True, text=True, check=True
    )
    return told.stdout.split()


def test_two_cells_run_as_an_array(tiny, tmp_path):
    experiment = small_experiment(tiny, tmp_path)
    for folder, config in zip(
        through_slurm(experiment, tmp_path / "runs", ["grpo", "gainrl"]), experiment.cells.values(), strict=True
    ):
        assert folder.status() == ("finished", None)
        assert folder.config() == config
        assert folder.metrics().step.tolist() == [1, 2, 3, 4]
    scripts = list((tmp_path / "runs" / "shared" / "jobs").rglob("*_submission.sh"))
    assert len(scripts) == 1
    assert "--array=0-1%2" in scripts[0].read_text()
    assert "#SBATCH --requeue" in scripts[0].read_text()


def test_a_job_that_is_requeued_in_the_middle_ends_as_an_undisturbed_one(tiny, tmp_path):
    experiment = small_experiment(tiny, tmp_path, steps=150)
    (undisturbed,) = through_slurm(experiment, tmp_path / "one", ["gainrl"])
    (run,) = plan_runs(experiment, cells=["gainrl"], seeds=[0], runs_dir=tmp_path / "two")
    requeued = []

    def requeue() -> None:
        while not requeued:
            if 20 < read_progress(run.home).done < 140:
                (job_id,) = job_ids(tmp_path)
                subprocess.run(["scontrol", "requeue", job_id], check=True)
                requeued.append(job_id)
            time.sleep(0.1)

    disturber = threading.Thread(target=requeue, daemon=True)
    disturber.start()
    (disturbed,) = through_slurm(experiment, tmp_path / "two", ["gainrl"])
    assert requeued
    attempts = next((tmp_path / "two" / "shared" / "jobs").rglob("*_log.out")).read_text().count("Loading pickle")
    assert attempts == 2
    assert disturbed.draws().equals(undisturbed.draws())
    assert disturbed.evals().equals(undisturbed.evals())
    one, two = (next(folder.checkpoints.rglob("model.safetensors")).read_bytes() for folder in (undisturbed, disturbed))
    assert one == two


def test_a_job_that_is_cancelled_is_reported(tiny, tmp_path):
    experiment = small_experiment(tiny, tmp_path, steps=5000)
    (run,) = plan_runs(experiment, cells=["grpo"], seeds=[0], runs_dir=tmp_path / "runs")

    def cancel() -> None:
        while read_progress(run.home).done < 3:
            time.sleep(0.1)
        subprocess.run(["scancel", *job_ids(tmp_path)], check=True)

    disturber = threading.Thread(target=cancel, daemon=True)
    disturber.start()
    (failure,) = run_all([run], Slurm(OPTIONS))
    assert "gainrl train small --cell grpo --seed 0" in str(failure)
