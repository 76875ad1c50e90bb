import dataclasses
import json
import pickle
import types
from collections.abc import Callable

import numpy as np
import pyarrow.parquet
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from gainrl.angle import angle_concentration
from gainrl.errors import InputError
from gainrl.problems import Problem, ProblemSet, load_problems
from gainrl.prompts import Prompt, encode_problems, encode_prompts
from gainrl.runs.config import SignalConfig
from gainrl.scoring import (
    SCORE_COLUMNS,
    Scores,
    capture,
    load_released_order,
    prefill,
    score_problems,
    signal_metadata,
    span_masks,
)


def by_hand(loaded, problems, signal) -> np.ndarray:
    """Angle of each problem from one plain forward pass a prompt and the T x T cosine matrix."""
    angles = []
    for problem in problems.problems:
        (encoded,) = encode_prompts(loaded.tokenizer, [Prompt().messages(problem.question)], ["x"])
        with torch.no_grad():
            output = loaded.model(torch.tensor(encoded.ids[None]), output_hidden_states=True)
            layer = signal.layer % len(loaded.model.model.layers)
            block = loaded.model.model.layers[layer]
            states = output.hidden_states[layer]
            if signal.site == "mlp_input":
                positions = torch.arange(len(encoded.ids))[None]
                rotary = loaded.model.model.rotary_emb(states, positions)
                attended, _ = block.self_attn(block.input_layernorm(states), rotary, attention_mask=None)
                states = block.post_attention_layernorm(states + attended)
            elif signal.site == "residual":
                states = output.hidden_states[layer + 1]
            else:
                states = loaded.model.model.norm(states)
        unit = torch.nn.functional.normalize(states[0].double(), dim=-1)
        cos = unit @ unit.T
        p, q = slice(0, encoded.prefix_tokens), slice(encoded.prefix_tokens, encoded.question_end)
        angles.append((cos[q, q].mean() + cos[q, p].mean()).item())
    return np.array(angles)


@pytest.mark.parametrize("signal", [SignalConfig(), SignalConfig(layer=0), SignalConfig(site="residual", layer=0)])
def test_scores_equal_a_plain_forward_pass(tiny, problems, signal):
    scores = score_problems(tiny.model, tiny.tokenizer, problems, signal=signal)
    np.testing.assert_allclose(scores.table["angle"], by_hand(tiny, problems, signal), atol=2e-6)
    assert tuple(scores.table.columns) == SCORE_COLUMNS
    np.testing.assert_array_equal(scores.table.c_intra + scores.table.c_inter, scores.table["angle"])


def test_final_norm_is_probed_after_the_last_layer(tiny, problems):
    scores = score_problems(tiny.model, tiny.tokenizer, problems, signal=SignalConfig(site="final_norm"))
    (encoded,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problems.problems[0].question)], ["x"])
    with torch.no_grad():
        states = tiny.model.model(torch.tensor(encoded.ids[None])).last_hidden_state[0]
    unit = torch.nn.functional.normalize(states, dim=-1)[encoded.prefix_tokens : encoded.question_end]
    assert scores.table.c_intra[0] == pytest.approx((unit @ unit.T).mean().item(), abs=2e-6)


def test_scores_do_not_depend_on_batches_or_on_order(tiny, problems):
    whole = score_problems(tiny.model, tiny.tokenizer, problems).table.set_index("problem_id")
    single = score_problems(tiny.model, tiny.tokenizer, problems, batch_tokens=1).table.set_index("problem_id")
    backward = ProblemSet("b", problems.problems[::-1])
    turned = score_problems(tiny.model, tiny.tokenizer, backward).table.set_index("problem_id")
    np.testing.assert_allclose(single, whole, atol=1e-5)
    np.testing.assert_allclose(turned.loc[whole.index], whole, atol=1e-5)


def test_scoring_leaves_the_model_as_it_was(tiny, problems):
    tiny.model.train()
    score_problems(tiny.model, tiny.tokenizer, problems)
    assert tiny.model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in tiny.model.modules())


