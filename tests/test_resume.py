"""A run that was killed, whenever, ends as one that nobody touched: the same draws, evaluations and weights."""

import json
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
import torch
from filelock import FileLock

from experiments import load_experiment
from gainrl.errors import InputError
from gainrl.progress import Report
from gainrl.rng import generator
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution
from gainrl.runs.records import RunFolder, find_run
from gainrl.training import checkpoints
from gainrl.training.interruption import Interrupted
from gainrl.training.run import train_run
from tests.helpers import TIMES
from tests.helpers import gainrl as gainrl_command

EVERY = Execution(checkpoint_every=2)
NEAR = {"targets": [0.04], "every": 2, "afterwards": 5}
"""A random model is always near this target, so it is evaluated at steps that are no multiples of 3."""
PHASES = {
    "scoring": "gainrl.scoring.prefill.concentration",
    "generation": "gainrl.training.ScheduledGRPOTrainer._generate_single_turn",
    "loss": "gainrl.training.ScheduledGRPOTrainer._compute_loss",
    "optimizer": "torch.optim.AdamW.step",
    "evaluation": "gainrl.evaluation.heldout.HeldOut.by_metric",
    "draws": "gainrl.runs.records.RunFolder.write_draws",
    "checkpoint, begun": "gainrl.training.ScheduledGRPOTrainer._save_rng_state",
    "checkpoint, unnamed": "gainrl.training.checkpoints.write_manifest",
    "checkpoint, older ones": "shutil.rmtree",
    "end": "gainrl.runs.records.RunFolder.finish",
}
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["gainrl.training", "gainrl.scoring", "tests.test_resume"])


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random tiny model in a folder."""
    from gainrl.models.tiny import random_tiny_model, tiny_tokenizer
    from tests.conftest import SMALL

    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer()
    random_tiny_model(SMALL, tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def config_of(model: Path, cell: str = "gainrl", **training) -> RunConfig:
    """Nine steps of two problems: epochs of three steps, so that checkpoints fall inside epochs and at their ends."""
    whole = load_experiment("quickstart").cells[cell].model_dump()
    sizes = {"steps": 8, "prompts_per_step": 2, "generations": 2, "prompts_per_epoch": 6, "max_completion_tokens": 4}
    changes = {
        "model": {"name": str(model)},
        "problems": {"train": "arithmetic", "heldout": ["arithmetic"], "train_size": 24, "heldout_size": 8},
        "training": {**whole["training"], **sizes, "learning_rate": 1e-2, **training},
        "evaluation": {"every": 3, "max_completion_tokens": 4, "near_targets": NEAR},
    }
    return RunConfig.model_validate({**whole, **changes})


def silent(what: str, done: int, of: int) -> None:
    pass


def token_parity(completion_ids, **columns) -> list[float]:
    """A correctness that a random model attains now and then, so that there are gradients."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def train(config: RunConfig, root: Path, execution: Execution = EVERY, report: Report = silent) -> RunFolder:
    with patch("gainrl.training.run.accuracy_reward", token_parity):
        train_run(config, root / "run", root / "shared", report, execution=execution)
    return RunFolder(root / "run")


def assert_same(one: RunFolder, other: RunFolder) -> None:
    assert one.status() == other.status() == ("finished", None)
    pd.testing.assert_frame_equal(one.draws(), other.draws())
    pd.testing.assert_frame_equal(one.evals(), other.evals())
    pd.testing.assert_frame_equal(
        one.metrics().drop(columns=TIMES),
        other.metrics().drop(columns=TIMES),
    )
    assert sorted(path.name for path in one.checkpoints.iterdir()) == ["step-8"]
    one_weights, other_weights = (run.checkpoints / "step-8" / "model.safetensors" for run in (one, other))
    assert one_weights.read_bytes() == other_weights.read_bytes()


@pytest.fixture(scope="module")
def untouched(model, tmp_path_factory) -> RunFolder:
    folder = train(config_of(model), tmp_path_factory.mktemp("untouched"))
    assert folder.metrics().step.tolist() == list(range(1, 9))
    assert folder.draws().groupby("epoch").size().tolist() == [6, 6, 6]
    weights = (folder.checkpoints / "step-8" / "model.safetensors").read_bytes()
    assert weights != (model / "model.safetensors").read_bytes()
    return folder


