import json
import sys

import pytest

from gainrl.cli import main
from gainrl.probe import Scores
from tests.test_comparison import write_runs


def gainrl(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    monkeypatch.setattr(sys, "argv", ["gainrl", *arguments])
    try:
        main()
        code = 0
    except SystemExit as exit_:
        code = exit_.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(tiny, tmp_path, monkeypatch):
    """A working directory that holds a model folder and a problem file."""
    tiny.model.save_pretrained(tmp_path / "model")
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(9)] + [{"question": "1", "answer": None}]
    (tmp_path / "problems.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
        (["reproduce", "quick"], "unknown experiment 'quick'; valid: quickstart"),
        (["reproduce", "quickstart", "--seeds", "0"], "--seeds is 0; at least 1 is needed"),
        (["train", "quickstart", "--cell", "gain"], "unknown cell of quickstart 'gain'; valid: adarft"),
        (["score", "model", "problems.json", "--out", "s.parquet"], "problems.json, row 10: answer is null"),
        (["score", "model", "problem.json", "--out", "s.parquet"], "problem file problem.json: No such file"),
        (["score", "modle", "arithmetic", "--limit", "4", "--out", "s.parquet"], "tiny, or a hub id (owner/name), or a folder"),
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

    monkeypatch.setattr("gainrl.launch.run_experiment", interrupted)
    code, _, err = gainrl(monkeypatch, capsys, "reproduce", "quickstart")
    assert code == 130
    assert "finished runs are kept" in err


def test_reproduce_prints_the_table_and_skips_what_is_finished(folder, monkeypatch, capsys):
    write_runs(folder / "runs", 1)
    code, out, err = gainrl(monkeypatch, capsys, "reproduce", "quickstart")
    assert code == 0
    assert "| GAIN-RL (angle)" in out
    assert "4 of 4 runs are finished already" in err
    files = {path.name for path in (folder / "runs" / "quickstart").iterdir() if path.is_file()}
    assert files == {"table.md", "table.csv", *(f"learning_curves.{suffix}" for suffix in ("png", "svg", "pdf"))}


def test_publish_copies_small_files_from_which_the_table_can_be_made_again(folder, monkeypatch, capsys):
    write_runs(folder / "runs", 2)
    (folder / "runs" / "quickstart" / "grpo" / "seed-0" / "checkpoints").mkdir()
    assert gainrl(monkeypatch, capsys, "publish", "quickstart")[0] == 0
    published = folder / "results" / "quickstart"
    assert not list(published.rglob("checkpoints"))
    assert len(list(published.rglob("config.json"))) == 8
    before = (published / "table.md").read_text()
    (published / "table.md").unlink()
    code, out, _ = gainrl(monkeypatch, capsys, "table", "quickstart", "--from", "results")
    assert code == 0
    assert out.strip() == before.strip()
    figures = {path.name: path.read_bytes() for path in published.glob("learning_curves.*")}
    code, out, _ = gainrl(monkeypatch, capsys, "figure", "quickstart", "--from", "results")
    assert (code, out.strip()) == (0, "results/quickstart/learning_curves.png")
    assert {path.name: path.read_bytes() for path in published.glob("learning_curves.*")} == figures


def test_publish_wants_the_same_seeds_everywhere(folder, monkeypatch, capsys):
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
        "quickstart",
        "grpo, adarft, gainrl, control",
        "tiny",
        "arithmetic-heldout",
        "gsm8k",
        "gaussian",
        "random",
    ):
        assert name in out