def test_a_scores_file_round_trips_and_knows_what_it_is_of(tiny, problems, tmp_path):
    scores = score_problems(tiny.model, tiny.tokenizer, problems)
    scores.save(tmp_path / "s.parquet")
    expected = signal_metadata(tiny.version, "float32", problems, Prompt(), SignalConfig())
    loaded = Scores.load(tmp_path / "s.parquet", expected)
    assert loaded.table.equals(scores.table)
    assert loaded.metadata == scores.metadata
    assert {"model", "prompt", "problem_set", "definition", "site", "layer", "version"} <= set(loaded.metadata)


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("model", lambda v, p: signal_metadata("0" * 12, "float32", p, Prompt(), SignalConfig())),
        ("prompt", lambda v, p: signal_metadata(v, "float32", p, Prompt(system="x"), SignalConfig())),
        ("problem_set", lambda v, p: signal_metadata(v, "float32", p.head(3), Prompt(), SignalConfig())),
        ("layer", lambda v, p: signal_metadata(v, "float32", p, Prompt(), SignalConfig(layer=0))),
        ("definition", lambda v, p: signal_metadata(v, "float32", p, Prompt(), SignalConfig(definition="released"))),
        ("dtype", lambda v, p: signal_metadata(v, "bfloat16", p, Prompt(), SignalConfig())),
    ],
)
def test_scores_of_something_else_are_refused_naming_both(tiny, problems, tmp_path, key, changed):
    scores = score_problems(tiny.model, tiny.tokenizer, problems)
    scores.save(tmp_path / "s.parquet")
    wanted = changed(tiny.version, problems)
    with pytest.raises(InputError, match=f"made for {key} {scores.metadata[key]}, not for {wanted[key]}"):
        Scores.load(tmp_path / "s.parquet", wanted)


def test_other_files_are_no_scores(tmp_path, problems):
    (tmp_path / "s.parquet").write_text("x")
    with pytest.raises(InputError, match="not a scores file of this suite; gainrl score writes one"):
        Scores.load(tmp_path / "s.parquet")


def test_orders_come_from_the_columns(tiny, problems):
    scores = score_problems(tiny.model, tiny.tokenizer, problems)
    assert scores.sort_key("angle").argmin() == scores.table["angle"].argmax()
    assert scores.sort_key("length").argmin() == scores.table.question_tokens.argmin()
    assert scores.sort_key("difficulty", problems).tolist() == problems.difficulties()
    with pytest.raises(InputError, match="needs the column 'difficulty'"):
        scores.sort_key("difficulty")
    with pytest.raises(InputError, match="not those of the problems of arithmetic"):
        scores.sort_key("angle", load_problems("arithmetic", limit=16, seed=5))


def test_prompts_over_the_context_are_named(tiny):
    long = ProblemSet("long", (Problem("p1", "1 + 1", "2"), Problem("p2", " + ".join(["1"] * 200), "200")))
    with pytest.raises(InputError, match="prompt of p2 has .* room for 256"):
        score_problems(tiny.model, tiny.tokenizer, long)


def test_hidden_states_that_are_not_finite_are_named_with_their_layer(tiny, problems):
    only = ProblemSet("one bad", (*problems.problems[:3], Problem("bad", "Find 77 plus 1.", "78")))
    with torch.no_grad():
        tiny.model.model.embed_tokens.weight[tiny.tokenizer.convert_tokens_to_ids("77")] = float("inf")
    with pytest.raises(InputError, match="hidden states of bad are not finite at layer 0"):
        score_problems(tiny.model, tiny.tokenizer, only, layers="all")
    with torch.no_grad():
        tiny.model.model.layers[0].self_attn.q_proj.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="the prompt's prefix are not finite at layer -1"):
        score_problems(tiny.model, tiny.tokenizer, problems)


def test_all_layers_in_one_pass_are_each_layer_by_itself(tiny, problems):
    scores = score_problems(tiny.model, tiny.tokenizer, problems, layers="all")
    assert scores.metadata["layer"] == "0, 1"
    assert scores.table.columns[1] == "layer"
    assert len(scores.table) == 2 * len(problems)
    for layer in (0, 1):
        alone = score_problems(tiny.model, tiny.tokenizer, problems, signal=SignalConfig(layer=layer))
        taken = scores.at_layer(layer)
        assert taken.table.problem_id.tolist() == problems.ids
        np.testing.assert_allclose(taken.table["angle"], alone.table["angle"], atol=1e-6)
        assert taken.metadata == alone.metadata
    some = score_problems(tiny.model, tiny.tokenizer, problems, layers=[-1, 1])
    assert some.table.layer.unique().tolist() == [1]
    with pytest.raises(InputError, match="no scores of layer 2; available: 0, 1"):
        scores.at_layer(2)
    with pytest.raises(InputError, match="scores of layers 0, 1; take one of them with at_layer"):
        scores.sort_key("angle")
    with pytest.raises(InputError, match="layer 7 is out of range; valid: -2 to 1"):
        score_problems(tiny.model, tiny.tokenizer, problems, layers=[0, 7])


