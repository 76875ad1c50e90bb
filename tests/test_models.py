import itertools
import json
import pickle
import socketserver
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, BertLMHeadModel, BertModel, PreTrainedModel

from gainrl.angle import angle_concentration
from gainrl.errors import InputError
from gainrl.models import PACKAGED_MODELS, SHAPES, TINY_RECIPES, Packaged, TinyRecipe
from gainrl.models.generation.hf import hf_backend
from gainrl.models.loading import NO_LIMIT, load_model, load_tokenizer, weights_hash
from gainrl.models.text import text_model
from gainrl.models.tiny import make_tiny_model, random_tiny_model, tiny_tokenizer
from gainrl.problems import FAMILIES, load_problems
from gainrl.prompts import Prompt, encode_problems, encode_prompts, segments
from gainrl.runs.config import SignalConfig
from gainrl.scoring import capture, score_problems, span_masks
from gainrl.templates import PLAIN_TEMPLATE


@pytest.mark.parametrize("family", FAMILIES)
def test_no_word_of_prompt_problems_or_solutions_is_unknown(family):
    tokenizer = tiny_tokenizer(family)
    texts = [message["content"] for message in FAMILIES[family].prompt.messages("1")]
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


def packaged(monkeypatch, tmp_path, module: str) -> None:
    """Register a packaged model of this module; what can be imported is ``carrier``, and a stand-in for gguf."""
    for name in ("carrier", "gguf"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").touch()
    (tmp_path / "site" / "carrier" / "weights.gguf").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setitem(PACKAGED_MODELS, "packaged", Packaged(module, "weights.gguf", "0" * 64))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("no_such_module", r"model packaged is not installed; make small installs it"),
        ("carrier", r"carrier/weights.gguf has the SHA-256 \w{12}..., not 000000000000...; install the package again"),
    ],
)
def test_a_packaged_model_that_is_absent_or_another_one_is_refused(monkeypatch, tmp_path, module, message):
    packaged(monkeypatch, tmp_path, module)
    with pytest.raises(InputError, match=message) as error:
        load_model("packaged", cache=tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


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
            HeldOut(problems, problems.prompt, loaded.tokenizer, **settings)
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


DAMAGES = {
    "config.json": ["", '{"model', "[]", "null", "[" * 100_000, '{"model_type": "nonsense"}', '{"model_type": 5}'],
    "model.safetensors": ["", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "x" * 1000],
    "tokenizer.json": ["", '{"a', "[]", "5", "version https://git-lfs.github.com/spec/v1\n"],
    "tokenizer_config.json": ["", "[]", "5"],
    "generation_config.json": ["[]"],
}


@pytest.mark.parametrize(("file", "content"), [(file, text) for file, texts in DAMAGES.items() for text in texts])
def test_a_damaged_file_is_one_line(folder, file, content):
    (folder / "model" / file).write_text(content)
    whose = "the tokenizer of .*model cannot be loaded|tokenizer_config.json is not JSON|tokenizer_config.json holds"
    other = "model model: .*cannot be loaded as a causal language model"
    with pytest.raises(InputError, match=whose if "tokenizer" in file else other) as error:
        load_model("model", cache=folder)
    assert "\n" not in str(error.value)
    if "tokenizer" in file:
        with pytest.raises(InputError, match=whose):
            load_tokenizer(folder / "model")


def test_a_tokenizer_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="the tokenizer of .*nope cannot be loaded: "):
        load_tokenizer(tmp_path / "nope")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "wide"}, "expected int, got str"),
        ({"num_attention_heads": 0}, "cannot be loaded"),
        ({"num_key_value_heads": -1}, "cannot be loaded"),
        ({"num_hidden_layers": 0, "layer_types": []}, "its config gives it 0 layers; at least 1 is needed"),
        ({"vocab_size": 5}, "cannot be loaded"),
        ({"hidden_act": "banana"}, "banana"),
        ({"max_position_embeddings": -5}, "its config gives it a context of -5 tokens; at least 1 is needed"),
        ({"rms_norm_eps": -100.0}, "its weights are finite, but its output for two tokens is nan"),
    ],
)
def test_a_config_that_makes_no_model_is_one_line(folder, changes, message):
    path = folder / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(InputError, match=message):
        load_model("model", cache=folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("weights", ["model.norm.weight", "model.layers.1.mlp.up_proj.weight"])
def test_weights_that_are_not_finite_are_named(folder, weights, value):
    path = folder / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors[weights].view(-1)[3] = value
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"its weights are not finite: {weights} holds NaN or infinite values"):
        load_model("model", cache=folder)


class _Harmful:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_runs_no_code(folder, capsys):
    (folder / "model" / "model.safetensors").unlink()
    (folder / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(_Harmful()))
    with pytest.raises(InputError, match="cannot be loaded as a causal language model"):
        load_model("model", cache=folder)
    assert not capsys.readouterr().out


CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
ENDLESS = (
    "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for %}", "fails: TemplateSyntaxError"),
        ("{{ raise_exception('no way') }}", "fails: TemplateError: no way"),
        ("{{ messages.foo.bar }}", "fails: UndefinedError"),
        ("{{ 1 / 0 }}", "fails: ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "fails: SecurityError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails: RecursionError"),
        ("{# nothing #}", "leaves the question out; it gives ''"),
        ("hello", "leaves the question out; it gives 'hello'"),
        (ENDLESS + CHAT, "did not come to an end within 1 seconds"),
        ("{{ 9 ** (9 ** 9) }}" + CHAT, "did not come to an end within 1 seconds"),
        (
            "{% set x = namespace(y='aaaaaaaa') %}{% for a in range(60) %}{% set x.y = x.y + x.y %}{% endfor %}" + CHAT,
            "fails: MemoryError|did not come to an end",
        ),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_one_line(folder, monkeypatch, template, message):
    monkeypatch.setattr("gainrl.templates.SECONDS", 1.0)
    (folder / "model" / "chat_template.jinja").write_text(template)
    with pytest.raises(InputError, match=message) as error:
        load_tokenizer(folder / "model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + CHAT,
        CHAT.replace("in messages", "in messages if m.role != 'system'"),
    ],
    ids=["refuses", "leaves out"],
)
@pytest.mark.parametrize("prompt", [Prompt(), Prompt(example=None)], ids=["example", "no example"])
def test_a_template_without_a_system_message_puts_it_before_the_first_question(folder, capsys, template, prompt):
    (folder / "model" / "chat_template.jinja").write_text(template)
    tokenizer = load_tokenizer(folder / "model")
    assert "has no place for a system message; its text goes before the first question" in capsys.readouterr().err
    messages = prompt.messages("What is 12 + 3?")
    (encoded,) = encode_prompts(tokenizer, [messages], ["p"])
    prefix = tokenizer.decode(encoded.ids[: encoded.prefix_tokens])
    assert prefix.startswith("<|user|> Reason step by step")
    assert "<|system|>" not in prefix
    trainers = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert encoded.ids.tolist() == trainers
    assert next(name for name, *_ in segments(tokenizer, messages)) == "system"
    tokenizer.save_pretrained(folder / "again")  # as a trained model is saved: its template is whole
    assert load_tokenizer(folder / "again").chat_template == tokenizer.chat_template
    assert "no place" not in capsys.readouterr().err


def _family(family: str, vocabulary: int) -> PreTrainedModel:
    own = {"mamba": {"state_size": 4}, "bloom": {"n_head": 2}, "gemma3": {}}[family]
    text = {"vocab_size": vocabulary, "hidden_size": 32, "num_hidden_layers": 2, **own}
    if family == "gemma3":
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 64}
        vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
        text = {"text_config": text | heads, "vision_config": vision | {"image_size": 28, "patch_size": 14}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **text)).eval()


@pytest.mark.parametrize("family", ["mamba", "bloom", "gemma3"])
def test_families_without_a_context_and_of_several_parts_are_scored_and_write(tiny, problems, tmp_path, family):
    _family(family, len(tiny.tokenizer)).save_pretrained(tmp_path / family)
    tiny.tokenizer.save_pretrained(tmp_path / family)
    loaded = load_model(str(tmp_path / family), cache=tmp_path)
    assert loaded.context == (NO_LIMIT if family != "gemma3" else 131_072)
    if family == "mamba":
        with pytest.raises(InputError, match="MambaForCausalLM has no site mlp_input: .*; try residual"):
            score_problems(loaded.model, loaded.tokenizer, problems)
    signal = SignalConfig(site="residual")
    scores = score_problems(loaded.model, loaded.tokenizer, problems, signal=signal)
    encoded = encode_problems(loaded.tokenizer, problems.problems, Prompt())
    for prompt, angle in zip(encoded, scores.table["angle"], strict=True):
        with torch.no_grad(), capture(loaded.model, signal) as states:
            loaded.model(torch.tensor(prompt.ids[None], dtype=torch.long))
        whole = angle_concentration(states[0], *span_masks([prompt], states[0]))
        assert angle == pytest.approx(whole.angle.item(), abs=1e-5)
    generate = hf_backend(loaded.model, loaded.tokenizer)
    ids = [prompt.ids.tolist() for prompt in encoded[:5]]
    together = generate(ids, max_tokens=6, temperature=0, seed=0)
    assert together == [generate([prompt], max_tokens=6, temperature=0, seed=0)[0] for prompt in ids]


def test_a_model_without_an_end_token_writes_nothing(tiny):
    tiny.tokenizer.eos_token = tiny.model.config.eos_token_id = tiny.model.generation_config.eos_token_id = None
    with pytest.raises(InputError, match=r"the end tokens of .* are \[\]; one number at least is needed"):
        hf_backend(tiny.model, tiny.tokenizer)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(None, "ReadTimeout"), (b"banana\r\n\r\n", "RemoteProtocolError"), (b"HTTP/1.1 200 OK\r\n\r\n", "JSON")],
    ids=["silence", "nonsense", "no JSON"],
)
def test_a_hub_that_does_not_answer_is_one_line(tmp_path, monkeypatch, answer, reason):
    monkeypatch.setattr("gainrl.models.loading.HUB_TIMEOUT", 0.5)
    monkeypatch.setattr("gainrl.problems.hub.HUB_TIMEOUT", 0.5)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _hub(answer)) as server:
        server.daemon_threads = True
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match=f"some/model: no such folder, and the hub cannot provide it: .*{reason}"):
            load_model("some/model", cache=tmp_path)
        with pytest.raises(InputError, match=f"openai/gsm8k cannot be read from the hub: .*{reason}"):
            load_problems("gsm8k")
        server.shutdown()


def _hub(answer: bytes | None) -> type[socketserver.BaseRequestHandler]:
    class Hub(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            if answer is None:
                self.request.recv(1)  # until the other side gives up
            else:
                self.request.sendall(answer)

    return Hub