@pytest.mark.parametrize("name", ["greso", "speed", "oracle", "prior"])
def test_selectors_resume_in_the_middle_of_an_epoch(model, tmp_path, name):
    """What they remember, what they threw away and what is counted: all as in an undisturbed run, bit for bit."""
    whole = config_of(model, generations=4).model_dump()
    options = {"screening": 2} if name == "speed" else {}
    config = RunConfig.model_validate({**whole, "schedule": {"name": name, "options": options}})

    def stop(what: str, done: int, of: int) -> None:
        if (what, done) == ("training", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", report=stop)
    resumed, undisturbed = train(config, tmp_path / "broken"), train(config, tmp_path / "whole")
    assert_same(resumed, undisturbed)
    last = resumed.metrics().iloc[-1]
    if name in ("oracle", "prior"):
        assert (last.problems_seen, last.rollouts) == (16, 64)
    if name == "speed":
        assert (last.problems_seen > 16, last.rollouts > 64) == (True, True)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in(place: str, call: int) -> None:
    """From now on, the call of that number of what stands at a dotted place kills this process."""
    home, _, name = place.rpartition(".")
    owner, calls = pkgutil.resolve_name(home), 0
    whole = getattr(owner, name)

    def counted(*args, **options):
        nonlocal calls
        calls += 1
        if calls == call:
            die()
        return whole(*args, **options)

    setattr(owner, name, counted)


def child(config: RunConfig, root: Path, threads: int, place: str | None, call: int, seconds: float) -> None:
    torch.set_num_threads(threads)
    if place is None:
        threading.Timer(seconds, die).start()
    else:
        die_in(place, call)
    train(config, root)


def killed(config: RunConfig, root: Path, place: str | None = None, call: int = 1, seconds: float = 0.0) -> bool:
    """Train in a process that is killed; whether it was, before it had finished."""
    process = processes.Process(target=child, args=(config, root, torch.get_num_threads(), place, call, seconds))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


@pytest.mark.parametrize(
    ("phase", "call"),
    [("scoring", 1), ("generation", 6), ("loss", 5), ("evaluation", 3), ("checkpoint, begun", 2), ("end", 1)],
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(model, untouched, tmp_path, phase, call):
    assert killed(config_of(model), tmp_path, PHASES[phase], call)
    assert_same(train(config_of(model), tmp_path), untouched)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_kills_at_random_moments(model, untouched, tmp_path, moment):
    """Each run is killed twice: once in a phase that is drawn, once after a time that is drawn."""
    rng = generator(moment, "moments")
    place = list(PHASES.values())[moment % len(PHASES)]
    config = config_of(model)
    kills = [killed(config, tmp_path, place, int(rng.integers(1, 4)))]
    kills.append(killed(config, tmp_path, seconds=float(rng.uniform(0.1, 3))))
    if find_run(tmp_path / "run", config) == "unfinished":  # the second kill may come too late
        train(config, tmp_path)
    assert_same(RunFolder(tmp_path / "run"), untouched)
    print(f"{place}: killed {sum(kills)} times")


@pytest.mark.parametrize(
    ("cell", "training"),
    [
        ("grpo", {}),
        ("adarft", {}),
        ("gainrl", {"prompts_per_epoch": 12, "prompts_per_generation": 4}),
        ("gainrl", {"algorithm": "rloo"}),
    ],
    ids=["uniform", "adarft", "several steps a generation", "rloo"],
)
def test_every_schedule_and_batching_goes_on(model, tmp_path, cell, training):
    config = config_of(model, cell, **training)
    whole = train(config, tmp_path / "whole")
    stopped(config, tmp_path / "broken", at=5)
    assert_same(train(config, tmp_path / "broken"), whole)


def stopped(config: RunConfig, root: Path, at: int, signum: int = signal.SIGTERM) -> RunFolder:
    """Train until a signal comes after a step."""

    def interrupt(what: str, done: int, of: int) -> None:
        if what == "training" and done == at:
            os.kill(os.getpid(), signum)

    with pytest.raises(KeyboardInterrupt if signum == signal.SIGINT else Interrupted) as raised:
        train(config, root, Execution(checkpoint_every=100), interrupt)
    assert getattr(raised.value, "code", 128 + signal.SIGINT) == 128 + signum
    return RunFolder(root / "run")


@pytest.mark.parametrize(
    ("signum", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGUSR2, "SIGUSR2"), (signal.SIGINT, "Ctrl-C")]
)
def test_a_signal_leaves_a_checkpoint_of_the_step_that_it_came_in(model, untouched, tmp_path, signum, name):
    folder = stopped(config_of(model), tmp_path, at=5, signum=signum)
    assert folder.status() == ("failed", f"interrupted by {name}; the same command resumes the run")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-6"]
    assert folder.evals().step.tolist() == [0, 2, 4]  # due at 6, but time was short
    assert_same(train(config_of(model), tmp_path), untouched)
    environment = json.loads((folder.path / "environment.json").read_text())
    assert len(environment["resumed"]) == 1


def test_a_second_ctrl_c_ends_a_run_at_once(model, tmp_path, capsys):
    done = []

    def interrupt(what: str, step: int, of: int) -> None:
        if what == "training" and step == 5:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                done.append(step)

    with pytest.raises(KeyboardInterrupt):
        train(config_of(model), tmp_path, Execution(checkpoint_every=100), interrupt)
    assert done == [5]  # raised by the second
    assert "ends after this step, with a checkpoint; Ctrl-C once more ends at once" in capsys.readouterr().err
    assert not [*RunFolder(tmp_path / "run").checkpoints.iterdir()]


def test_a_signal_before_training_ends_it_at_once(model, tmp_path):
    def interrupt(what: str, done: int, of: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(config_of(model), tmp_path, report=interrupt)
    assert RunFolder(tmp_path / "run").metrics().empty


@pytest.mark.parametrize("harm", ["weights", "manifest", "empty manifest", "schedule"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(model, untouched, tmp_path, capsys, harm):
    assert killed(config_of(model), tmp_path, PHASES["loss"], 7)
    folder = RunFolder(tmp_path / "run").checkpoints
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]
    files = {"weights": "model.safetensors", "schedule": "schedule.json"}
    with (folder / "checkpoint-6" / files.get(harm, "manifest.json")).open("r+b") as damaged:
        if harm == "empty manifest":
            damaged.truncate(0)
        damaged.write(b"{}" if harm == "empty manifest" else b"#")
    assert_same(train(config_of(model), tmp_path), untouched)
    assert "checkpoint-6 is damaged" in capsys.readouterr().err


def test_without_a_whole_checkpoint_a_run_begins_anew(model, untouched, tmp_path, capsys):
    assert killed(config_of(model), tmp_path, PHASES["loss"], 4)
    (RunFolder(tmp_path / "run").checkpoints / "checkpoint-2" / "optimizer.pt").unlink()
    assert_same(train(config_of(model), tmp_path), untouched)
    assert "optimizer.pt is not as it was written" in capsys.readouterr().err


def test_torn_last_lines_are_written_again(model, untouched, tmp_path):
    assert killed(config_of(model), tmp_path, PHASES["optimizer"], 5)
    for name in ("metrics.jsonl", "evals.jsonl"):
        with (tmp_path / "run" / name).open("a") as file:
            file.write('{"step": 5, "acc')
    assert_same(train(config_of(model), tmp_path), untouched)


def test_two_processes_on_one_run_are_refused_and_a_dead_one_keeps_no_lock(model, tmp_path):
    message = "another process trains the run in .*run; wait for it, or end it"
    with FileLock(tmp_path / ".run.lock"), pytest.raises(InputError, match=message):
        train(config_of(model), tmp_path)
    assert killed(config_of(model), tmp_path, PHASES["loss"], 1)  # it held the lock
    train(config_of(model), tmp_path)


def test_a_config_that_changed_begins_anew(model, tmp_path):
    stopped(config_of(model), tmp_path, at=4)
    other = config_of(model, learning_rate=1e-3)
    assert_same(train(other, tmp_path), train(other, tmp_path / "alone"))


def test_only_the_newest_checkpoints_are_kept_and_none_of_a_finished_run(model, tmp_path, monkeypatch):
    seen = []
    keep = checkpoints.keep

    def watch(unfinished: Path, folder: Path) -> None:
        keep(unfinished, folder)
        seen.append(sorted(path.name for path in folder.iterdir() if path.name.startswith("checkpoint-")))

    monkeypatch.setattr("gainrl.training.trainer.keep", watch)
    folder = train(config_of(model), tmp_path, Execution(checkpoint_every=1))
    names = [f"checkpoint-{step}" for step in range(1, 8)]
    assert seen == [names[max(0, last - 2) : last] for last in range(1, 8)]
    assert [path.name for path in folder.checkpoints.iterdir()] == ["step-8"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one MiB, and how to mount it again with other options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> int:
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True).returncode

    if mount("size=1m"):
        pytest.skip("only root may mount a small file system")
    yield place, mount
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_lost(model, untouched, small_disk):
    place, mount = small_disk
    (place / "ballast").write_bytes(bytes(350_000))
    with pytest.raises(InputError, match=r"checkpoint-\d cannot be written into .* has 0 MiB free: .* the one before"):
        train(config_of(model), place)
    folder = RunFolder(place / "run")
    assert folder.status()[0] in ("failed", "running")
    assert len(folder.metrics())
    mount("remount,size=20m")
    assert_same(train(config_of(model), place), untouched)


def test_a_folder_that_cannot_be_written_is_one_line(model, small_disk, monkeypatch, capfd):
    place, mount = small_disk
    mount("remount,ro")
    arguments = ["train", "quickstart", "--cell", "grpo", "--runs-dir", str(place / "runs")]
    code, _, err = gainrl_command(monkeypatch, capfd, *arguments)
    assert code == 2
    assert err.splitlines()[-1] == f"gainrl: {place / 'runs'}: Read-only file system"


def in_two_processes(model: Path, root: Path, *last_step: str) -> int:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "tests.distributed_training", str(model), str(root), *last_step]
    done = subprocess.run([*launch, *program], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    print(done.stderr[-3000:])
    return done.returncode


@pytest.mark.slow
def test_a_run_of_two_processes_draws_as_one_and_goes_on_too(model, untouched, tmp_path):
    assert in_two_processes(model, tmp_path / "whole") == 0
    assert in_two_processes(model, tmp_path / "broken", "5") != 0
    assert in_two_processes(model, tmp_path / "broken") == 0
    whole, broken = (RunFolder(tmp_path / name / "run") for name in ("whole", "broken"))
    assert_same(whole, broken)
    first = [folder.draws().query("epoch == 0").problem_id.tolist() for folder in (whole, untouched)]
    assert first[0] == first[1]
    assert whole.metrics().problems_seen.tolist() == untouched.metrics().problems_seen.tolist()
    assert whole.evals().value[0] == untouched.evals().value[0]