def random_model(family: str, vocabulary: int, tied: bool) -> PreTrainedModel:
    """A random two-layer model of a family; its sliding windows, if any, are shorter than the prompt's prefix."""
    small = {"vocab_size": vocabulary, "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32}
    small |= {"intermediate_size": 48, "max_position_embeddings": 256, "tie_word_embeddings": tied}
    grouped = {"num_key_value_heads": 2, "head_dim": 8}
    own = {
        "qwen2": grouped,
        "qwen3": grouped,
        "llama": grouped,
        "gemma2": {**grouped, "sliding_window": 8},
        "mistral": {**grouped, "sliding_window": 8},
        "phi3": {"num_key_value_heads": 2, "pad_token_id": 0},
        "gpt_neox": {},
        "gpt2": {"n_inner": 48},
        "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 0},
    }[family]
    config = AutoConfig.for_model(family, **small, **own)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "gemma2", "mistral", "phi3", "gpt_neox", "gpt2", "opt"])
def test_every_family_scores_as_a_forward_pass_over_the_whole_prompt(tiny, problems, family, tied):
    model = random_model(family, len(tiny.tokenizer), tied)
    encoded = encode_problems(tiny.tokenizer, problems.problems, Prompt())
    signals = [SignalConfig(), *(SignalConfig(site=site) for site in ("residual", "neurons", "final_norm"))]
    signals.append(SignalConfig(site="residual", layer=0))
    if family == "opt":  # it has no module for the whole MLP
        with pytest.raises(InputError, match="OPTForCausalLM has no site mlp_input: its OPTDecoderLayer has no mlp"):
            score_problems(model, tiny.tokenizer, problems)
        signals = [signal for signal in signals if signal.site in ("residual", "final_norm")]
    for signal in signals:
        scores = score_problems(model, tiny.tokenizer, problems, signal=signal)
        for one, angle in zip(encoded, scores.table["angle"], strict=True):
            with torch.no_grad(), capture(model, signal) as states:
                model(torch.tensor(one.ids[None], dtype=torch.long))
            whole = angle_concentration(states[0], *span_masks([one], states[0]))
            assert angle == pytest.approx(whole.angle.item(), abs=1e-5)


def test_bf16_sums_in_fp32(tiny, problems):
    exact = score_problems(tiny.model, tiny.tokenizer, problems)
    rounded = score_problems(tiny.model.to(torch.bfloat16), tiny.tokenizer, problems)
    assert rounded.metadata["dtype"] == "bfloat16"
    np.testing.assert_allclose(rounded.table["angle"], exact.table["angle"], atol=0.03)
    assert (rounded.table["angle"].to_numpy() % 2**-8 != 0).any()  # not rounded to bf16's steps


def test_the_released_definition_sees_whole_prompts(tiny, problems):
    lengthy = " ".join(["word"] * 200)
    long = ProblemSet("long", (*problems.problems[:2], Problem("p", lengthy, "1"), Problem("q", f"{lengthy} 7", "1")))
    tiny.model.config.max_position_embeddings = 512
    scores = score_problems(tiny.model, tiny.tokenizer, long, signal=SignalConfig(definition="released"))
    for row, problem in enumerate(long.problems):
        (one,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problem.question)], ["x"])
        with torch.no_grad(), capture(tiny.model, SignalConfig()) as states:
            tiny.model(torch.tensor(one.ids[None], dtype=torch.long))
        unit = torch.nn.functional.normalize(states[0][0], dim=-1)
        masked = (unit @ unit.T).tril(diagonal=1)
        angle = masked[110:-6][110:-6].mean() + 8 * masked[110:-6][:110].mean()
        assert scores.table["angle"][row] == pytest.approx(angle.item(), abs=1e-5, nan_ok=True)
    assert scores.table["angle"].isna().tolist() == [True, True, False, False]
    assert np.isneginf(scores.sort_key("released")[:2]).all()  # NaN come first, as the release's sort has it
    assert scores.sort_key("angle").tolist() == scores.sort_key("released").tolist()
    with pytest.raises(InputError, match="order 'released' needs scores by that definition; these are by 'paper'"):
        score_problems(tiny.model, tiny.tokenizer, problems).sort_key("released")


