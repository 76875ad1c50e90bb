import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from trl import GRPOConfig, GRPOTrainer

from gainrl.errors import InputError
from gainrl.problems import load_problems
from gainrl.studies.gradients import (
    decompose,
    gram,
    pairwise_norm,
    squared_gradient_norms,
    takes_branches,
    variance_shares,
)
from gainrl.training import training_dataset


@pytest.fixture(autouse=True)
def _one_thread(_two_threads):
    torch.set_num_threads(1)  # the matrices are tiny


VOCABULARY, PAD = 37, 0
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 12,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OPT_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "ffn_dim": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "dropout": 0.1,
}
CONFIGS = {
    "qwen2": Qwen2Config(**SIZES, tie_word_embeddings=False),
    "qwen2-tied": Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SIZES, tie_word_embeddings=True),
    "llama": LlamaConfig(**SIZES, tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
    "gemma2": Gemma2Config(**SIZES, sliding_window=8),
    "gemma3": Gemma3TextConfig(**SIZES, sliding_window=8),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=24, n_layer=2, n_head=2, n_positions=64),
    "opt": OPTConfig(**OPT_SIZES),
    "opt-post-norm": OPTConfig(**OPT_SIZES, do_layer_norm_before=False, word_embed_proj_dim=16),
}


def make(name, dtype=torch.float64):
    """A random model, every parameter of it, norms and biases too."""
    torch.manual_seed(0)
    config = CONFIGS[name]
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.to(dtype).eval()


def batch(lengths, *, prompt=2, dtype=torch.float64, signed=False, seed=0):
    """Random ids, mask and weights of rows of these lengths, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    ids_RT = torch.randint(0, VOCABULARY, (len(lengths), max(lengths)), generator=generator)
    column_T = torch.arange(max(lengths))
    mask_RT = (column_T < torch.tensor(lengths)[:, None]).long()
    weight_RT = torch.rand(ids_RT.shape, generator=generator, dtype=dtype)
    if signed:
        weight_RT = torch.randn(ids_RT.shape, generator=generator, dtype=dtype)
    return ids_RT * mask_RT, mask_RT, weight_RT * mask_RT * (column_T >= prompt)


def loss(model, ids_RT, mask_RT, weight_RT, temperature=1.0):
    logits = model(input_ids=ids_RT, attention_mask=mask_RT, use_cache=False).logits / temperature
    logp_RT = logits[:, :-1].log_softmax(-1).gather(2, ids_RT[:, 1:, None]).squeeze(2)
    return -(weight_RT[:, 1:] * logp_RT).sum()


def by_autograd(model, ids_RT, mask_RT, weight_RT, *, rows_per_sample=1, temperature=1.0):
    """The same dictionary from one backward pass a sample."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    squares = []
    for rows in torch.arange(len(ids_RT)).split(rows_per_sample):
        value = loss(model, ids_RT[rows], mask_RT[rows], weight_RT[rows], temperature)
        gradients = torch.autograd.grad(value, parameters)
        squares.append(torch.stack([gradient.double().square().sum() for gradient in gradients]))
    return dict(zip(names, torch.stack(squares, 1), strict=True))


def assert_same(found, expected, rtol=1e-9):
    assert found.keys() == expected.keys()
    for name, square_B in expected.items():
        scale = square_B.max()
        torch.testing.assert_close(found[name].double(), square_B, rtol=rtol, atol=float(rtol * 1e-3 * scale), msg=name)
    total = [torch.stack(list(squares.values())).double().sum(0) for squares in (found, expected)]
    torch.testing.assert_close(*total, rtol=rtol, atol=0)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("lengths", "options"),
    [([9, 5, 7], {}), ([6, 4, 5, 3, 6, 4], {"rows_per_sample": 3, "temperature": 0.7}), ([40, 33], {})],
    ids=["samples", "groups", "long"],
)
def test_norms_of_every_parameter_are_those_of_one_backward_pass_a_sample(name, lengths, options):
    model, inputs = make(name), batch(lengths, signed="rows_per_sample" in options)
    assert_same(squared_gradient_norms(model, *inputs, **options), by_autograd(model, *inputs, **options))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["qwen2", "qwen2-tied", "qwen3", "llama"])
