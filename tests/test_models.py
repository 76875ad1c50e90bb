import itertools

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel, BertModel

from gainrl.errors import InputError
from gainrl.models import SHAPES, TINY_RECIPES, TinyRecipe
from gainrl.models.generation.hf import hf_backend
from gainrl.models.loading import load_model, load_tokenizer, weights_hash
from gainrl.models.text import text_model
from gainrl.models.tiny import make_tiny_model, random_tiny_model, tiny_tokenizer
from gainrl.problems import FAMILIES, load_problems
from gainrl.prompts import Prompt
from gainrl.templates import PLAIN_TEMPLATE


@pytest.mark.parametrize("family", FAMILIES)
def test_no_word_of_prompt_problems_or_solutions_is_unknown(family):
    tokenizer = tiny_tokenizer(family)
    texts = [message["content"] for message in Prompt().messages("1")]
    texts += [
        text for s in range(2) for p in load_problems(family, seed=s).problems for text in (p.question, p.solution)
    ]
    for text in texts:
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"], text


def test_a_saved_tokenizer_comes_back_the_same(tiny, tmp_path):
    # AutoTokenizer would take Qwen2Tokenizer for a folder whose model is a Qwen2.
    tiny.model.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    text = "What is 12 + 3? \\boxed{15}"
    assert loaded(text)["input_ids"] == tiny.tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == "What is 12 + 3 ? \\boxed{ 15 }"


def test_warm_up_is_cached_and_deterministic(small_recipe, tmp_path):
    steps = []
    load = lambda cache, seed=0: load_model("tiny", cache=cache, seed=seed, progress=lambda *a: steps.append(a))  # noqa: E731
    first = load(tmp_path / "one")
    assert steps == [(0, 2), (1, 2), (2, 2)]
    assert load(tmp_path / "one").version == first.version
    assert len(steps) == 3
    assert load(tmp_path / "two").version == first.version
    assert load(tmp_path / "one", seed=1).version != first.version


@pytest.mark.parametrize("kind", [BertLMHeadModel, BertModel])
def test_an_encoder_is_refused(tiny, tmp_path, kind):
    config = BertConfig(vocab_size=len(tiny.tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    kind(config).save_pretrained(tmp_path / "bert")
    tiny.tokenizer.save_pretrained(tmp_path / "bert")
    with pytest.raises(InputError, match="lets a token see the tokens after it|holds no weights for cls"):
        load_model(str(tmp_path / "bert"), cache=tmp_path)


def test_a_folder_without_weights_is_named(tiny, tmp_path):
    tiny.model.config.save_pretrained(tmp_path / "empty")
    tiny.tokenizer.save_pretrained(tmp_path / "empty")
    with pytest.raises(InputError, match="empty cannot be loaded as a causal language model"):
        load_model(str(tmp_path / "empty"), cache=tmp_path)


def test_weights_that_are_missing_are_named_not_made_up(tiny, tmp_path):
    tiny.model.save_pretrained(tmp_path / "part")
    tiny.tokenizer.save_pretrained(tmp_path / "part")
    path = tmp_path / "part" / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"holds no weights for model.layers.1.mlp.up_proj.weight \(1 are missing\)"):
        load_model(str(tmp_path / "part"), cache=tmp_path)


def test_a_folder_without_a_tokenizer_is_named(tiny, tmp_path):
    tiny.model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"holds no tokenizer \(tokenizer.json, .*copy these files"):
        load_model(str(tmp_path), cache=tmp_path)


def test_a_tokenizer_without_template_gets_a_plain_one_and_it_is_said(tiny, tmp_path, capsys):
    tiny.tokenizer.chat_template = None
    tiny.tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).chat_template == PLAIN_TEMPLATE
    assert "has no chat template; a plain format is used" in capsys.readouterr().err


def test_a_model_is_made_from_problems_alone(problems):
    random, tokenizer = text_model(problems, SHAPES["small"], vocabulary=300)
    again, _ = text_model(problems, SHAPES["small"], vocabulary=300)
    trained, _ = text_model(problems, SHAPES["small"], vocabulary=300, steps=1, batch_size=2)
    assert weights_hash(random) == weights_hash(again) != weights_hash(trained)
    assert len(tokenizer) <= 300
    text = problems.problems[3].question
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.parametrize("harm", ["truncate", "delete", "manifest"])
def test_a_damaged_cache_is_rebuilt_and_said_so(small_recipe, tmp_path, capsys, harm):
    folder = make_tiny_model(small_recipe, 0, tmp_path)
    version = weights_hash(AutoModelForCausalLM.from_pretrained(folder))
    weights = folder / "model.safetensors"
    if harm == "truncate":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif harm == "delete":
        weights.unlink()
    else:
        (folder / "manifest.json").write_text("{")
    assert make_tiny_model(small_recipe, 0, tmp_path) == folder
    assert "is damaged" in capsys.readouterr().err
    assert weights_hash(AutoModelForCausalLM.from_pretrained(folder)) == version
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name]


