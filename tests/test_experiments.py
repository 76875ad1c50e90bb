import pytest

from experiments.base import experiment_names, load_experiment
from gainrl.errors import InputError
from gainrl.models import MODELS
from gainrl.problems import problem_sets


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_is_complete(name):
    experiment = load_experiment(name)
    assert experiment.name == name
    for run in experiment.cells.values():
        assert run.model.name in MODELS
        assert {run.problems.train, run.problems.heldout} <= set(problem_sets())


def test_quickstarts_cells_differ_by_schedule_alone():
    cells = [run.model_dump(exclude={"schedule"}) for run in load_experiment("quickstart").cells.values()]
    assert all(cell == cells[0] for cell in cells)


def test_the_control_differs_from_gainrl_by_its_order_alone():
    cells = load_experiment("quickstart").cells
    assert cells["control"].schedule == cells["gainrl"].schedule.model_copy(update={"order": "random"})


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(InputError, match="unknown experiment 'quick'; valid: .*quickstart"):
        load_experiment("quick")
    with pytest.raises(InputError, match="unknown scale of quickstart 'paper'; valid: tiny"):
        load_experiment("quickstart", "paper")
    with pytest.raises(InputError, match="unknown cell of quickstart 'x'; valid: adarft, control, gainrl, grpo"):
        load_experiment("quickstart").cell("x")