def test_a_prompt_computed_once_for_its_completions_gives_the_norms_of_a_row_for_each(name, implementation):
    model = make(name)
    model.set_attn_implementation(implementation)
    assert takes_branches(model)
    generator, together, apart = torch.Generator().manual_seed(0), [], []
    for lengths in ([5, 3, 1, 4], [6, 5, 2, 2]):  # of the prompt, then of its completions
        pieces = [torch.randint(0, VOCABULARY, (length,), generator=generator) for length in lengths]
        weights = [torch.randn(length, generator=generator, dtype=torch.float64) for length in lengths]
        weights[0].zero_()
        branch = torch.arange(4).repeat_interleave(torch.tensor(lengths))
        together.append((torch.cat(pieces), torch.ones(len(branch)), torch.cat(weights), branch))
        for own in (1, 2, 3):
            ids, weight = (torch.cat([parts[0], parts[own]]) for parts in (pieces, weights))
            apart.append((ids, torch.ones(len(ids)), weight))

    def padded(rows):
        return [torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True) for column in zip(*rows, strict=True)]

    *inputs, branch_RT = padded(together)
    found = squared_gradient_norms(model, *inputs, branch_RT=branch_RT, temperature=0.7)
    # looser than elsewhere: rotations and the softmax are computed in 32 bits, in another order
    assert_same(found, by_autograd(model, *padded(apart), rows_per_sample=3, temperature=0.7), rtol=1e-5)


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "gpt2", "opt"])
def test_a_window_or_learnt_positions_take_no_branches(name):
    assert not takes_branches(make(name))


def test_derived_norms_do_not_depend_on_how_many_gradients_are_held_at_once(monkeypatch):
    model, inputs = make("opt"), batch([9, 5, 7])
    expected = squared_gradient_norms(model, *inputs)
    monkeypatch.setattr("gainrl.studies.gradients.rules._LARGEST_GRADIENTS", 1)
    assert_same(squared_gradient_norms(model, *inputs), expected)


def test_padding_and_the_other_samples_change_nothing():
    model, (ids_RT, mask_RT, weight_RT) = make("qwen2-tied"), batch([9, 5, 7])
    together = squared_gradient_norms(model, ids_RT, mask_RT, weight_RT)
    alone = squared_gradient_norms(model, ids_RT[1:2, :5], mask_RT[1:2, :5], weight_RT[1:2, :5])
    # rotary embeddings are 32-bit, and on some processors their rounding depends on the batch's shape
    assert_same({name: square_B[1:2] for name, square_B in together.items()}, alone, rtol=1e-5)
    other_RT = torch.where(mask_RT == 0, 5, ids_RT)
    assert_same(squared_gradient_norms(model, other_RT, mask_RT, weight_RT), together)


def test_the_lines_of_the_padding_token_have_no_gradient_as_an_embedding_and_one_as_lm_head():
    model = make("qwen2")
    norms = squared_gradient_norms(model, torch.full((1, 4), PAD), *batch([4])[1:])
    assert norms["model.embed_tokens.weight"] == 0 < norms["lm_head.weight"]


def state(model):
    return [
        [(name, parameter.requires_grad, parameter.grad) for name, parameter in model.named_parameters()],
        [(name, module.training) for name, module in model.named_modules()],
        [len(hooks) for module in model.modules() for hooks in (module._forward_hooks, module._forward_pre_hooks)],
    ]