def test_the_recipe_decides_the_folder(tmp_path, small_recipe):
    other = TinyRecipe(**{**small_recipe.model_dump(), "slip": 0.1})
    assert make_tiny_model(small_recipe, 0, tmp_path) != make_tiny_model(other, 0, tmp_path)


def test_weights_hash_sees_any_change(tiny):
    before = weights_hash(tiny.model)
    with torch.no_grad():
        tiny.model.lm_head.weight[0, 0] += 1e-3
    assert weights_hash(tiny.model) != before


def test_a_folder_is_loaded_by_path(tiny, tmp_path):
    tiny.model.save_pretrained(tmp_path / "mine")
    tiny.tokenizer.save_pretrained(tmp_path / "mine")
    loaded = load_model(str(tmp_path / "mine"), cache=tmp_path)
    assert (loaded.name, loaded.version) == ("mine", tiny.version)


def test_models_that_cannot_be_loaded(tmp_path):
    with pytest.raises(InputError, match="unknown model 'tinny'; valid: .*tiny"):
        load_model("tinny", cache=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="cannot be loaded as a causal language model"):
        load_model(str(tmp_path / "empty"), cache=tmp_path)
    with pytest.raises(InputError, match="no such folder, and the hub cannot provide it"):
        load_model("some/model", cache=tmp_path)


def test_a_tiny_model_can_be_a_llama(tiny):
    recipe = TinyRecipe(hidden_size=32, layers=2, heads=2, kv_heads=1, intermediate_size=64, architecture="llama")
    assert random_tiny_model(recipe, tiny.tokenizer, seed=0).config.model_type == "llama"
    assert tiny.model.config.model_type == "qwen2"


def test_an_architecture_and_a_family_that_were_always_there_change_no_folder():
    assert not {"architecture", "problems"} & set(TinyRecipe().model_dump())
    assert "llama" in TINY_RECIPES["tiny-llama"].model_dump_json()
    assert "lists" in TINY_RECIPES["tiny-lists"].model_dump_json()


def test_a_model_knows_the_family_it_is_warmed_up_on(small_recipe, tmp_path):
    recipes = [small_recipe.model_copy(update={"problems": family}) for family in FAMILIES]
    folders = [make_tiny_model(recipe, 0, tmp_path) for recipe in recipes]
    assert len(set(folders)) == len(FAMILIES)
    for family, folder in zip(FAMILIES, folders, strict=True):
        assert load_tokenizer(folder).get_vocab() == tiny_tokenizer(family).get_vocab()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "tiny" else pytest.mark.warm_up) for name in TINY_RECIPES],
)
def test_the_tiny_models_base_has_room_to_learn_at_every_level(name):
    from pathlib import Path

    from experiments.cells import TINY_COMPLETION
    from gainrl.evaluation.heldout import HeldOut
    from gainrl.problems.base import ProblemSet

    loaded = load_model(name, cache=Path("runs/shared/models"), seed=0)
    family = TINY_RECIPES[name].problems
    held_out = load_problems(f"{family}-heldout", seed=0)

    def accuracy(problems: ProblemSet) -> float:
        settings = {"context": loaded.context, "max_completion_tokens": TINY_COMPLETION[family], "batch_size": 600}
        return (
            HeldOut(problems, Prompt(), loaded.tokenizer, **settings)
            .evaluate(hf_backend(loaded.model, loaded.tokenizer))
            .value
        )

    levels = sorted({p.difficulty for p in held_out.problems})
    by_level = [
        accuracy(ProblemSet("level", tuple(p for p in held_out.problems if p.difficulty == level))) for level in levels
    ]
    assert TINY_RECIPES["tiny"] == TinyRecipe()
    assert 0.2 <= accuracy(held_out) <= 0.45
    assert all(easier > harder for easier, harder in itertools.pairwise(by_level))
    assert by_level[0] < 1.0