def test_prompts_over_the_context_are_left_out_only_when_asked(tiny):
    long = ProblemSet("long", (Problem("p1", "1 + 1", "2"), Problem("p2", " + ".join(["1"] * 200), "200")))
    scores = score_problems(tiny.model, tiny.tokenizer, long, skip_too_long=True)
    assert scores.table.problem_id.tolist() == ["p1"]
    assert scores.metadata["problem_set"] == long.head(1).fingerprint


def test_a_tokenizer_of_another_model_is_named(tiny, problems):
    tiny.model.resize_token_embeddings(20)
    with pytest.raises(InputError, match=r"gives token \d+, but the model has 20 tokens; they do not belong together"):
        score_problems(tiny.model, tiny.tokenizer, problems)


@pytest.mark.parametrize("kind", ["tensor", "list"])
def test_an_order_of_the_release_is_imported(tmp_path, kind):
    rows = [2, 0, 1]
    torch.save(torch.tensor(rows) if kind == "tensor" else rows, tmp_path / "o.pt")
    assert load_released_order(tmp_path / "o.pt", 3).argsort().tolist() == rows


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "without its beginning": lambda whole: whole[len(whole) // 2 :],
    "zeros": lambda whole: bytes(len(whole)),
    "other": lambda whole: b"version https://git-lfs.github.com/spec/v1\n",
    "pickle": lambda whole: pickle.dumps({"a": _Harmful()}),
}