@pytest.mark.parametrize("fails", [None, "forward", "backward"])
def test_the_model_is_left_as_it_was_found(fails, monkeypatch):
    model, inputs = make("gpt2"), batch([6, 4])
    expected = by_autograd(model, *inputs)
    model.train()
    model.transformer.h[0].eval()
    model.transformer.wte.weight.requires_grad_(False)
    before = state(model)
    if fails is None:
        with torch.no_grad():  # what the caller has set does not matter
            assert_same(squared_gradient_norms(model, *inputs), expected)
    else:
        target = model.transformer.h[1] if fails == "forward" else torch.func
        monkeypatch.setattr(target, "forward" if fails == "forward" else "vjp", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError if fails == "forward" else InputError):
            squared_gradient_norms(model, *inputs)
    assert state(model) == before


def test_without_weights_every_norm_is_0():
    ids_RT, mask_RT, weight_RT = batch([5, 4])
    norms = squared_gradient_norms(make("qwen2-tied"), ids_RT, mask_RT, 0 * weight_RT)
    assert all((square_B == 0).all() for square_B in norms.values())


def test_nan_in_one_sample_stays_there():
    model, (ids_RT, mask_RT, weight_RT) = make("qwen2"), batch([5, 4])
    weight_RT[1, 3] = torch.nan
    for square_B in squared_gradient_norms(model, ids_RT, mask_RT, weight_RT).values():
        assert square_B[0].isfinite()
        assert square_B[1].isnan()


def test_in_bf16_sums_are_in_32_bits():
    model, inputs = make("gemma3", torch.bfloat16), batch([9, 5], dtype=torch.float32)
    products = {}

    def receive(name, x_BTD, g_BTE):
        products[f"{name}.weight"] = pairwise_norm(x_BTD, g_BTE).float()

    norms = squared_gradient_norms(model, *inputs, receive=receive)
    expected = by_autograd(model.double(), *inputs)
    assert {square_B.dtype for square_B in norms.values()} == {torch.float32}
    for name in products.keys() & norms.keys() - {"lm_head.weight"}:
        torch.testing.assert_close(norms[name], products[name], rtol=1e-4, atol=0)
    total_B, expected_B = (sum(squares.values()).double() for squares in (norms, expected))
    torch.testing.assert_close(total_B, expected_B, rtol=0.1, atol=0)


def test_terms_are_given_for_every_linear_module_with_the_rows_of_a_sample_in_turn():
    model, (ids_RT, mask_RT, weight_RT) = make("qwen2"), batch([6, 4, 5, 3], signed=True)
    terms = {}
    squared_gradient_norms(
        model, ids_RT, mask_RT, weight_RT, rows_per_sample=2, receive=lambda name, *xg: terms.update({name: xg})
    )
    assert set(terms) == {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for name, (x_BTD, g_BTE) in terms.items():
        weight = model.get_parameter(f"{name}.weight")
        assert x_BTD.shape[:2] == g_BTE.shape[:2] == (2, 2 * (4 if name == "lm_head" else 6))  # columns 1..4 have none
        for rows, x_TD, g_TE in zip(torch.arange(4).split(2), x_BTD, g_BTE, strict=True):
            (gradient,) = torch.autograd.grad(loss(model, ids_RT[rows], mask_RT[rows], weight_RT[rows]), weight)
            torch.testing.assert_close(g_TE.T @ x_TD, gradient)


def up_projection(model, inputs, layer):
    terms = {}
    squared_gradient_norms(model, *inputs, receive=lambda name, *xg: terms.update({name: xg}))
    return terms[f"model.layers.{layer}.mlp.up_proj"]


def test_the_papers_identity_gives_the_norm_of_the_up_projection():
    model, inputs = make("qwen2"), batch([9, 5, 7])
    x_BTD, g_BTE = up_projection(model, inputs, 0)
    expected_B = by_autograd(model, *inputs)["model.layers.0.mlp.up_proj.weight"]
    torch.testing.assert_close(pairwise_norm(x_BTD, g_BTE), expected_B)
    torch.testing.assert_close(pairwise_norm(x_BTD[1], g_BTE[1]), expected_B[1])


def test_in_the_last_layer_only_tokens_that_predict_a_completion_token_have_a_gradient():
    prompt, lengths = 4, [9, 6]
    _, g_BTE = up_projection(make("qwen2"), batch(lengths, prompt=prompt), -1 % 2)
    for length, g_TE in zip(lengths, g_BTE, strict=True):
        has_gradient_T = (g_TE != 0).any(1)
        assert has_gradient_T.nonzero().squeeze(1).tolist() == list(range(prompt - 1, length - 1))
    _, g_BTE = up_projection(make("qwen2"), batch(lengths, prompt=prompt), 0)
    assert (g_BTE[:, : prompt - 1] != 0).any(-1).all()


class MeanOverRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(24, dtype=torch.float64))

    def forward(self, x_RTD):
        return self.weight * (x_RTD - x_RTD.mean(0))


