"""Imports go downward only: from a room to rooms below it, or beside it without a circle."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"gainrl.cli"},
    {"experiments", "paper_figures"},
    {"analysis"},
    {"gainrl.launch", "gainrl.studies"},
    {"gainrl.training", "gainrl.evaluation", "gainrl.scoring", "gainrl.verl"},
    {"gainrl.runs"},
    {"gainrl.models", "gainrl.problems", "gainrl.grading", "gainrl.schedules", "gainrl.statistics"},
    {
        "gainrl.angle",
        "gainrl.prompts",
        "gainrl.templates",
        "gainrl.progress",
        "gainrl.files",
        "gainrl.columns",
        "gainrl.rng",
        "gainrl.errors",
    },
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
PACKAGES = ("gainrl", "experiments", "paper_figures", "analysis")
FILES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != ROOT / "gainrl" / "__init__.py"  # the library's front door leads everywhere
]


def room_of(module: str) -> str:
    """gainrl.cli of gainrl.cli.options; analysis of analysis.runs."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "gainrl" else parts[0]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def rooms_imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {
        room for module in modules if (room := room_of(module)) in FLOOR or module.split(".")[0] in ("speed", "tests")
    }


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_upward_import(path):
    room = room_of(module_of(path))
    assert room in FLOOR, f"{room} has no floor; give it one here and in the design"
    assert {other for other in rooms_imported(path) if FLOOR.get(other, -1) < FLOOR[room]} == set()


def test_no_circles():
    graph: dict[str, set[str]] = {}
    for path in FILES:
        room = room_of(module_of(path))
        graph.setdefault(room, set()).update(rooms_imported(path) - {room})
    assert list(TopologicalSorter(graph).static_order())


def test_light_commands_import_nothing_heavy():
    program = (
        "import sys; sys.argv = ['gainrl', 'list']; from gainrl.cli import main; main(); "
        "print([m for m in ('torch', 'trl', 'transformers', 'lm_eval', 'datasets') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "[]"


def test_what_verl_uses_does_not_import_trl():
    """verl's environment has no trl; an installed one breaks verl's imports. This one has no verl."""
    used = ["schedules.epoch", "scoring", "angle", "grading", "models.loading", "runs.config"]
    used += ["verl", "verl.settings", "verl.sampler", "verl.rows", "verl.record", "verl.reward", "verl.score"]
    program = f"import sys; import {', '.join(f'gainrl.{name}' for name in used)}; "
    program += "print([name for name in ('trl', 'verl', 'ray') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "[]"