class _Harmful:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.tensor([0, 1]), "lists 2 rows, the problem set has 3; its positions would point at other problems"),
        (torch.tensor([0, 1, 1]), "not an order of rows 0 to 2; some are repeated or missing"),
        (torch.tensor([0.5, 1.0, 2.0]), "holds torch.float32 of shape"),
        (torch.tensor([0.0, 1.0, torch.nan]), "holds torch.float32 of shape"),
        (torch.tensor([True, False, True]), "holds torch.bool of shape"),
        (torch.tensor([[0, 1, 2]]), r"holds torch.int64 of shape \(1, 3\)"),
        (torch.tensor(0), r"holds torch.int64 of shape \(\)"),
        (torch.tensor([-1, 0, 1]), "not an order of rows 0 to 2"),
        (torch.tensor([0, 1, 3]), "not an order of rows 0 to 2"),
        (torch.tensor([0, 1, 2]).to_sparse(), "holds a tensor without plain values"),
        (
            torch.sparse_coo_tensor(torch.tensor([[7]]), torch.tensor([1]), (10**12,)),
            "holds a tensor without plain values",
        ),
        (torch.empty(3, device="meta"), "holds a tensor without plain values"),
        (torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8), "holds torch.qint8 of shape"),
        (torch.zeros(1, dtype=torch.int64).expand(10**12), "lists 1000000000000 rows, the problem set has 3"),
        ([0, 1, 10**30], "not a tensor or list of row numbers"),
        ([0, "1", 2], "not a tensor or list of row numbers"),
        ([[0], [1, 2]], "not a tensor or list of row numbers"),
        (None, "not a tensor or list of row numbers"),
        ([], "row numbers are needed|lists 0 rows"),
        (_Harmful(), "not a tensor or list of row numbers"),
        ({"a": 1}, "not a tensor or list of row numbers"),
    ],
)
def test_other_pt_files_are_refused(tmp_path, capsys, content, message):
    torch.save(content, tmp_path / "o.pt")
    with pytest.raises(InputError, match=message):
        load_released_order(tmp_path / "o.pt", 3)
    assert not capsys.readouterr().out
    with pytest.raises(InputError, match="No such file"):
        load_released_order(tmp_path / "none.pt", 3)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_order_file_is_one_line(tmp_path, damage):
    torch.save(torch.arange(3), tmp_path / "o.pt")
    (tmp_path / "o.pt").write_bytes(DAMAGE[damage]((tmp_path / "o.pt").read_bytes()))
    with pytest.raises(InputError, match="not a tensor or list of row numbers saved by torch"):
        load_released_order(tmp_path / "o.pt", 3)
    with pytest.raises(InputError, match="Is a directory"):
        load_released_order(tmp_path, 3)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_scores_file_is_one_line(tiny, problems, tmp_path, damage):
    score_problems(tiny.model, tiny.tokenizer, problems).save(tmp_path / "s.parquet")
    (tmp_path / "s.parquet").write_bytes(DAMAGE[damage]((tmp_path / "s.parquet").read_bytes()))
    with pytest.raises(InputError, match=r"s.parquet is not a scores file of this suite"):
        Scores.load(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        ({}, [], " does not say by which model"),
        ({}, {"model": "m"}, " does not say by which model"),
        ({"angle": None}, {}, ": has no column angle"),
        ({"angle": "high"}, {}, ", row 1: angle is 'high'; a number is needed"),
        ({"angle": True}, {}, ", row 1: angle is 'True'; a number is needed"),
        ({"c_intra": np.inf}, {}, ", row 1: c_intra is 'inf'; a number is needed"),
        ({"question_tokens": -5}, {}, ", row 1: question_tokens is '-5'; a whole number of 0 or more is needed"),
        ({"site": [["mlp_input"]] * 16}, {}, r", row 1: site is .*; a text is needed"),
        ({"problem_id": 3}, {}, ", row 1: problem_id is '3'; a text is needed"),
        ({"problem_id": "p"}, {}, ", row 2: problem_id p is there twice"),
    ],
)
def test_scores_that_mean_nothing_are_named(tiny, problems, tmp_path, change, metadata, message):
    scores = score_problems(tiny.model, tiny.tokenizer, problems)
    table = scores.table.assign(**change).drop(columns=[name for name, value in change.items() if value is None])
    dataclasses.replace(scores, table=table, metadata=metadata or scores.metadata).save(tmp_path / "s.parquet")
    if metadata == []:
        written = pyarrow.parquet.read_table(tmp_path / "s.parquet").replace_schema_metadata({b"gainrl": b"[1]"})
        pyarrow.parquet.write_table(written, tmp_path / "s.parquet")
    with pytest.raises(InputError, match=f"s.parquet{message}.*; score again"):
        Scores.load(tmp_path / "s.parquet")
    dataclasses.replace(scores, table=scores.table.head(0)).save(tmp_path / "s.parquet")
    with pytest.raises(InputError, match="s.parquet holds no scores; score again"):
        Scores.load(tmp_path / "s.parquet")


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (SignalConfig(layer=2), "layer 2 is out of range; valid: -2 to 1"),
        (SignalConfig(site="final_norm", layer=0), "layer is 0, valid: -1"),
    ],
)
def test_a_layer_that_is_not_there(tiny, problems, signal, message):
    with pytest.raises(InputError, match=message):
        score_problems(tiny.model, tiny.tokenizer, problems, signal=signal)


def test_a_batch_that_does_not_fit_memory_is_halved(tiny, problems, monkeypatch):
    whole = score_problems(tiny.model, tiny.tokenizer, problems)
    sizes = []
    real = prefill._Scorer.score

    def small_device(self, prompts, names):
        sizes.append(len(prompts))
        if len(prompts) > 3:
            raise torch.OutOfMemoryError
        return real(self, prompts, names)

    monkeypatch.setattr(prefill._Scorer, "score", small_device)
    halved = score_problems(tiny.model, tiny.tokenizer, problems)
    assert sizes[:3] == [16, 8, 4]
    np.testing.assert_allclose(halved.table["angle"], whole.table["angle"], atol=1e-5)


