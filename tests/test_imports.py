"""Imports go downward only: from a room to rooms below it, or beside it without a circle."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"cli"},
    {"launch"},
    {"train", "evaluate", "correlate", "patterns", "rollouts"},
    {"trainer", "probe", "generators", "gradients", "records"},
    {"benchmarks", "config", "problems", "models", "prompts"},
    {"signal", "schedules", "grading", "stats"},
    {"seeding", "errors", "manifest"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = {"analysis", "experiments", "paper_figures", "speed", "tests"}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "gainrl").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


def rooms_imported(path: Path) -> set[str]:
    return {module.split(".")[1] for module in imported(path) if module.startswith("gainrl.")} & set(FLOOR)


FILES = [path for path in sorted((ROOT / "gainrl").rglob("*.py")) if path != ROOT / "gainrl" / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_upward_import(path):
    room = room_of(path)
    assert room in FLOOR, f"{room} has no floor; give it one here and in the design"
    upward = {other for other in rooms_imported(path) if FLOOR[other] < FLOOR[room]}
    assert not upward
    if room != "cli":
        assert not {module.split(".")[0] for module in imported(path)} & OUTSIDE


def test_no_circles():
    graph = {}
    for path in FILES:
        graph.setdefault(room_of(path), set()).update(rooms_imported(path) - {room_of(path)})
    assert list(TopologicalSorter(graph).static_order())


def test_light_commands_import_nothing_heavy():
    program = (
        "import sys; sys.argv = ['gainrl', 'list']; from gainrl.cli import main; main(); "
        "print([m for m in ('torch', 'trl', 'transformers', 'lm_eval', 'datasets') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "[]"
