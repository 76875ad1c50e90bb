import dataclasses
import inspect
import io
import json
import re
import resource
import signal
import subprocess
import sys
import time
import typing
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from analysis.comparison import MISSING
from experiments import load_experiment
from gainrl.cli import evaluation, experiments, reporting, scoring, studies  # noqa: F401 (they enter their commands)
from gainrl.cli.experiments import Changes
from gainrl.cli.options import app
from gainrl.scoring import Scores
from tests.helpers import gainrl
from tests.test_comparison import printed, write_runs

ROOT = Path(__file__).parents[1]


def test_score_writes_a_scores_file(folder, monkeypatch, capsys):
    arguments = ("score", "model", "problems.json", "--out", "out/s.parquet", "--drop-null-answers")
    code, out, _ = gainrl(monkeypatch, capsys, *arguments)
    assert code == 0
    assert "9 problems" in out
    assert "1 rows without an answer were left out" in out
    assert len(Scores.load(folder / "out" / "s.parquet").table) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "quick"], "unknown experiment 'quick'; valid: ablate_hyperparameters, "),
        (["reproduce", "quickstart", "--seeds", "0"], "--seeds is 0; it should be greater than or equal to 1"),
        (["train", "quickstart", "--cell", "gain"], "unknown cell of quickstart 'gain'; valid: adarft"),
        (["score", "model", "problems.json", "--out", "s.parquet"], "problems.json, row 10: answer is null"),
        (["score", "model", "problem.json", "--out", "s.parquet"], "problem file problem.json: No such file"),
        (["score", "modle", "arithmetic", "--limit", "4", "--out", "s.parquet"], "or a hub id (owner/name), or a folder"),
        (["score", "model", "arithmetic", "--limit", "4", "--out", "s.parquet", "--layer", "7"], "layer 7 is out of range"),
        (["score", "model", "arithmetic", "--limit", "4", "--out", "/proc/none/s.parquet"], "/proc/none: No such file"),
        (["score", "model", "arithmetic", "--out", "model"], "model is a folder where a file is written"),
        (["score", "model", "arithmetic", "--out", "problems.json/s.parquet"], "problems.json is a file where a folder"),
        (["correlate", "model", "arithmetic", "--out", "problems.json"], "problems.json is a file where a folder"),
        (["correlate", "model", "arithmetic", "--out", "c", "--limit", "9"], "9 problems; correlations need at least 10"),
        (["correlate", "model", "arithmetic", "--out", "c", "--samples", "1"], "--samples is 1; a group of completions"),
        (["evaluate", "model", "--tasks", "arithmetic", "--out", "problems.json"], "problems.json is a file where a folder"),
        (["make-model", "problems.json", "--out", "problems.json/m"], "problems.json is a file where a folder"),
        (["make-model", "problems.json", "--out", "/proc/m"], "/proc: No such file or directory"),
        (["reproduce", "all", "--scale", "huge"], "--scale: unknown scale 'huge'; valid: paper, small, tiny"),
        (["report", "all", "--scale", "huge"], "--scale: unknown scale 'huge'; valid: paper, small, tiny"),
        (["train", "quickstart", "--cell", "grpo", "--report-to", "x"], "--report-to is 'x'; valid: trackio, tensor"),
        (["train", "quickstart", "--cell", "grpo", "--report-to", "wandb"], "tracker wandb is not installed"),
        (["reproduce", "quickstart", "--report-to", "wandb"], "tracker wandb is not installed"),
        (["score", "model", "arithmetic", "--out", "s.parquet", "--limit", "9999"], "and at most 2,640; 9,999 were"),
        (["table", "quickstart"], "no finished run of quickstart under"),
        (["publish", "quickstart"], "gainrl reproduce quickstart makes them"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_line_and_exit_code_2(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("gainrl.runs.experiment.find_spec", lambda name: None)
    code, _, err = gainrl(monkeypatch, capsys, *arguments)
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("gainrl: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in err


COMMANDS = {name: spec.target for name, spec in app._subcommands.items()}


def fields_of(owner: object) -> Iterator[tuple[str, object]]:
    """(name, type) of a command's arguments and of the fields of its option groups."""
    for name, annotation in typing.get_type_hints(owner, include_extras=True).items():
        kind = typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
        if dataclasses.is_dataclass(kind):
            yield from fields_of(kind)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((f"{name}.{field}", inner) for field, inner in fields_of(kind))
        else:
            yield name, annotation


NUMBERS = [
    (command, name)
    for command, function in COMMANDS.items()
    for name, kind in fields_of(function)
    if name != "return" and re.search(r"\b(int|float)\b", str(kind))
]
MAY_BE_ZERO = {
    ("correlate", "samples"), ("evaluate", "temperature"), ("make_model", "steps"), ("reproduce", "slurm.gpus")
}  # fmt: skip


def test_the_walk_over_numeric_options_finds_them():
    assert {("score", "limit"), ("correlate", "seed"), ("evaluate", "samples"), ("reproduce", "slurm.hours")} < {
        *NUMBERS
    }


@pytest.mark.parametrize(("command", "name"), NUMBERS)
def test_no_numeric_option_takes_a_number_that_means_nothing(monkeypatch, capsys, command, name):
    """The command's body would fail on these arguments; that the option is named shows that it was checked before."""
    required = []
    for parameter in inspect.signature(COMMANDS[command]).parameters.values():
        if parameter.default is parameter.empty:
            positional = "Positional" in str(parameter.annotation)
            required += ["x"] if positional else [f"--{parameter.name.replace('_', '-')}", "x"]
    option = f"--{name.replace('_', '-')}"
    for value in ("nan", "inf", "-inf", "1e400", "x", "-1", "0", str(2**64), "-" + "9" * 5000):
        if name == "layer" and value in ("-1", "0"):
            continue
        if value == "0" and (name == "seed" or (command, name) in MAY_BE_ZERO):
            continue
        code, out, err = gainrl(monkeypatch, capsys, command.replace("_", "-"), *required, f"{option}={value}")
        assert (code, out, err.count("\n")) == (2, "", 1), value
        assert err.startswith(f"gainrl: {option}"), value


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_cannot_show_a_character_shows_its_number(folder, monkeypatch, capsys, encoding):
    (folder / "bad.json").write_text(json.dumps([{"question": "Wie hoch ist der Bärenturm \u4e16?", "answer": []}]))
    (folder / "é\u4e16.json").write_text("[")
    shown = b""
    for arguments in (
        ["list"],
        ["--help"],
        ["score", "model", "é\u4e16.json", "--out", "s"],
        ["score", "é", "bad.json", "--out", "s"],
    ):
        out, err = io.BytesIO(), io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, encoding, write_through=True))
        monkeypatch.setattr("sys.stderr", io.TextIOWrapper(err, encoding, write_through=True))
        assert gainrl(monkeypatch, capsys, *arguments)[0] == (0 if len(arguments) == 1 else 2)
        shown += out.getvalue() + err.getvalue()
    assert {"ascii": b"\\xe9\\u4e16.json", "latin-1": b"\xe9\\u4e16.json"}[encoding] in shown


def test_ctrl_c_says_what_is_kept(folder, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("gainrl.launch.run_all", interrupted)
    code, _, err = gainrl(monkeypatch, capsys, "reproduce", "quickstart")
    assert code == 130
    assert "finished runs are kept" in err


def test_reproduce_prints_the_table_and_skips_what_is_finished(folder, short_experiments, monkeypatch, capsys):
    write_runs(folder / "runs", 1)
    code, out, err = gainrl(monkeypatch, capsys, "reproduce", "quickstart")
    assert code == 0
    assert "| GAIN-RL (angle)" in out
    assert "4 of 4 runs are finished already" in err
    files = {path.name for path in (folder / "runs" / "quickstart").iterdir() if path.is_file()}
    figures = ("learning_curves", "steps_to_target", "ablation", "order_adds")
    tables = {"table.md", "table.tex", "table.csv"}
    assert files == tables | {f"{name}.{suffix}" for name in figures for suffix in ("png", "svg", "pdf")}


def test_what_is_published_gives_the_table_and_the_figures_again(folder, short_experiments, monkeypatch, capsys):
    write_runs(folder / "runs", 2)
    (folder / "runs" / "quickstart" / "grpo" / "seed-0" / "checkpoints").mkdir()
    assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    published = folder / "results" / "quickstart"
    figures = {"learning_curves.png", "steps_to_target.png", "ablation.png", "order_adds.png"}
    tables = {"table.md", "table.tex", "table.csv", "report.html"}
    assert {path.name for path in published.iterdir()} == figures | tables | {"runs.csv", "runs"}
    before = (published / "table.md").read_text()
    (published / "table.md").unlink()
    code, out, _ = gainrl(monkeypatch, capsys, "table", "quickstart", "--from", "results")
    assert code == 0
    assert out.strip() == before.strip()
    figures = {path.name: path.read_bytes() for path in published.glob("learning_curves.*")}
    code, out, _ = gainrl(monkeypatch, capsys, "figure", "quickstart", "--from", "results")
    assert (code, out.strip()) == (0, "results/quickstart/learning_curves.png")
    assert {path.name: path.read_bytes() for path in published.glob("learning_curves.*")} == figures


def test_report_writes_one_page_about_one_experiment_or_all(folder, short_experiments, monkeypatch, capsys):
    write_runs(folder / "runs", 1)
    code, out, _ = gainrl(monkeypatch, capsys, "report", "quickstart")
    assert (code, out.strip()) == (0, f"{folder}/runs/quickstart/report.html")
    rising = {cell: [0.3, 0.9] for cell in ("all-grpo", "all-gainrl", "half-grpo", "half-gainrl")}
    write_runs(folder / "runs", 1, rising, name="data_efficiency")
    code, out, _ = gainrl(monkeypatch, capsys, "report", "all")
    assert (code, out.strip()) == (0, f"{folder}/runs/report.html")
    sections = re.findall(r'<section id="(\w+)" class="experiment"', (folder / "runs" / "report.html").read_text())
    assert sections == ["data_efficiency", "quickstart"]
    code, _, err = gainrl(monkeypatch, capsys, "report", "all", "--from", "results")
    assert (code, err) == (2, "gainrl: no experiment has a finished run under results; gainrl reproduce makes them\n")


def test_a_vllm_server_is_for_one_run_that_samples_with_vllm(folder, monkeypatch, capsys):
    server = ("--vllm-server", "http://here:8000")
    code, _, err = gainrl(monkeypatch, capsys, "train", "quickstart", "--cell", "grpo", *server)
    needs = "cells of quickstart sample with transformers; --vllm-server needs --generation vllm"
    assert (code, err) == (2, f"gainrl: {needs}\n")
    several = ("reproduce", "quickstart", "--generation", "vllm", "--launcher", "local", "--jobs", "2", *server)
    code, _, err = gainrl(monkeypatch, capsys, *several)
    assert (code, err.startswith("gainrl: a vLLM server has the weights of one run at a time")) == (2, True)
    changes = Changes(generation="vllm", vllm_server="http://here:8000")
    execution = changes.of(load_experiment("quickstart")).execution_of("grpo")
    assert (execution.vllm_mode, execution.vllm_server) == ("server", "http://here:8000")
    assert changes.arguments() == ["--generation", "vllm", *server]


def test_targets_can_be_reached_by_a_running_mean(folder, short_experiments, monkeypatch, capsys):
    write_runs(folder / "runs", 1)
    code, out, _ = gainrl(monkeypatch, capsys, "table", "quickstart", "--running-mean", "2")
    assert (code, printed(out, "GRPO (uniform)", "steps to 60 %")) == (0, "22")
    code, _, err = gainrl(monkeypatch, capsys, "table", "quickstart", "--running-mean", "0")
    assert (code, err) == (2, "gainrl: --running-mean is 0; it should be greater than or equal to 1\n")


def test_publish_wants_the_same_seeds_everywhere(folder, short_experiments, monkeypatch, capsys):
    write_runs(folder / "runs", 1)
    write_runs(folder / "runs", 2, {"grpo": [0.3, 0.5]})
    code, _, err = gainrl(monkeypatch, capsys, "publish", "quickstart")
    assert code == 2
    assert "every cell that has runs must have the same seeds" in err
    assert not (folder / "results").exists()


def test_a_cell_without_a_run_is_published_empty_and_named(folder, short_experiments, monkeypatch, capsys):
    write_runs(folder / "runs", 1, {"grpo": [0.3, 0.5], "gainrl": [0.3, 0.4]})
    code, _, err = gainrl(monkeypatch, capsys, "publish", "quickstart")
    assert code == 0
    assert "quickstart: no finished run of adarft; its rows are empty" in err
    text = (folder / "results" / "quickstart" / "table.md").read_text()
    assert printed(text, "AdaRFT", "accuracy at end, %") == MISSING


def test_list_names_everything(folder, monkeypatch, capsys):
    code, out, _ = gainrl(monkeypatch, capsys, "list")
    assert code == 0
    for name in (
        "quickstart (tiny)",
        "ablate_signal (tiny, paper)",
        "main_table (tiny, small, paper)",
        "small: SmolLM2-135M, which make small installs",
        "smollm2-135m-q4",
        "gym:<task of reasoning-gym>",
        "grpo, adarft, gainrl, control",
        "math-grpo, math-adarft",
        "tiny",
        "arithmetic-heldout",
        "gsm8k",
        "gaussian",
        "random",
    ):
        assert name in out


def test_score_writes_all_layers_or_some(folder, monkeypatch, capsys):
    arguments = ("score", "model", "problems.json", "--drop-null-answers", "--out")
    assert gainrl(monkeypatch, capsys, *arguments, "all.parquet", "--layers", "all")[0] == 0
    assert Scores.load(folder / "all.parquet").table.layer.unique().tolist() == [0, 1]
    assert gainrl(monkeypatch, capsys, *arguments, "one.parquet", "--layers", "0,0")[0] == 0
    assert len(Scores.load(folder / "one.parquet").table) == 9
    code, _, err = gainrl(monkeypatch, capsys, *arguments, "x.parquet", "--layers", "last")
    assert (code, err) == (2, "gainrl: --layers is 'last'; valid: all, or numbers such as 0,5,-1\n")


def test_score_says_what_it_left_out_and_what_is_nan(folder, monkeypatch, capsys):
    rows = [{"question": "What is 1 + 1?", "answer": 2}, {"question": "1 + " * 300 + "1", "answer": 301}]
    (folder / "long.json").write_text(json.dumps(rows))
    arguments = ("score", "model", "long.json", "--out", "s.parquet")
    code, _, err = gainrl(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "has room for 256 (1 of 2 prompts are too long)" in err
    code, out, _ = gainrl(monkeypatch, capsys, *arguments, "--skip-too-long", "--definition", "released")
    assert code == 0
    assert "1 problems were left out: their prompts do not fit the model's context" in out
    assert "1 angles are NaN, as in the release" in out
    assert gainrl(monkeypatch, capsys, *arguments, "--device", "cuda")[0] == 2


@pytest.mark.slow
def test_a_killed_scoring_goes_on_to_the_same_file(folder, monkeypatch, capsys):
    rows = [{"question": " + ".join(["1"] * (2 + n % 40)), "answer": 2 + n % 40, "id": n} for n in range(400)]
    (folder / "many.json").write_text(json.dumps(rows))
    arguments = ("score", "model", "many.json", "--batch-tokens", "80", "--out")
    assert gainrl(monkeypatch, capsys, *arguments, "whole.parquet")[0] == 0
    program = [sys.executable, "-c", "from gainrl.cli import main; main()", *arguments, "killed.parquet"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    unfinished = folder / "killed.parquet.unfinished"
    while process.poll() is None and not (unfinished.exists() and unfinished.read_text().count("\n") > 5):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert unfinished.exists()
    assert not (folder / "killed.parquet").exists()
    assert gainrl(monkeypatch, capsys, *arguments, "killed.parquet")[0] == 0
    assert (folder / "killed.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    assert not unfinished.exists()


def test_correlate_writes_a_folder_that_explains_itself(folder, monkeypatch, capsys):
    rows = [{"question": f"What is {n} + {n % 5}?", "answer": n + n % 5, "difficulty": n % 3} for n in range(36)]
    (folder / "p.json").write_text(json.dumps(rows))
    arguments = ("correlate", "model", "p.json", "--out", "c", "--samples", "2", "--max-completion-tokens", "3")
    code, out, _ = gainrl(monkeypatch, capsys, *arguments, "--resamples", "50")
    assert code == 0
    assert "36 problems of p.json, one model (model, " in out
    assert "The paper's claim" in out
    names = {path.name for path in (folder / "c").iterdir()}
    figures = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg", "pdf")}
    tables = {"correlations.parquet", "correlations.csv", "variance_shares.csv", "report.md"}
    stages = {"settings.json", "environment.json", "scores.parquet", "rollouts.parquet", "measured.parquet"}
    assert names == figures | tables | stages | {"parts.parquet"}
    assert out.splitlines()[0] in (folder / "c" / "report.md").read_text()
    before = (folder / "c" / "report.md").read_text()
    assert gainrl(monkeypatch, capsys, *arguments, "--resamples", "50")[0] == 0
    assert (folder / "c" / "report.md").read_text() == before
    code, _, err = gainrl(monkeypatch, capsys, *arguments[:-1], "4")
    assert code == 2
    assert "other settings (max_completion_tokens differ)" in err


FIGURES = ("angle_scatter", "layer_profile", "rank_matrix", "cosine_layers")


def test_a_made_model_can_be_scored_with(folder, monkeypatch, capsys):
    arguments = ("make-model", "problems.json", "--out", "made", "--vocabulary", "280", "--drop-null-answers")
    code, out, _ = gainrl(monkeypatch, capsys, *arguments)
    assert code == 0
    assert "parameters, 280 tokens" in out or "parameters, 2" in out
    score = ("score", "made", "problems.json", "--out", "s.parquet", "--drop-null-answers")
    assert gainrl(monkeypatch, capsys, *score)[0] == 0
    assert gainrl(monkeypatch, capsys, *arguments)[0] == 2
    assert gainrl(monkeypatch, capsys, *arguments[:3], "x", "--shape", "huge")[0] == 2


def test_patterns_wants_checkpoints(folder, monkeypatch, capsys):
    code, _, err = gainrl(monkeypatch, capsys, "patterns", "model", "problems.json", "--out", "p")
    assert code == 2
    assert "0 checkpoints named step-N" in err


def test_runs_of_two_scales_do_not_meet(monkeypatch, capfd, tmp_path):
    from gainrl.cli.options import runs_folder

    assert runs_folder(None) == tmp_path / "runs"
    assert runs_folder(None, "paper") == tmp_path / "runs" / "paper"
    assert runs_folder(tmp_path / "mine", "paper") == tmp_path / "mine"
    code, out, _ = gainrl(monkeypatch, capfd, "reproduce", "ablate_update", "--scale", "paper", "--dry-run")
    assert code == 0
    assert "released-verl" in out


def test_some_cells_can_have_more_seeds_than_the_others(monkeypatch, capfd):
    some = ("reproduce", "selectors", "--dry-run", "--seeds", "2", "--cells", "prior")
    code, out, _ = gainrl(monkeypatch, capfd, *some, "uniform")
    assert code == 0
    assert "\n4 runs, 4 to train" in out
    code, _, err = gainrl(monkeypatch, capfd, *some, "best")
    assert code == 2
    assert "unknown cell of selectors 'best'" in err
    code, _, err = gainrl(monkeypatch, capfd, "reproduce", "real_signal", "--scale", "small", "--cells", "prior")
    assert code == 2
    assert "real_signal trains nothing" in err


def test_the_version_is_the_packages_and_the_citations(monkeypatch, capsys):
    code, out, _ = gainrl(monkeypatch, capsys, "--version")
    assert (code, out) == (0, f"gainrl {version('gainrl')}\n")
    assert f"version: {version('gainrl')}\n" in (Path(__file__).parents[1] / "CITATION.cff").read_text()


def test_a_reader_who_has_seen_enough_is_no_mistake():
    command = [sys.executable, "-m", "gainrl.cli", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


def test_score_replaces_no_file_but_scores_of_the_same_settings(folder, monkeypatch, capsys):
    problems = (folder / "problems.json").read_text()
    score = ("score", "model", "problems.json", "--drop-null-answers", "--out")
    code, _, err = gainrl(monkeypatch, capsys, *score, "problems.json")
    assert (code, err) == (2, "gainrl: problems.json exists and is not a scores file; choose another --out\n")
    assert (folder / "problems.json").read_text() == problems
    assert gainrl(monkeypatch, capsys, *score, ".")[0] == 2
    assert [gainrl(monkeypatch, capsys, *score, "s.parquet")[0] for _ in range(2)] == [0, 0]
    scores = (folder / "s.parquet").read_bytes()
    gainrl(monkeypatch, capsys, "make-model", "problems.json", "--drop-null-answers", "--out", "other")
    code, _, err = gainrl(monkeypatch, capsys, "score", "other", *score[2:], "s.parquet")
    assert code == 2
    assert "the scores that are there already have other settings (model differ)" in err
    for changes, differing in ((("--definition", "released"), "definition"), (("--limit", "3"), "problem_set")):
        code, _, err = gainrl(monkeypatch, capsys, *score, "s.parquet", *changes)
        assert (code, f"({differing} differ); remove them, or choose another --out" in err) == (2, True)
    assert (folder / "s.parquet").read_bytes() == scores


def test_a_models_own_code_is_never_run(folder, monkeypatch, capsys):
    """Not even where standard input says yes to everything."""
    config = json.loads((folder / "model" / "config.json").read_text())
    code = {"auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}, "model_type": "mine"}
    (folder / "model" / "config.json").write_text(json.dumps({**config, **code}))
    (folder / "model" / "mine.py").write_text("open('ran', 'w').close()\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    status, _, err = gainrl(monkeypatch, capsys, "score", "model", "arithmetic", "--limit", "4", "--out", "s.parquet")
    assert status == 2
    assert "model cannot be loaded as a causal language model" in err
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    "content", ["", '{"model_type": 3}', '{"model_type": "qwen2", "num_attention_heads": 0}', "[1]"]
)
def test_a_damaged_config_is_one_line(folder, monkeypatch, capsys, content):
    (folder / "model" / "config.json").write_text(content)
    code, _, err = gainrl(monkeypatch, capsys, "score", "model", "arithmetic", "--limit", "4", "--out", "s.parquet")
    assert code == 2
    assert err.splitlines()[-1].startswith("gainrl: model model: model cannot be loaded as a causal language model: ")


@pytest.mark.parametrize("command", ["score", "correlate"])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--device", "gpu"), "--device is 'gpu'; torch sees no such device; valid here: auto, cpu"),
        (("--device", "cuda:99"), "--device is 'cuda:99'; torch sees no such device; valid here: auto, cpu"),
        (("--device", "meta"), "--device is 'meta'; torch sees no such device; valid here: auto, cpu"),
        (("--layer", "99"), "layer 99 is out of range; valid: -2 to 1"),
        (("--layer", "-3"), "layer -3 is out of range; valid: -2 to 1"),
    ],
)
def test_a_device_or_a_layer_that_is_not_there(folder, monkeypatch, capsys, command, option, message):
    rows = [{"question": f"What is {n} + {n}?", "answer": 2 * n} for n in range(10)]  # as many as correlate asks for
    (folder / "ten.json").write_text(json.dumps(rows))
    code, out, err = gainrl(monkeypatch, capsys, command, "model", "ten.json", "--out", "out", *option)
    assert (code, out) == (2, "")
    assert err.strip().startswith(f"gainrl: {message}")


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_ctrl_c_in_the_first_moments_is_one_line(folder, seconds):
    program = "print(flush=True); from gainrl.cli import main; main()"  # it prints when Python itself has started
    process = subprocess.Popen(
        [sys.executable, "-c", program, "score", "model", "problems.json", "--out", "x.parquet", "--drop-null-answers"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "gainrl: interrupted; finished runs are kept, the same command resumes the others"


def test_a_model_that_the_disk_has_no_room_for_leaves_nothing(folder, monkeypatch, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        arguments = ("make-model", "problems.json", "--out", "made", "--vocabulary", "300", "--drop-null-answers")
        code, _, err = gainrl(monkeypatch, capsys, *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert code == 2
    assert re.match(r"gainrl: made cannot be written; its disk has [\d,]+ MiB free: .*$", err.strip())
    assert not [*folder.glob("made*"), *folder.glob(".made*")]