class Pair(MeanOverRows):
    def forward(self, x_RTD):
        return self.weight * x_RTD, x_RTD


def share_norms(model):
    model.model.layers[1].input_layernorm.weight = model.model.layers[0].input_layernorm.weight


def share_layers(model):
    model.model.layers[1].mlp = model.model.layers[0].mlp


def add_unused(model):
    model.unused = nn.Linear(2, 2)


def mix_rows(model):
    model.model.norm = MeanOverRows()


def return_pair(model):
    model.model.norm = Pair()


def drop_rows(model):
    model.model.norm.register_forward_pre_hook(lambda _, inputs: inputs[0][1:])


def take_one_token(model):
    model.model.norm.register_forward_pre_hook(lambda _, inputs: inputs[0][:, -1])


def change_in_place(model):
    model.model.layers[0].mlp.up_proj.register_forward_hook(lambda _, inputs, output: (inputs[0].mul_(2), output)[1])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (share_norms, r"model.layers.1.input_layernorm.weight: .* Qwen2RMSNorm, shares it with model.layers.0.input_l"),
        (share_layers, r"model.layers.0.mlp.gate_proj.weight: the module, a Linear, is called more than once"),
        (add_unused, r"unused.weight, unused.bias: the module, a Linear, is not called"),
        (mix_rows, r"model.norm.weight: the module, a MeanOverRows, returns something else when it is run sample by"),
        (return_pair, r"model.norm.weight: the module, a Pair, does not return one tensor of floats"),
        (drop_rows, r"model.norm.weight: .* returns shape \(2, 5, 24\), in which rows do not come first"),
        (take_one_token, r"model.norm.weight: .* returns shape \(3, 24\), in which rows do not come first"),
        (
            change_in_place,
            r"model.layers.0.mlp.(up|gate)_proj.weight: .* has its input changed in place after the call",
        ),
    ],
)
def test_a_parameter_without_an_exact_rule_is_refused_by_name(spoil, message):
    model = make("qwen2")
    spoil(model)
    with pytest.raises(InputError, match=message):
        squared_gradient_norms(model, *batch([5, 4, 3]))


def test_weights_that_do_not_fit_are_refused():
    model, (ids_RT, mask_RT, weight_RT) = make("qwen2"), batch([5, 4])
    with pytest.raises(ValueError, match=r"must agree, rows in samples of 3"):
        squared_gradient_norms(model, ids_RT, mask_RT, weight_RT, rows_per_sample=3)
    with pytest.raises(ValueError, match=r"\(2, 5\), \(2, 5\), \(2, 4\)"):
        squared_gradient_norms(model, ids_RT, mask_RT, weight_RT[:, 1:])
    with pytest.raises(ValueError, match="position 0"):
        squared_gradient_norms(model, ids_RT, mask_RT, weight_RT + 1)


def digit_sum(completion_ids, **columns):
    return [float(sum(ids) % 7) for ids in completion_ids]


def right_padded(inputs, weight_RC):
    """Rows of TRL's batch, whose prompts are padded on the left, padded on the right."""
    parts = [torch.cat([inputs[f"prompt_{key}"], inputs[f"completion_{key}"]], 1) for key in ("ids", "mask")]
    weight_RT = torch.cat([torch.zeros_like(inputs["prompt_ids"]), weight_RC], 1)
    order_RT = (parts[1] == 0).long().argsort(dim=1, stable=True)
    return [tensor.gather(1, order_RT) for tensor in (*parts, weight_RT)]


