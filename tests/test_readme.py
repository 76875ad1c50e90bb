"""What the README shows is run here."""

import json
import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_ten_lines_of_the_library_run_as_they_stand(tiny, tmp_path, monkeypatch):
    tiny.model.save_pretrained(tmp_path / "my-model")
    tiny.tokenizer.save_pretrained(tmp_path / "my-model")
    rows = [{"question": f"What is {n} + {n}?", "answer": 2 * n} for n in range(40)]
    (tmp_path / "problems.json").write_text(json.dumps(rows))
    monkeypatch.chdir(tmp_path)
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "ScheduledGRPOTrainer" in block
    ]
    assert len(code.strip().splitlines()) <= 15
    scope: dict[str, object] = {}
    exec(code, scope)
    trainer = scope["trainer"]
    assert trainer.state.global_step == 4
    assert len(trainer.epochs) == 2
    assert trainer.schedule.mu > 0


def test_the_schedule_of_the_readme_works():
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "class " in block]
    from gainrl.schedules import SCHEDULES

    before = dict(SCHEDULES)
    scope: dict[str, object] = {}
    try:
        exec(code, scope)
        (name,) = set(SCHEDULES) - set(before)
        rows = SCHEDULES[name](range(10), seed=0).draw(4)
        assert len(set(rows.tolist())) == 4
    finally:
        SCHEDULES.clear()
        SCHEDULES.update(before)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (Path(__file__).parents[1] / target).exists()


def test_commands_are_those_there_are():
    from gainrl import cli

    commands = set(re.findall(r"^    gainrl ([\w-]+)", README, re.MULTILINE))
    assert commands
    assert all(hasattr(cli, name.replace("-", "_")) or name == "list" for name in commands)


def test_numbers_of_the_result_are_those_that_are_published():
    def rows(text):
        return {re.sub(r"[\s:-]+", " ", line) for line in text.splitlines() if line.startswith("|")}

    published = (Path(__file__).parents[1] / "results").glob("*/table.md")
    shown = rows(README.split("## What comes out")[1].split("\n## ")[0])
    assert len(shown) > 4
    assert shown <= set.union(*(rows(table.read_text()) for table in published))
