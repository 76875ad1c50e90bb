import numpy as np
import pytest
import torch

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.probe import COLUMNS, Scores, engine, score_problems, signal_metadata
from gainrl.problems import Problem, ProblemSet, load_problems
from gainrl.prompts import Prompt, encode_prompts


def by_hand(loaded, problems, signal) -> np.ndarray:
    """Angle of each problem from one plain forward pass a prompt and the T x T cosine matrix."""
    angles = []
    for problem in problems.problems:
        (encoded,) = encode_prompts(loaded.tokenizer, [Prompt().messages(problem.question)], ["x"])
        with torch.no_grad():
            output = loaded.model(torch.tensor([encoded.ids]), output_hidden_states=True)
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
    assert tuple(scores.table.columns) == COLUMNS
    np.testing.assert_array_equal(scores.table.c_intra + scores.table.c_inter, scores.table["angle"])


def test_final_norm_is_probed_after_the_last_layer(tiny, problems):
    scores = score_problems(tiny.model, tiny.tokenizer, problems, signal=SignalConfig(site="final_norm"))
    (encoded,) = encode_prompts(tiny.tokenizer, [Prompt().messages(problems.problems[0].question)], ["x"])
    with torch.no_grad():
        states = tiny.model.model(torch.tensor([encoded.ids])).last_hidden_state[0]
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
    expected = signal_metadata(tiny.version, problems, Prompt(), SignalConfig())
    loaded = Scores.load(tmp_path / "s.parquet", expected)
    assert loaded.table.equals(scores.table)
    assert loaded.metadata == scores.metadata
    assert {"model", "prompt", "problem_set", "definition", "site", "layer", "version"} <= set(loaded.metadata)


@pytest.mark.parametrize(
    ("key", "changed"),
    [
        ("model", lambda v, p: signal_metadata("0" * 12, p, Prompt(), SignalConfig())),
        ("prompt", lambda v, p: signal_metadata(v, p, Prompt(system="x"), SignalConfig())),
        ("problem_set", lambda v, p: signal_metadata(v, p.head(3), Prompt(), SignalConfig())),
        ("layer", lambda v, p: signal_metadata(v, p, Prompt(), SignalConfig(layer=0))),
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
    with pytest.raises(InputError, match="not of the problems of arithmetic"):
        scores.sort_key("angle", load_problems("arithmetic", limit=16, seed=5))


def test_prompts_over_the_context_are_named(tiny):
    long = ProblemSet("long", (Problem("p1", "1 + 1", "2"), Problem("p2", " + ".join(["1"] * 200), "200")))
    with pytest.raises(InputError, match="prompt of p2 has .* room for 256"):
        score_problems(tiny.model, tiny.tokenizer, long)


def test_scores_that_are_not_finite_are_named(tiny, problems):
    with torch.no_grad():
        tiny.model.model.layers[0].self_attn.q_proj.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"the score of .* is not finite \(16 of 16 problems\)"):
        score_problems(tiny.model, tiny.tokenizer, problems)


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
    real = engine._Scorer._score

    def small_device(self, questions):
        sizes.append(len(questions))
        if len(questions) > 3:
            raise torch.OutOfMemoryError
        return real(self, questions)

    monkeypatch.setattr(engine._Scorer, "_score", small_device)
    halved = score_problems(tiny.model, tiny.tokenizer, problems)
    assert sizes[:3] == [16, 8, 4]
    np.testing.assert_allclose(halved.table["angle"], whole.table["angle"], atol=1e-5)


def test_broken_off_scoring_goes_on_and_ends_the_same(tiny, problems, tmp_path, monkeypatch):
    path = tmp_path / "s.unfinished"
    settings = {"batch_tokens": 40, "unfinished": path}
    whole = score_problems(tiny.model, tiny.tokenizer, problems, batch_tokens=40)
    real, calls = engine._Scorer._score, []

    def counted(self, questions):
        calls.append(len(questions))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, questions)

    monkeypatch.setattr(engine._Scorer, "_score", counted)
    with pytest.raises(KeyboardInterrupt):
        score_problems(tiny.model, tiny.tokenizer, problems, **settings)
    with path.open("a") as file:
        file.write('{"rows": [3')  # what a killed process may leave
    resumed = score_problems(tiny.model, tiny.tokenizer, problems, **settings)
    assert sum(calls) - calls[3] == len(problems)  # nothing was computed twice
    assert resumed.table.equals(whole.table)
    assert not path.exists()


def test_an_unfinished_scoring_of_other_settings_is_left_alone(tiny, problems, tmp_path):
    path = tmp_path / "s.unfinished"
    path.write_text('{"model": "other"}\n')
    with pytest.raises(InputError, match="unfinished scoring with other settings; remove it"):
        score_problems(tiny.model, tiny.tokenizer, problems, unfinished=path)
    assert path.read_text() == '{"model": "other"}\n'


def test_nothing_after_the_probed_site_is_run(tiny, problems):
    ran = []
    for name, module in tiny.model.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    score_problems(tiny.model, tiny.tokenizer, problems)
    assert "model.layers.1.self_attn" in ran
    assert not {"model.layers.1.mlp", "model.norm", "lm_head"} & set(ran)
    ran.clear()
    score_problems(tiny.model, tiny.tokenizer, problems, signal=SignalConfig(layer=0))
    assert "model.layers.1.self_attn" not in ran


def test_off_diagonal_of_a_one_token_question_is_named(tiny):
    short = ProblemSet("short", (Problem("p1", "1 + 1", "2"), Problem("p2", "7", "7")))
    with pytest.raises(InputError, match="the question of p2 is one token; off-diagonal needs two"):
        score_problems(tiny.model, tiny.tokenizer, short, signal=SignalConfig(definition="off-diagonal"))
