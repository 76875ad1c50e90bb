import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.angle import Concentration, angle_concentration, released_concentration
from gainrl.errors import InputError


def concentration(rows: list[list[float]], prefix: int, definition: str = "paper") -> Concentration:
    """The first ``prefix`` rows are the prefix, the others the question."""
    hidden = torch.tensor([rows], dtype=torch.float64)
    is_prefix = torch.arange(len(rows))[None] < prefix
    return angle_concentration(hidden, is_prefix, ~is_prefix, definition)


def double_sum(hidden: np.ndarray, prefix: np.ndarray, question: np.ndarray) -> tuple[float, float]:
    """The paper's formulas as they are written, O(T^2 D)."""
    cos = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in hidden] for x in hidden]
    q, p = np.flatnonzero(question), np.flatnonzero(prefix)
    intra = sum(cos[i][j] for i in q for j in q) / len(q) ** 2
    inter = sum(cos[i][j] for i in q for j in p) / (len(q) * len(p))
    return intra, inter


@pytest.mark.parametrize(
    ("rows", "c_intra", "c_inter"),
    [
        ([[1, 0], [1, 0], [1, 0]], 1.0, 1.0),  # identical
        ([[1, 0], [0, 1], [0, 1]], 1.0, 0.0),  # question orthogonal to prefix
        ([[1, 0], [1, 0], [0, 1]], 0.5, 0.5),  # orthogonal within the question
        ([[1, 0], [1, 0], [-1, 0]], 0.0, 0.0),  # opposite within the question
        ([[1, 0], [-1, 0], [-1, 0]], 1.0, -1.0),  # question opposite to prefix
        ([[1, 0], [1, 1], [1, 0]], (1 + 1 + 2 * math.sqrt(0.5)) / 4, (math.sqrt(0.5) + 1) / 2),  # 45 degrees
    ],
)
def test_hand_cases_of_one_prefix_and_two_question_tokens(rows, c_intra, c_inter):
    result = concentration(rows, prefix=1)
    assert result.c_intra.item() == pytest.approx(c_intra)
    assert result.c_inter.item() == pytest.approx(c_inter)
    assert result.angle.item() == pytest.approx(c_intra + c_inter)


def test_off_diagonal_leaves_the_diagonal_out():
    rows = [[1, 0], [1, 0], [0, 1]]
    assert concentration(rows, 1, "off-diagonal").c_intra.item() == pytest.approx(0.0)
    rows = [[1, 0], [1, 1], [1, 0]]
    assert concentration(rows, 1, "off-diagonal").c_intra.item() == pytest.approx(math.sqrt(0.5))


def random_case(seed: int, tokens: int = 9, features: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    hidden = torch.tensor(rng.normal(size=(2, tokens, features)))
    prefix = torch.zeros(2, tokens, dtype=torch.bool)
    question = torch.zeros(2, tokens, dtype=torch.bool)
    prefix[:, :3], question[0, 3:8], question[1, 3:5] = True, True, True
    return hidden, prefix, question


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_equals_the_double_sum_in_float64(seed):
    hidden, prefix, question = random_case(seed)
    result = angle_concentration(hidden, prefix, question)
    for row in range(2):
        intra, inter = double_sum(hidden[row].numpy(), prefix[row].numpy(), question[row].numpy())
        assert result.c_intra[row].item() == pytest.approx(intra, abs=1e-12)
        assert result.c_inter[row].item() == pytest.approx(inter, abs=1e-12)


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_is_unchanged_when_hidden_states_are_rotated_or_scaled(seed, scale):
    hidden, prefix, question = random_case(seed)
    rotation = torch.linalg.qr(torch.tensor(np.random.default_rng(seed + 1).normal(size=(5, 5)))).Q
    token_scale = scale * torch.arange(1, 10, dtype=torch.float64)[None, :, None]
    before = angle_concentration(hidden, prefix, question)
    after = angle_concentration(hidden @ rotation * token_scale, prefix, question)
    torch.testing.assert_close(tuple(after), tuple(before), rtol=1e-9, atol=1e-9)


def test_is_unchanged_by_padding_on_either_side():
    hidden, prefix, question = random_case(0)
    before = angle_concentration(hidden, prefix, question)
    pad = (4, 2)
    masks = [torch.nn.functional.pad(mask, pad) for mask in (prefix, question)]
    padded = torch.nn.functional.pad(hidden, (0, 0, *pad), value=7.0)
    torch.testing.assert_close(tuple(angle_concentration(padded, *masks)), tuple(before))


def test_bf16_is_summed_in_fp32():
    hidden, prefix, question = random_case(0)
    low = hidden.to(torch.bfloat16)
    result = angle_concentration(low, prefix, question)
    assert result.c_intra.dtype == torch.float32
    torch.testing.assert_close(result.c_intra, angle_concentration(low.float(), prefix, question).c_intra)


def test_unknown_definition_lists_the_valid_ones():
    with pytest.raises(InputError, match="unknown definition 'x'; valid: off-diagonal, paper"):
        concentration([[1, 0], [0, 1]], 1, "x")


def test_empty_spans_are_refused():
    with pytest.raises(ValueError, match="1 question token"):
        concentration([[1, 0], [0, 1]], prefix=2)
    with pytest.raises(ValueError, match="2 question token"):
        concentration([[1, 0], [0, 1]], 1, "off-diagonal")


@pytest.mark.parametrize(("tokens", "released"), [(250, 3.14), (400, 2.06), (1024, 0.96)])
def test_released_falls_with_length_where_every_cosine_is_one_half(tokens, released):
    hidden = torch.eye(tokens + 1, dtype=torch.float64)[None, 1:]
    hidden[:, :, 0] = 1  # any two of these vectors have cosine 1/2
    result = released_concentration(hidden, torch.tensor([tokens]))
    assert result.angle.item() == pytest.approx(released, abs=0.005)
    index = torch.arange(tokens)[None]
    paper = angle_concentration(hidden, index < 110, (index >= 110) & (index < tokens - 6))
    assert paper.angle.item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("tokens", "intra", "inter"), [(116, False, False), (117, False, True), (233, True, True)])
def test_released_has_no_number_where_its_rows_run_out(tokens, intra, inter):
    result = released_concentration(torch.randn(1, tokens, 4), torch.tensor([tokens]))
    assert (not result.c_intra.isnan().item(), not result.c_inter.isnan().item()) == (intra, inter)


def test_released_ignores_padding_and_batch():
    hidden = torch.randn(2, 300, 4, dtype=torch.float64)
    together = released_concentration(hidden, torch.tensor([300, 250]))
    alone = released_concentration(hidden[1:, :250], torch.tensor([250]))
    assert together.angle[1].item() == pytest.approx(alone.angle.item())


def test_released_is_not_of_spans():
    with pytest.raises(InputError, match="orders problems only"):
        concentration([[1, 0], [1, 0]], 1, "released")
