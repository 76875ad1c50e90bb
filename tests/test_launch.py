"""Plans, launchers and what they show. Slurm has a file of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from gainrl.errors import InputError
from gainrl.files import replaced
from gainrl.launch import Debug, Local, Slurm, run_all
from gainrl.launch.estimate import describe
from gainrl.launch.job import accelerate_command
from gainrl.launch.outcome import Failure
from gainrl.launch.watch import Watch, table
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution, SlurmOptions
from gainrl.runs.plan import plan_runs, unfinished
from gainrl.runs.records import RunFolder
from gainrl.runs.state import ProgressFile, RunState, read_state
from gainrl.training.run import train_run
from tests.helpers import evals_row, gainrl, metrics_row, small_experiment


@pytest.fixture
def experiment(tiny, tmp_path):
    return small_experiment(tiny, tmp_path)


def plan(experiment, tmp_path, *cells, seeds=(0,), arguments=()):
    chosen = cells or list(experiment.cells)
    return plan_runs(experiment, cells=chosen, seeds=seeds, runs_dir=tmp_path / "runs", arguments=arguments)


def pretend_finished(run, *, seconds_each=None) -> RunFolder:
    """A finished run folder without any training."""
    folder = RunFolder(run.home)
    folder.start(run.config)
    folder.append_metrics(metrics_row(1))
    if seconds_each is not None:
        doing = {"what": "training", "done": 4, "of": 4, "seconds_each": seconds_each}
        (run.home / "progress.json").write_text(json.dumps(doing))
    folder.finish()
    return folder


def test_a_run_lies_in_one_place_and_its_experiment_links_to_it(experiment, tmp_path):
    (run,) = plan(experiment, tmp_path, "grpo")
    assert run_all([run], Debug()) == []
    assert run.path.is_symlink()
    assert not run.path.readlink().is_absolute()
    assert run.path.resolve() == run.home.resolve()
    assert RunFolder(run.path).metrics().step.tolist() == [1, 2, 3, 4]


def test_equal_cells_of_different_experiments_are_one_run(experiment, tmp_path):
    (one,) = plan(experiment, tmp_path, "grpo")
    other = experiment.model_copy(update={"name": "other"})
    (two,) = plan(other, tmp_path, "grpo")
    pretend_finished(one)
    run_all([one], Debug())
    assert unfinished([two]) == []
    assert run_all([two], Debug()) == []
    assert two.path.resolve() == one.path.resolve()
    assert "finished (shared with small/grpo)" in describe([two], Debug(), tmp_path / "none")


def test_equal_cells_of_one_experiment_are_trained_once(experiment, tmp_path):
    cells = {**experiment.cells, "again": experiment.cells["grpo"]}
    twice = experiment.model_copy(update={"cells": cells})
    runs = plan(twice, tmp_path, "grpo", "again")
    assert [run.cell for run in unfinished(runs)] == ["grpo"]
    assert "shared with small/grpo" in describe(runs, Debug(), tmp_path / "none")


def test_another_config_is_not_overwritten_in_silence_and_the_old_run_is_kept(experiment, tmp_path):
    (old,) = plan(experiment, tmp_path, "grpo")
    pretend_finished(old)
    run_all([old], Debug())
    training = old.config.training.model_copy(update={"kl": 0.25, "steps": 2})
    changed = experiment.model_copy(update={"cells": {"grpo": old.config.model_copy(update={"training": training})}})
    (new,) = plan(changed, tmp_path, "grpo")
    with pytest.raises(InputError, match=f"{old.hash}, now {new.hash}.*training.kl, training.steps.*--overwrite"):
        run_all([new], Debug())
    assert run_all([replace(new, overwrite=True)], Debug()) == []
    assert RunFolder(new.path).config() == new.config
    assert RunFolder(old.home).status()[0] == "finished"


def test_overwrite_trains_a_finished_run_anew(experiment, tmp_path):
    (run,) = plan(experiment, tmp_path, "grpo")
    pretend_finished(run)
    run_all([replace(run, overwrite=True)], Debug())
    assert len(RunFolder(run.path).metrics()) == 4
    assert not replaced(run.home).exists()


class Refusing(Debug):
    def train(self, runs, tick):
        raise KeyboardInterrupt


@pytest.mark.parametrize("launcher", [Refusing(), Slurm(SlurmOptions())])
def test_overwrite_removes_nothing_before_a_run_begins(experiment, tmp_path, monkeypatch, launcher):
    runs = plan(experiment, tmp_path)
    for run in runs:
        pretend_finished(run)
    monkeypatch.setenv("PATH", "")
    with pytest.raises((KeyboardInterrupt, InputError)):
        run_all([replace(run, overwrite=True) for run in runs], launcher)
    assert all(run.is_finished() for run in runs)


def test_overwrite_keeps_the_finished_run_where_the_new_one_fails_before_it_has_a_checkpoint(experiment, tmp_path):
    (run,) = plan(experiment, tmp_path, "grpo")
    pretend_finished(run)
    last = None

    def train() -> None:
        def report(what: str, done: int, of: int) -> None:
            if what == "training" and done == last:
                raise RuntimeError("power cut")

        shared, execution = tmp_path / "runs" / "shared", Execution(checkpoint_every=2)
        train_run(run.config, run.home, shared, report, execution=execution, overwrite=True)

    for last in (1, 3):
        with pytest.raises(RuntimeError, match="power cut"):
            train()
        assert run.is_finished() == (last == 1)
    assert RunFolder(replaced(run.home)).status()[0] == "finished"
    last = None
    train()
    assert RunFolder(run.home).metrics().step.tolist() == [1, 2, 3, 4]
    assert len(RunFolder(run.home).read_json("environment.json")["resumed"]) == 1
    assert not replaced(run.home).exists()


def broken(experiment, cell="gainrl"):
    """The experiment, one of whose cells names an order file that is not there."""
    bad = experiment.cells[cell].model_dump()
    bad["schedule"] = {"name": "gaussian", "order": "missing.pt"}
    return experiment.model_copy(update={"cells": {**experiment.cells, cell: RunConfig.model_validate(bad)}})


@pytest.mark.parametrize(
    "launcher", [Debug(), pytest.param(Local(jobs=2), marks=pytest.mark.slow)], ids=["debug", "local"]
)
def test_a_failure_is_reported_and_the_other_cells_go_on(experiment, tmp_path, capfd, launcher):
    runs = plan(broken(experiment), tmp_path, "gainrl", "grpo", arguments=("--scale", "tiny"))
    (failure,) = run_all(runs, launcher)
    assert failure.run is runs[0]
    told = str(failure)
    assert "gainrl seed 0 failed: InputError: " in told
    assert "missing.pt" in failure.reason
    assert ("gainrl.errors.InputError" in told) == isinstance(launcher, Local)  # in this process one line says it all
    assert "gainrl train small --cell gainrl --seed 0 --scale tiny" in told
    assert len(told.splitlines()) <= 23
    assert told.splitlines()[0] in capfd.readouterr().err
    assert RunFolder(runs[1].path).status() == ("finished", None)


@pytest.mark.slow
def test_local_jobs_give_the_runs_that_this_process_gives(experiment, tmp_path):
    here = plan(experiment, tmp_path / "here", "grpo", "gainrl")
    there = plan(experiment, tmp_path / "there", "grpo", "gainrl")
    run_all(here, Debug())
    run_all(there, Local(jobs=2))
    for one, other in zip(here, there, strict=True):
        a, b = RunFolder(one.path), RunFolder(other.path)
        assert a.draws().equals(b.draws())
        environment = json.loads((other.home / "environment.json").read_text())
        assert environment["threads"] == Local(jobs=2).threads
        assert environment["command"] == f"gainrl train small --cell {other.cell} --seed 0"  # no folder of this machine


def test_local_jobs_have_the_threads_that_the_environment_says_or_share_the_cores(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [Local(jobs=jobs).threads for jobs in (1, cores, 2 * cores)] == [cores, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert Local(jobs=1).threads == 3


@pytest.mark.slow
def test_ctrl_c_ends_local_jobs_after_a_checkpoint_and_the_same_command_goes_on(tiny, tmp_path):
    (run,) = plan(small_experiment(tiny, tmp_path, steps=400), tmp_path, "grpo")

    def interrupt() -> None:
        if read_state(run.home).done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Local().train([run], interrupt))
    assert RunFolder(run.home).status() == ("failed", "interrupted by SIGTERM; the same command resumes the run")
    step = run.checkpoint_step()
    assert 5 <= step < 400
    assert f"resumes from step {step}" in describe([run], Local(), tmp_path / "none")


@pytest.mark.slow
def test_a_killed_local_job_is_a_failure(tiny, tmp_path):
    (run,) = plan(small_experiment(tiny, tmp_path, steps=400), tmp_path, "grpo")
    killed = []

    def kill() -> None:
        if read_state(run.home).done >= 5 and not killed:
            lock = subprocess.run(["pgrep", "-f", f"submitit.core._submit.*{tmp_path}"], capture_output=True, text=True)
            killed.extend(map(int, lock.stdout.split()))
            for process in killed:
                os.kill(process, signal.SIGKILL)

    ((_, failure),) = Local().train([run], kill)
    assert killed
    assert failure.reason.startswith("its process was killed")


def test_more_gpus_than_there_are_is_said_before_anything_runs(experiment, tmp_path):
    greedy = experiment.model_copy(update={"execution": {"grpo": Execution(gpus=64)}})
    with pytest.raises(InputError, match="grpo: a run takes 64 GPUs, this machine has .*--launcher slurm"):
        list(Local().train(plan(greedy, tmp_path, "grpo"), lambda: None))


def test_accelerate_starts_the_command_that_trains_this_run(experiment, tmp_path):
    greedy = experiment.model_copy(update={"execution": {"grpo": Execution(gpus=4, accelerate="fsdp.yaml")}})
    (run,) = plan(greedy, tmp_path, "grpo", arguments=("--scale", "paper"))
    command = accelerate_command(run)
    text = " ".join(command)
    assert command[0] == sys.executable
    assert "gainrl/launch/accelerate/fsdp.yaml --num_processes 4" in text
    again = f"-m gainrl.cli train small --cell grpo --seed 0 --scale paper --runs-dir {tmp_path / 'runs'}"
    assert text.endswith(again)


def test_the_dry_run_estimates_from_finished_runs_with_the_same_model(experiment, tmp_path):
    runs = plan(experiment, tmp_path, seeds=(0, 1))
    assert "time unknown for 4" in describe(runs, Debug(), tmp_path / "none")
    pretend_finished(runs[0], seconds_each=900)
    told = describe(runs, Local(jobs=2), tmp_path / "none")
    rows = [line.split() for line in told.splitlines()[1:5]]
    assert [row[-3:] for row in rows] == [["0", "unknown", "CPU"]] + 3 * [["1:00:00", "unknown", "CPU"]]
    RunFolder(runs[0].home).record_memory(8.25)
    RunFolder(runs[0].home).record_memory(3.0)  # of a process that resumed it
    rows = [line.split() for line in describe(runs, Local(jobs=2), tmp_path / "none").splitlines()[1:5]]
    assert [row[-2] for row in rows] == 4 * ["8.2"]
    assert "4 runs, 3 to train on this machine, 2 at once" in told
    assert "about 3:00:00 of training, 1:30:00 until the last has ended" in told
    assert not list((tmp_path / "runs").glob("small"))


def test_the_dry_run_estimates_each_schedule_from_its_own_runs_where_there_are_any(experiment, tmp_path):
    (grpo, gainrl) = plan(experiment, tmp_path)
    pretend_finished(grpo, seconds_each=900)
    pretend_finished(gainrl, seconds_each=1800)
    (again, other) = plan(experiment, tmp_path, seeds=(1,))
    told = describe([again, other], Debug(), tmp_path / "none")
    assert [line.split()[-3] for line in told.splitlines()[1:3]] == ["1:00:00", "2:00:00"]


def test_progress_is_read_from_files_that_are_being_written(experiment, tmp_path):
    (run,) = plan(experiment, tmp_path, "gainrl")
    assert read_state(run.home) == RunState("waiting")
    folder = RunFolder(run.home)
    folder.start(run.config)
    assert read_state(run.home) == RunState("starting")
    write = ProgressFile(run.home)
    write("warm-up", 0, 10)
    assert read_state(run.home) == RunState("warm-up", 0, 10)
    write("training", 1, 4)
    time.sleep(0.01)
    write("training", 4, 4)
    folder.append_eval(evals_row(0, 0.9, "a"))
    folder.append_eval(evals_row(3, 0.5, "a"))
    folder.append_eval(evals_row(3, 0.25, "b"))
    folder.append_metrics(metrics_row(3, mu=7.0))
    with (run.home / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "m')
    now = read_state(run.home)
    assert (now.state, now.done, now.of, now.accuracy, now.mu) == ("training", 4, 4, 0.375, 7.0)
    assert now.seconds_each > 0
    assert now.seconds_left == 0
    (run.home / "progress.json").write_text('{"what": "tr')
    assert read_state(run.home).state == "starting"


def test_the_table_shows_running_runs_first_and_counts_what_has_no_room(experiment, tmp_path):
    runs = plan(experiment, tmp_path, seeds=(0, 1))
    seen = {run.label: RunState("finished", 4, 4, 0.5) for run in runs}
    seen["gainrl seed 1"] = RunState("training", 2, 4, 0.41, 12.0, 60.0)
    console = Console(file=StringIO(), width=100)
    console.print(table("small", runs, seen, rows=2))
    text = console.file.getvalue()
    assert "small: 1 running, 3 finished" in text
    first = next(line for line in text.splitlines() if "training" in line)
    assert [cell.strip() for cell in first.strip("│").split("│")] == [
        "gainrl", "1", "training", "2/4", "41.0 %", "12", "0:02:00"
    ]  # fmt: skip
    assert "and 2 more" in text


def test_plain_lines_where_there_is_no_terminal(experiment, tmp_path):
    (run,) = plan(experiment, tmp_path, "grpo")
    console = Console(file=StringIO(), width=100)
    folder = RunFolder(run.home)
    folder.start(run.config)
    with Watch("small", [run], console) as watch:
        for step in range(1, 9):
            (run.home / "progress.json").write_text(json.dumps({"what": "training", "done": step, "of": 8}))
            watch.last_read = float("-inf")
            watch.tick()
        folder.finish()
        watch.ended(run, failed=False)
    lines = console.file.getvalue().splitlines()
    expected = [f"training {step}/8" for step in (1, 2, 4, 6, 8)] + ["finished 8/8"]
    assert lines == [f"grpo seed 0: {line}" for line in expected]


def test_a_failure_shows_the_end_of_its_log(experiment, tmp_path):
    (run,) = plan(experiment, tmp_path, "grpo")
    log = "\n".join(f"line {number}" for number in range(100))
    text = str(Failure(run, "it broke", log, tmp_path / "log.err"))
    assert "line 79" not in text
    assert "    line 80\n" in text
    assert f"the whole log: {tmp_path / 'log.err'}" in text


def command_line(experiment, monkeypatch, capsys, *arguments):
    """Exit code, stdout and stderr of `gainrl` where the small experiment is the only one."""
    monkeypatch.setattr("gainrl.cli.experiments.load_plan", lambda name, scale: experiment)
    monkeypatch.setattr("gainrl.cli.follow_ups.FOLLOW_UPS", {})
    return gainrl(monkeypatch, capsys, *arguments)


def test_reproduce_ends_with_1_if_a_run_failed_and_shows_the_others(experiment, monkeypatch, capsys):
    code, out, err = command_line(broken(experiment), monkeypatch, capsys, "reproduce", "small")
    assert code == 1
    assert "| GRPO (uniform)" in out
    assert "small, gainrl seed 0 failed: InputError: order file missing.pt" in err
    assert "1 runs failed (see above); the same command tries them again" in err
    code, _, err = command_line(broken(experiment), monkeypatch, capsys, "train", "small", "--cell", "gainrl")
    assert code == 2
    assert "gainrl: order file missing.pt: No such file or directory" in err.splitlines()


def test_another_engine_is_another_run(experiment, monkeypatch, capsys):
    assert command_line(experiment, monkeypatch, capsys, "train", "small", "--cell", "grpo")[0] == 0
    again = ("train", "small", "--cell", "grpo", "--generation")
    assert command_line(experiment, monkeypatch, capsys, *again, "transformers")[0] == 0
    code, _, err = command_line(experiment, monkeypatch, capsys, *again, "vllm")
    assert code == 2
    assert "they differ in training.generation" in err


def test_a_trial_is_shorter_and_in_a_folder_of_its_own(experiment, monkeypatch, capsys, tmp_path):
    trial = ("small", "--cell", "grpo", "--steps", "2")
    assert command_line(experiment, monkeypatch, capsys, "train", *trial)[0] == 0
    shared, run = tmp_path / "runs" / "shared", RunFolder(tmp_path / "runs" / "trial" / "small" / "grpo" / "seed-0")
    assert (run.config().training.steps, len(run.metrics()), run.status()[0]) == (2, 2, "finished")
    assert run.path.resolve().parent == shared / "runs"
    assert not (tmp_path / "runs" / "small").exists()
    code, out, _ = command_line(experiment, monkeypatch, capsys, "reproduce", "small", "--steps", "2", "--dry-run")
    assert code == 0
    assert [line.split()[2] for line in out.splitlines()[3:5]] == ["finished", "to"]


def test_trackers_and_gpus_are_no_part_of_a_run(experiment, monkeypatch, capsys):
    dry = ("reproduce", "small", "--dry-run", "--report-to", "tensorboard")
    code, out, _ = command_line(experiment, monkeypatch, capsys, *dry, "--launcher", "slurm", "--slurm.gpus", "2")
    assert code == 0
    assert [line.split()[-3:] for line in out.splitlines()[3:5]] == [["2", "unknown", "unknown"]] * 2
    assert "2 to train on Slurm, at most 100 jobs at once" in out
    assert command_line(experiment, monkeypatch, capsys, "reproduce", "small", "--jobs", "0")[0] == 2


def test_slurm_is_named_where_it_is_missing(experiment, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = command_line(experiment, monkeypatch, capsys, "reproduce", "small", "--launcher", "slurm")
    assert code == 2
    assert "--launcher slurm needs Slurm's commands, but this machine has no squeue" in err
