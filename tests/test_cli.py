import json
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from experiments import load_experiment
from gainrl.cli.experiments import Changes
from gainrl.scoring import Scores
from tests.helpers import gainrl
from tests.test_comparison import write_runs


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
        (["reproduce", "quickstart", "--seeds", "0"], "--seeds is 0; at least 1 is needed"),
        (["train", "quickstart", "--cell", "gain"], "unknown cell of quickstart 'gain'; valid: adarft"),
        (["score", "model", "problems.json", "--out", "s.parquet"], "problems.json, row 10: answer is null"),
        (["score", "model", "problem.json", "--out", "s.parquet"], "problem file problem.json: No such file"),
        (["score", "modle", "arithmetic", "--limit", "4", "--out", "s.parquet"], "or a hub id (owner/name), or a folder"),
        (["score", "model", "arithmetic", "--limit", "4", "--out", "s.parquet", "--layer", "7"], "layer 7 is out of range"),
        (["score", "model", "arithmetic", "--limit", "4", "--out", "/proc/none/s.parquet"], "/proc/none: No such file"),
        (["table", "quickstart"], "no finished run of quickstart under"),
        (["publish", "quickstart"], "gainrl reproduce quickstart makes them"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_line_and_exit_code_2(folder, monkeypatch, capsys, arguments, message):
    code, _, err = gainrl(monkeypatch, capsys, *arguments)
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("gainrl: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in err


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
    assert (code, out.split("GRPO (uniform)")[2].split("|")[1].strip()) == (0, "30")
    code, _, err = gainrl(monkeypatch, capsys, "table", "quickstart", "--running-mean", "0")
    assert (code, err) == (2, "gainrl: --running-mean is 0; at least 1 is needed\n")


def test_publish_wants_the_same_seeds_everywhere(folder, short_experiments, monkeypatch, capsys):
    write_runs(folder / "runs", 1)
    write_runs(folder / "runs", 2, {"grpo": [0.3, 0.5]})
    code, _, err = gainrl(monkeypatch, capsys, "publish", "quickstart")
    assert code == 2
    assert "every cell must have the same seeds" in err
    assert not (folder / "results").exists()


def test_list_names_everything(folder, monkeypatch, capsys):
    code, out, _ = gainrl(monkeypatch, capsys, "list")
    assert code == 0
    for name in (
        "quickstart (tiny)",
        "ablate_signal (tiny, paper)",
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


def test_score_replaces_no_file_but_scores_of_the_same_model(folder, monkeypatch, capsys):
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
    assert "s.parquet holds scores by another model" in err
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