def test_a_groups_norms_are_those_of_trls_loss(tiny, tmp_path):
    settings = {"learning_rate": 0.0, "max_steps": 1, "temperature": 0.9, "beta": 0.0, "loss_type": "grpo"}
    quiet = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True}
    sizes = {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 6}
    trainer = GRPOTrainer(
        model=tiny.model,
        processing_class=tiny.tokenizer,
        reward_funcs=digit_sum,
        args=GRPOConfig(output_dir=str(tmp_path), gradient_checkpointing=False, **settings, **quiet, **sizes),
        train_dataset=training_dataset(load_problems("arithmetic", limit=4, seed=0)),
    )
    batches, compute_loss = [], trainer._compute_loss

    def keep(model, inputs):
        inputs["completion_mask"][[1, 6], 4:] = 0  # as if two of them had ended early
        batches.append(inputs)
        return compute_loss(model, inputs)

    trainer._compute_loss = keep
    trainer.train()
    (inputs,) = batches
    assert inputs["advantages"].shape == (8,)
    assert (inputs["advantages"] != 0).any()

    names, parameters = zip(*trainer.model.named_parameters(), strict=True)
    expected = []
    for rows in torch.arange(8).split(4):
        group = {
            key: value[rows] if getattr(value, "shape", ())[:1] == (8,) else value for key, value in inputs.items()
        }
        gradients = torch.autograd.grad(compute_loss(trainer.model, group), parameters)
        expected.append(torch.stack([gradient.double().square().sum() for gradient in gradients]))

    mask_RC = inputs["completion_mask"]
    weight_RC = inputs["advantages"][:, None] * mask_RC / mask_RC.sum(1, keepdim=True) / 4
    found = squared_gradient_norms(tiny.model, *right_padded(inputs, weight_RC), rows_per_sample=4, temperature=0.9)
    assert_same(found, dict(zip(names, torch.stack(expected, 1), strict=True)), rtol=1e-4)


def terms(tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(tokens, 6, generator=generator) + 1 for _ in range(2))


@pytest.fixture(scope="module")
def grams():
    return [gram(*terms(tokens, seed)) for seed, tokens in enumerate([3, 8, 5, 1, 12, 7])]


def test_a_gram_keeps_the_tokens_that_have_a_gradient():
    x_TD, g_TE = terms(5, 0)
    g_TE[[1, 3]] = 0
    one = gram(x_TD, g_TE)
    assert one.norms_T.dtype == one.cos_TT.dtype == one.inner_TT.dtype == torch.float64
    torch.testing.assert_close(one.norms_T, x_TD[[0, 2, 4]].double().norm(dim=1))
    torch.testing.assert_close(one.cos_TT.diagonal(), torch.ones(3).double())
    torch.testing.assert_close(one.inner_TT, (g_TE @ g_TE.T)[[0, 2, 4]][:, [0, 2, 4]].double())


def test_the_parts_of_a_samples_gradient_sum_to_its_log_norm(grams):
    parts = decompose(grams)
    expected = [pairwise_norm(*terms(len(one.norms_T), seed)).log().item() for seed, one in enumerate(grams)]
    np.testing.assert_allclose(parts["log_squared_norm"], expected, rtol=1e-12)
    np.testing.assert_allclose(parts[["tokens", "norms", "cosines", "gradients"]].sum(axis=1), expected, rtol=1e-12)
    assert variance_shares(parts).sum() == pytest.approx(1, abs=1e-12)