def test_broken_off_scoring_goes_on_and_ends_the_same(tiny, problems, tmp_path, monkeypatch):
    path = tmp_path / "s.unfinished"
    settings = {"batch_tokens": 40, "unfinished": path}
    whole = score_problems(tiny.model, tiny.tokenizer, problems, batch_tokens=40)
    real, calls = prefill._Scorer.score, []

    def counted(self, prompts, names):
        calls.append(len(prompts))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, prompts, names)

    monkeypatch.setattr(prefill._Scorer, "score", counted)
    with pytest.raises(KeyboardInterrupt):
        score_problems(tiny.model, tiny.tokenizer, problems, **settings)
    with path.open("a") as file:
        file.write('{"rows": [3')  # what a killed process may leave
    resumed = score_problems(tiny.model, tiny.tokenizer, problems, **settings)
    assert sum(calls) - calls[3] == len(problems)  # nothing was computed twice
    assert resumed.table.equals(whole.table)
    assert not path.exists()


@pytest.mark.parametrize(
    "line",
    [
        *("[]", "3", "{", "[" * 100_000, '{"rows": [0]}'),
        *(
            f'{{"rows": {rows}, "c_intra": [[0]], "c_inter": [[0]]}}'
            for rows in ("[99]", "[-1]", "[true]", "null", "0")
        ),
        *(f'{{"rows": [0], "c_intra": {values}, "c_inter": [[0]]}}' for values in ("0", "[0]", '[["0"]]', "[[null]]")),
    ],
)
def test_a_damaged_unfinished_scoring_is_one_line(tiny, problems, tmp_path, line):
    path = tmp_path / "s.unfinished"
    metadata = score_problems(tiny.model, tiny.tokenizer, problems).metadata
    settings = {key: value for key, value in metadata.items() if key != "version"}
    path.write_text(f"{json.dumps(settings)}\n{line}\n")
    with pytest.raises(InputError, match=r"s.unfinished, row 2: "):
        score_problems(tiny.model, tiny.tokenizer, problems, unfinished=path)


def test_an_unfinished_scoring_of_other_settings_is_left_alone(tiny, problems, tmp_path):
    path = tmp_path / "s.unfinished"
    path.write_text('{"model": "other"}\n')
    with pytest.raises(InputError, match="unfinished scoring with other settings; remove it"):
        score_problems(tiny.model, tiny.tokenizer, problems, unfinished=path)
    assert path.read_text() == '{"model": "other"}\n'


def test_no_layer_mlp_or_head_after_the_probed_site_is_run(tiny, problems):
    tokens: dict[str, list[int]] = {}
    for name, module in tiny.model.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: tokens.setdefault(name, []).append(output)
        )
    score_problems(tiny.model, tiny.tokenizer, problems)
    assert "model.layers.1.self_attn" in tokens
    assert "lm_head" not in tokens
    assert {output.shape[:2] for output in tokens["model.layers.1.mlp"]} == {(1, 1)}  # to see what it returns
    tokens.clear()
    score_problems(tiny.model, tiny.tokenizer, problems, signal=SignalConfig(layer=0))
    assert "model.layers.1.self_attn" not in tokens
    assert len(tiny.model.model.layers) == 2


def test_an_mlp_that_returns_more_than_its_states_is_passed_by(tiny, problems):
    """Mixtures of experts may return router scores too, which the layer unpacks."""

    class WithScores(torch.nn.Module):
        def __init__(self, mlp):
            super().__init__()
            self.inner = mlp

        def forward(self, hidden):
            return self.inner(hidden), hidden[..., :1]

    whole = score_problems(tiny.model, tiny.tokenizer, problems)
    layer = tiny.model.model.layers[-1]
    layer.mlp = WithScores(layer.mlp)
    layer.forward = types.MethodType(_forward_that_unpacks, layer)
    assert score_problems(tiny.model, tiny.tokenizer, problems).table["angle"].equals(whole.table["angle"])


def _forward_that_unpacks(self, hidden_states, **kwargs):
    attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
    hidden_states = hidden_states + attended
    output, _ = self.mlp(self.post_attention_layernorm(hidden_states))
    return hidden_states + output


def test_off_diagonal_of_a_one_token_question_is_named(tiny):
    short = ProblemSet("short", (Problem("p1", "1 + 1", "2"), Problem("p2", "7", "7")))
    with pytest.raises(InputError, match="the question of p2 is one token; off-diagonal needs two"):
        score_problems(tiny.model, tiny.tokenizer, short, signal=SignalConfig(definition="off-diagonal"))