def test_parts_are_shapley_values_between_a_neutral_sample_and_the_true_one(grams):
    true = [[factor.numpy() for factor in (one.norms_T, one.cos_TT, one.inner_TT)] for one in grams]
    apart = [~np.eye(len(norms), dtype=bool) for norms, _, _ in true]
    norm = np.sqrt(np.mean(np.concatenate([norms**2 for norms, _, _ in true])))
    cosine, inner = (
        np.mean(np.concatenate([factors[at][off] for factors, off in zip(true, apart, strict=True)])) for at in (1, 2)
    )
    diagonal = np.mean(np.concatenate([inner_TT.diagonal() for _, _, inner_TT in true]))
    assert cosine > 0 < inner < diagonal

    parts = decompose(grams)
    for row, (factors, off) in enumerate(zip(true, apart, strict=True)):
        neutral = [np.full(len(off), norm), np.where(off, cosine, 1), np.where(off, inner, diagonal)]

        def value(*chosen, factors=factors, neutral=neutral):
            norms, cosines, inners = (factors[at] if at in chosen else neutral[at] for at in range(3))
            return np.log(norms @ (cosines * inners) @ norms)

        assert parts["tokens"][row] == pytest.approx(value(), rel=1e-12)
        for at, name in enumerate(["norms", "cosines", "gradients"]):
            one, other = {0, 1, 2} - {at}
            alone = (value(at) - value()) / 3 + (value(0, 1, 2) - value(one, other)) / 3
            after_one = (value(at, one) - value(one) + value(at, other) - value(other)) / 6
            assert parts[name][row] == pytest.approx(alone + after_one, rel=1e-9, abs=1e-12)


def test_states_that_point_away_from_each_other_leave_every_part_finite():
    opposite = gram(torch.tensor([[1.0, 0.1], [-1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, 1.0]]))
    long = gram(torch.eye(8), 10 * torch.ones(8, 2))  # more i != j than i = j, all of them large
    for samples in ([opposite, long], [opposite] * 30 + [long]):  # of i != j the mean inner product, cosine
        parts = decompose(samples)
        assert np.isfinite(parts).all(axis=None)
        np.testing.assert_allclose(parts.iloc[:, 1:].sum(axis=1), parts["log_squared_norm"], rtol=1e-12)


@pytest.mark.parametrize("factor", ["norms", "gradients", "cosines"])
def test_what_alone_differs_has_the_whole_share(factor):
    x_TD, g_TE = terms(6, 0)
    scales = [0.5, 1.0, 4.0]
    if factor == "norms":
        samples = [(scale * x_TD, g_TE) for scale in scales]
    elif factor == "gradients":
        samples = [(x_TD, scale * g_TE) for scale in scales]
    else:
        samples = [(nn.functional.normalize(x_TD + scale, dim=1), torch.eye(6) + 1) for scale in scales]
    shares = variance_shares(decompose([gram(*sample) for sample in samples]))
    expected = pd.Series({"tokens": 0.0, "norms": 0.0, "cosines": 0.0, "gradients": 0.0} | {factor: 1.0})
    pd.testing.assert_series_equal(shares, expected, atol=1e-6)


def test_samples_without_a_gradient_are_dropped_and_the_others_keep_their_place(grams):
    x_TD, g_TE = terms(4, 9)
    pairs = [
        terms(1, seed)[0][0, :2, None].double() for seed in range(20)
    ]  # some sums are 0, some 1e-17 of their terms
    cancelling = [gram(x_TD[:1].expand(3, -1), torch.cat([pair, -pair.sum(0)[None]])) for pair in pairs]
    mixed = [grams[0], gram(x_TD, 0 * g_TE), *grams[1:3], *cancelling, *grams[3:]]
    parts = decompose(mixed)
    assert parts.index.tolist() == [0, 2, 3, 24, 25, 26]
    np.testing.assert_array_equal(parts, decompose(grams))
    assert decompose(mixed[1:2]).empty


def test_a_sample_that_is_not_finite_is_named(grams):
    with pytest.raises(ValueError, match="of sample 1 is nan"):
        decompose([grams[0], gram(torch.full((2, 3), torch.nan), torch.ones(2, 3))])
