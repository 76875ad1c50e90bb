import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from analysis import patterns
from analysis.angle_gradient import (
    ANGLES,
    COLUMNS,
    FEATURES,
    PARTIALS,
    WEIGHTS,
    best_partial,
    correlations,
    find,
    markdown,
    spearman,
    verdict,
    with_token_sums,
)
from gainrl.errors import InputError
from gainrl.rng import generator
from paper_figures import angle_scatter, cosine_layers, layer_profile, rank_matrix, style, training_patterns

BOTH = "partial: log length and difficulty"
NORMS = ("gradient_model", "gradient_layer", "gradient_projection")
DASH = "–"  # noqa: RUF001


def measure(n=200, layers=1, losses=("supervised",), *, seed=0, direct=1.0, through_length=1.0, zeros=0.3):
    """Measurements in which the gradient follows the angle directly, through the length, both, or neither."""
    rng = np.random.default_rng(seed)
    tokens = np.exp(rng.normal(4, 0.6, n)).round().astype(int)
    length = (np.log(tokens) - np.log(tokens).mean()) / np.log(tokens).std()
    difficulty, signal = rng.integers(1, 5, n).astype(float), rng.normal(size=n)
    frames = []
    for layer in range(layers):
        off_diagonal = signal - through_length * length + 0.2 * rng.normal(size=n)
        c_inter = 0.5 * off_diagonal + 0.1 * rng.normal(size=n)
        for loss in losses:
            gradient = np.exp(direct * signal - through_length * length + 0.5 * rng.normal(size=n))
            if loss == "grpo":
                gradient[rng.random(n) < zeros] = 0.0
            noise = np.exp(0.1 * rng.normal(size=(2, n)))
            frames.append(pd.DataFrame({
                "problem_id": [f"p{i:04d}" for i in range(n)], "layer": layer, "loss": loss,
                "angle": off_diagonal + 1 / tokens, "c_intra": off_diagonal + 1 / tokens - c_inter, "c_inter": c_inter,
                "off_diagonal": off_diagonal, "question_tokens": tokens, "difficulty": difficulty,
                "pass_rate": rng.binomial(8, 0.5, n) / 8, "gradient_model": gradient,
                "gradient_layer": gradient * noise[0], "gradient_projection": gradient * noise[1],
            }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def with_tokens(measured, seed=1):
    """Completions of 5 to 60 tokens; the loss is their mean, so the gradient shrinks with their number."""
    ids = measured.problem_id.unique()
    number = dict(zip(ids, np.random.default_rng(seed).integers(5, 61, len(ids)).astype(float), strict=True))
    tokens = measured.problem_id.map(number)
    return measured.assign(completion_tokens=tokens, **{norm: measured[norm] / tokens for norm in NORMS})


def correlated(measured, **options):
    return correlations(measured, probed_layer=measured.layer.max(), **({"resamples": 100} | options))


def said(measured, **options):
    layer = int(measured.layer.max())
    return verdict(correlated(measured, **options), model="tiny", problems="sums", probed_layer=layer)


def residual(target, controls):
    design = np.column_stack([np.ones(len(target)), *controls])
    return target - design @ np.linalg.lstsq(design, target, rcond=None)[0]


def test_the_rank_correlation_is_spearmans():
    measured = with_token_sums(with_tokens(measure()))
    table = correlated(measured)
    for feature in FEATURES:
        for weights, column in WEIGHTS.items():
            found = find(table, "supervised", 0, feature, weights=weights)
            assert found.value == pytest.approx(scipy_stats.spearmanr(measured[feature], measured[column]).statistic)
            assert found.n == 200


@pytest.mark.parametrize(("statistic", "controls"), [
    ("partial: log length", ["question_tokens"]),
    ("partial: difficulty", ["difficulty"]),
    (BOTH, ["question_tokens", "difficulty"]),
    ("partial: completion tokens", ["completion_tokens"]),
    ("partial: log length, difficulty and completion tokens", ["question_tokens", "difficulty", "completion_tokens"]),
])  # fmt: skip
def test_the_partial_one_is_that_of_what_the_controls_leave_of_the_ranks(statistic, controls):
    measured = with_tokens(measure())
    table, ranks = correlated(measured), measured.select_dtypes("number").rank()
    held = [ranks[control].to_numpy() for control in controls]
    left = [residual(ranks[column].to_numpy(), held) for column in ("angle", "gradient_model")]
    assert find(table, "supervised", 0, statistic=statistic).value == pytest.approx(np.corrcoef(*left)[0, 1])
    for control in controls:
        assert find(table, "supervised", 0, control, statistic) is None


def test_a_correlation_that_is_the_completions_length_vanishes_when_that_is_held_fixed():
    measured = with_tokens(measure(400, direct=0, through_length=0, losses=("supervised", "grpo"), zeros=0.0))
    measured["angle"] = -measured.completion_tokens + 5 * np.random.default_rng(0).normal(size=len(measured))
    table = correlated(measured)
    assert find(table, "supervised", 0).value > 0.5
    assert abs(find(table, "supervised", 0, statistic="partial: completion tokens").value) < 0.15
    assert abs(best_partial(table, "supervised", 0)[1].value) < 0.15
    assert best_partial(table, "supervised", 0)[0] == "length, difficulty and completion tokens"
    assert best_partial(table, "supervised", 0, tokens=False)[0] == "length and difficulty"
    summed = find(table, "supervised", 0, weights="model, summed over tokens")
    assert abs(summed.value) < 0.15
    assert "for the loss summed over tokens it is indistinguishable from no relation".lower() in said(measured).lower()
    assert find(table, "grpo", 0, weights="model, summed over tokens") is None, (
        "completions of a group differ in length"
    )


def test_measurements_without_the_completions_length_are_read_as_before():
    measured = measure(layers=2)
    new = with_tokens(measured).assign(**{norm: measured[norm] for norm in NORMS})
    old, with_length = correlated(measured), correlated(new)
    assert "completion_tokens" not in set(old.feature)
    keys = [*COLUMNS[:6]]
    both = old.merge(with_length, on=keys, suffixes=("", "_new"))
    assert len(both) == len(old)
    assert (both.value - both.value_new).abs().max() < 1e-12


def test_intervals_are_those_of_drawing_problems_with_replacement():
    table = measure(30)[["angle", "difficulty", "gradient_model"]]
    counts = generator(3, "bootstrap").multinomial(30, np.full(30, 1 / 30), size=50)
    samples = [table.loc[np.repeat(np.arange(30), count)] for count in counts]
    drawn = [scipy_stats.spearmanr(sample.difficulty, sample.gradient_model).statistic for sample in samples]
    found = spearman(table, seed=3, resamples=50, confidence=0.8).iloc[-1]
    assert (found["first"], found.second) == ("difficulty", "gradient_model")
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.1, 0.9])))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth, hits = 6 / np.pi * np.arcsin(0.5 / 2), 0
    for seed in range(150):
        x, y = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], 80).T
        found = spearman(pd.DataFrame({"x": x, "y": y}), seed=seed, resamples=200, confidence=0.9).iloc[0]
        hits += found.low <= truth <= found.high
    assert 0.82 <= hits / 150 <= 0.96


def test_intervals_shrink_with_the_number_of_problems():
    few, many = (find(correlated(measure(n)), "supervised", 0) for n in (50, 800))
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert few.low < few.value < few.high


def test_pearson_is_with_the_logarithm_unless_a_norm_is_zero():
    measured = measure(losses=("supervised", "grpo"))
    table = correlated(measured)
    for loss, subset, scale in [
        ("supervised", "all", np.log),
        ("grpo", "non-zero", np.log),
        ("grpo", "all", np.asarray),
    ]:
        mine = measured[(measured.loss == loss) & ((subset == "all") | (measured.gradient_model > 0))]
        expected = np.corrcoef(mine.angle, scale(mine.gradient_model))[0, 1]
        assert find(table, loss, 0, statistic="pearson", subset=subset).value == pytest.approx(expected)


def test_zeros_stay_in_and_are_also_left_out():
    measured = measure(losses=("supervised", "grpo"))
    table = correlated(measured)
    positive = measured[(measured.loss == "grpo") & (measured.gradient_model > 0)]
    whole, part = find(table, "grpo", 0), find(table, "grpo", 0, subset="non-zero")
    assert (whole.n, part.n) == (200, len(positive))
    assert part.value == pytest.approx(scipy_stats.spearmanr(positive.angle, positive.gradient_model).statistic)
    assert set(table[table.loss == "supervised"].subset) == {"all"}
    assert f"Among the {len(positive)} problems whose gradient is not 0, it goes with it ({part})." in said(measured)


def test_a_loss_whose_gradients_are_all_zero_has_no_row():
    table = correlated(measure(losses=("supervised", "grpo"), zeros=1.1))
    assert set(table.loss) == {"supervised"}
    assert correlated(measure(losses=("grpo",), zeros=1.1)).empty
    text = said(measure(losses=("grpo",), zeros=1.1))
    assert text.endswith("undecided, for nothing could be correlated.")
    assert markdown(correlated(measure(losses=("grpo",), zeros=1.1)), text, ["a note"]) == f"{text}\n\n- a note\n"


def test_within_levels_undoes_simpsons_paradox():
    measured = measure(400, through_length=0.0, direct=-1.0)
    shift = 3 * measured.difficulty
    measured = measured.assign(angle=measured.angle + shift, gradient_model=measured.gradient_model * np.exp(shift))
    table = correlated(measured)
    assert find(table, "supervised", 0).low > 0.5
    assert find(table, "supervised", 0, statistic="within levels").high < -0.5
    assert "Within levels of difficulty the sign turns" in said(measured)
    assert "positive in 0 of 4 levels" in said(measured)


def test_within_levels_does_not_ask_for_one_scale_across_levels():
    measured = measure(400)
    skewed = measured.assign(gradient_model=measured.gradient_model**measured.difficulty * 10**measured.difficulty)
    one, other = (find(correlated(m), "supervised", 0, statistic="within levels") for m in (measured, skewed))
    assert one == pytest.approx(other)


def test_a_problem_counts_alike_in_a_small_level_and_in_a_large_one():
    measured = measure(200)
    measured["difficulty"] = np.where(np.arange(200) < 20, 1.0, 2.0)
    measured.loc[:19, "angle"] *= -1
    table = correlated(measured)
    small, large, pooled = (
        find(table, "supervised", 0, statistic=name).value for name in ("level 1", "level 2", "within levels")
    )
    assert small < -0.5 < 0.5 < large
    assert pooled == pytest.approx(0.1 * small + 0.9 * large, abs=1e-3)


def test_levels_are_correlated_alone_and_small_ones_not_at_all():
    measured = measure(200)
    measured.loc[:8, "difficulty"] = 9.0
    table, level = correlated(measured), measured[measured.difficulty == 2]
    expected = scipy_stats.spearmanr(level.angle, level.gradient_model).statistic
    assert find(table, "supervised", 0, statistic="level 2").value == pytest.approx(expected)
    assert find(table, "supervised", 0, statistic="level 9") is None
    assert find(table, "supervised", 0, statistic="within levels").n == 191
    assert find(table, "supervised", 0).n == 200


def test_other_layers_have_the_angles_and_what_is_left_without_the_controls():
    table = correlated(with_tokens(measure(layers=3)))
    other, probed = table[table.layer == 1], table[table.layer == 2]
    assert set(other.feature) == set(ANGLES)
    assert set(other.statistic) == {"spearman", *PARTIALS}
    assert set(probed.feature) == set(FEATURES)


def test_what_is_missing_or_constant_has_no_row():
    measured = measure().assign(difficulty=np.nan, pass_rate=0.5)
    table = correlated(measured)
    assert set(table.feature) == {*ANGLES, "question_tokens"}
    assert set(table.statistic) == {"spearman", "pearson", "partial: log length", "within lengths"}
    assert np.isfinite(table[["value", "low", "high"]]).all(axis=None)
    assert set(table.n) == {200}
    assert best_partial(table, "supervised", 0)[0] == "length"
    assert "Given length, it goes with it" in said(measured)
    assert "neither lengths nor difficulty could be held fixed" in said(measured.assign(question_tokens=50))


def test_problems_that_miss_a_feature_are_left_out_and_not_counted():
    measured = measure()
    measured.loc[:19, "pass_rate"] = np.nan
    measured.loc[20:29, "gradient_model"] = np.nan
    rest = measured.iloc[30:]
    found = find(correlated(measured), "supervised", 0)
    assert found.n == 170
    assert found.value == pytest.approx(scipy_stats.spearmanr(rest.angle, rest.gradient_model).statistic)


def test_too_few_problems_give_no_row():
    assert correlated(measure(9)).empty
    assert not correlated(measure(12)).empty


def test_the_seed_decides_and_the_order_of_rows_does_not():
    measured = measure(layers=2, losses=("supervised", "grpo"))
    table, other = correlated(measured), correlated(measured, seed=1)
    assert table.equals(correlated(measured.sample(frac=1, random_state=0)))
    assert table.value.equals(other.value)
    assert not table.low.equals(other.low)


def test_unusable_measurements_are_refused():
    with pytest.raises(InputError, match="layer 7 was not measured; measured: 0, 1"):
        correlations(measure(layers=2), probed_layer=7)
    with pytest.raises(InputError, match="unknown loss 'dpo'"):
        correlations(measure().assign(loss="dpo"), probed_layer=0)
    with pytest.raises(InputError, match="no column c_inter, gradient_layer"):
        correlations(measure().drop(columns=["gradient_layer", "c_inter"]), probed_layer=0)


def test_a_relation_through_length_alone_does_not_go_beyond_it():
    measured = measure(1000, direct=0.0)
    table = correlated(measured)
    assert find(table, "supervised", 0).low > 0.4
    assert abs(best_partial(table, "supervised", 0)[1].value) < 0.1
    text = said(measured)
    assert "Given length and difficulty, it is indistinguishable from no relation" in text
    assert "largest rank correlation is that of question length" in text
    assert text.endswith("for the supervised loss supported, but not beyond length and difficulty.")


@pytest.mark.parametrize(("direct", "through_length", "conclusion"), [
    (1.0, 0.0, "supported"),
    (1.0, 1.0, "supported"),
    (-1.0, 0.0, "contradicted"),
    (0.0, 0.0, "undecided"),
    (-0.7, 1.6, "undecided (the sign turns given length and difficulty)"),
])  # fmt: skip
def test_the_conclusion_follows_the_data(direct, through_length, conclusion):
    text = said(measure(1000, direct=direct, through_length=through_length))
    assert text.endswith(f"for the supervised loss {conclusion}.")
    assert text.startswith("1,000 problems of sums, one model (tiny), hidden states of layer 0")


def test_turning_the_angles_round_turns_the_words_round():
    measured = measure(losses=("supervised", "grpo"))
    turned = measured.assign(**{name: -measured[name] for name in ANGLES})
    text, opposite = said(measured), said(turned)
    assert text.count("the angle goes with it") == 2
    assert opposite.count("the angle runs against it") == 2
    assert text.endswith("for the supervised loss supported; for the GRPO loss supported.")
    assert opposite.endswith("for the supervised loss contradicted; for the GRPO loss contradicted.")


def test_a_sign_that_only_the_bias_makes_is_named():
    measured = measure(direct=1.0, through_length=0.0)
    assert "Without the i = j terms the sign stays" in said(measured)
    assert "Without the i = j terms the sign turns" in said(measured.assign(off_diagonal=-measured.angle))
    bowl = (measured.gradient_model.rank() - 100).abs()
    assert "Without the i = j terms no sign can be determined" in said(measured.assign(off_diagonal=bowl))


def cells(text, heading):
    """The rows of the first table below a heading that begins so, by their first two cells."""
    block = text.split(f"\n\n{heading}")[1].split("\n\n")[1]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
    return {tuple(row[:2]): dict(zip(lines[0], row, strict=True)) for row in lines[2:]}


def test_the_tables_show_every_statistic_and_a_dash_where_there_is_none():
    table = correlated(with_tokens(measure(layers=2, losses=("supervised", "grpo"))))
    text = markdown(table, "The verdict.", ["a note", "another"])
    assert text.startswith("The verdict.\n\n- a note\n- another\n\n")
    rows = cells(text, "## Supervised loss, layer 1: 200 problems")
    assert len(rows) == len(FEATURES) * len(WEIGHTS)
    assert rows["layer", "C_intra"]["spearman"] == str(find(table, "supervised", 1, "c_intra", weights="layer"))
    assert rows["model", "question length"]["partial: log length"] == DASH
    assert rows["model", "question length"]["partial: difficulty"] != DASH
    profile = cells(text, "## Rank correlation of the angle")
    assert profile["grpo", "non-zero"]["gradient of model"] == str(find(table, "grpo", 1, subset="non-zero"))
    assert "nan" not in text


def test_tables_without_difficulty():
    text = markdown(correlated(measure().assign(difficulty=np.nan)), "The verdict.")
    assert cells(text, "## Supervised loss")["model", "angle"][BOTH] == DASH
    assert "level 1" not in text


@pytest.mark.parametrize(("layers", "losses", "difficulty"), [(1, ["grpo"], False), (24, ["supervised", "grpo"], True)])
def test_the_figures_of_the_measurements(tmp_path, layers, losses, difficulty):
    measured = measure(60, layers, losses)
    if not difficulty:
        measured = measured.assign(difficulty=np.nan, pass_rate=1.0)
    probed, table = layers - 1, correlated(measured, resamples=20)

    scatter = angle_scatter.plot(angle_scatter.data(measured, probed), table)
    *panels, bar = scatter.axes
    assert len(panels) == len(losses)
    assert f"rank correlation {find(table, losses[0], probed)}" in panels[0].get_title("left")
    assert bar.get_ylabel() == ("difficulty (level)" if difficulty else "question length (tokens)")
    zeros = ((measured.loss == "grpo") & (measured.layer == probed) & (measured.gradient_model == 0)).sum()
    assert f"gradient exactly 0: {zeros} problems (GRPO loss)" in {t.get_text() for t in scatter.legends[0].get_texts()}

    profile = layer_profile.plot(layer_profile.data(table))
    assert len(profile.axes) == 2 * len(losses)
    controls = "length and difficulty" if difficulty else "length"
    names = ["angle", "C_intra", "C_inter", "angle without i = j", f"angle, given {controls}"]
    assert [text.get_text() for text in profile.legends[0].get_texts()] == names
    assert len(profile.axes[0].lines) >= 1 + len(names)

    matrix = rank_matrix.plot(rank_matrix.data(measured, probed, resamples=20))
    variables = (7 if difficulty else 5) + 3 * len(losses)
    assert len(matrix.axes[0].texts) == variables * (variables - 1) // 2
    for name, figure in {"scatter": scatter, "profile": profile, "matrix": matrix}.items():
        assert "60 problems" in figure.get_suptitle()
        style.save(figure, tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_a_loss_without_any_gradient_still_has_a_panel():
    measured = measure(60, losses=("supervised", "grpo"), zeros=1.1)
    figure = angle_scatter.plot(angle_scatter.data(measured, 0), correlated(measured))
    assert [ax.get_title("left").split("\n")[0] for ax in figure.axes[:2]] == ["Supervised loss", "GRPO loss"]
    assert "gradient exactly 0: 60 problems (GRPO loss)" in [text.get_text() for text in figure.legends[0].get_texts()]
    plt.close(figure)


def test_the_matrix_holds_the_rank_correlations():
    measured = measure(losses=("supervised", "grpo"))
    found = rank_matrix.data(measured, 0, resamples=20).set_index(["first", "second"]).value
    grpo = measured[measured.loss == "grpo"]
    expected = scipy_stats.spearmanr(grpo.question_tokens, grpo.gradient_layer).statistic
    assert found["question length", "|grad layer|, GRPO loss"] == pytest.approx(expected)


def test_cosines_of_one_prompt(tmp_path):
    unit = np.repeat(np.eye(3), [4, 6, 10], axis=0)
    cosines = dict.fromkeys(range(24), unit @ unit.T)
    segments = [("system", 0, 4), ("example", 4, 10), ("question", 10, 20)]
    assert cosine_layers.data({0: np.array([[1.0, 0.5], [0.5, 1.0]])}, [("all", 0, 2)]).cosine.item() == 0.5
    means = cosine_layers.data(cosines, segments).set_index(["layer", "first", "second"]).cosine
    assert means[5, "question", "question"] == 1
    assert means[5, "question", "system"] == 0
    assert len(means) == 24 * 6

    figure = cosine_layers.plot(cosines, segments, "tiny")
    *panels, bar = figure.axes
    assert [ax.get_title() for ax in panels] == [f"layer {layer}" for layer in cosine_layers.evenly(range(24))]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["system", "example", "question"]
    assert bar.get_ylabel() == "cosine"
    assert len(panels[0].lines) == 4
    style.save(figure, tmp_path / "cosines.png")
    assert (tmp_path / "cosines.png").stat().st_size > 10_000


@pytest.mark.parametrize(("number", "chosen"), [(1, [0]), (3, [0, 1, 2]), (11, [0, 2, 4, 6, 8, 10])])
def test_layers_are_chosen_evenly_with_both_ends(number, chosen):
    assert cosine_layers.evenly(range(number)) == chosen


def train(n=80, steps=(0, 10, 20, 30), *, rise=0.1, earlier=1.0):
    """A training in which c_intra rises, c_inter stays, and problems of high angle are solved earlier (or later).

    The neurons of problems that are solved early grow like the others'.
    """
    rng = np.random.default_rng(0)
    c_intra, c_inter = rng.normal(0.5, 0.05, n), rng.normal(0.3, 0.001, n)
    solved = (-earlier * (c_intra - 0.5) / 0.05 + 0.3 * rng.normal(size=n)) * 10 + 15
    frames = [
        pd.DataFrame({
            "step": step, "problem_id": [f"p{i:03d}" for i in range(n)], "c_intra": c_intra + rise * step / 30,
            "c_inter": c_inter + rng.normal(0, 0.01, n), "angle": c_intra + c_inter + rise * step / 30,
            "correct": (solved <= step).astype(int), "neuron_agreement": 0.5 - step / 30 * 0.001 * (solved - 40),
        })
        for step in steps
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def test_a_problem_is_solved_from_where_it_stays_solved():
    correct = {"always": [1, 1, 1], "relapsed": [1, 0, 1], "lost": [1, 1, 0], "never": [0, 0, 0], "late": [0, 1, 1]}
    frame = pd.DataFrame(
        [{"problem_id": name, "step": step, "correct": was} for name, row in correct.items()
         for step, was in zip((0, 50, 100), row, strict=True)]
    )  # fmt: skip
    assert patterns.solved_for_good(frame).to_dict() == {
        "always": 0, "relapsed": 100, "lost": 101, "never": 101, "late": 50
    }  # fmt: skip


def test_the_summary_of_a_training_and_its_words():
    frame = train()
    table = patterns.summary(frame).set_index("quantity")
    assert table.value["rise of c_intra"] == pytest.approx(0.1)
    assert table.low["rise of c_inter"] < 0 < table.high["rise of c_inter"]
    start = frame[frame.step == 0].set_index("problem_id").angle
    expected = scipy_stats.spearmanr(start, patterns.solved_for_good(frame)[start.index]).statistic
    assert table.value["angle and step solved"] == pytest.approx(expected)
    last = frame[frame.step == 30].set_index("problem_id").neuron_agreement
    expected = scipy_stats.spearmanr(last, patterns.solved_for_good(frame)[last.index]).statistic
    assert table.value["neuron_agreement and step solved"] == pytest.approx(expected)
    assert table.value["rise of neuron_agreement"] == pytest.approx((last - 0.5).mean())
    assert set(table.n) == {80}
    text = patterns.words(table.reset_index())
    assert "C_intra rises" in text
    assert "C_inter does not move significantly" in text
    assert "neuron agreement rises" in text
    assert "higher angle at the first step are solved for good earlier" in text
    assert "higher neuron agreement at the last step are solved for good earlier" in text

    opposite = patterns.words(patterns.summary(train(rise=-0.1, earlier=-1.0)))
    assert "C_intra falls" in opposite
    assert "solved for good later" in opposite


def test_a_training_of_one_step_says_nothing_of_rises():
    assert not patterns.summary(train(steps=(0,))).quantity.str.startswith("rise").any()


def test_the_figure_of_a_training(tmp_path):
    frame = train()
    data = training_patterns.data(frame)
    first = frame[frame.step == 0].set_index("problem_id").angle
    top = data[data.quarter == "highest quarter"].problem_id.unique()
    assert sorted(top) == sorted(first.nlargest(20).index)
    figure = training_patterns.plot(data)
    by_label = {ax.get_ylabel(): ax for ax in figure.axes}
    assert set(by_label) == {"C_intra", "C_inter", "neuron\nagreement", "accuracy, greedy (%)"}
    solved = frame[(frame.step == 30) & (frame.correct == 1)].problem_id
    assert set(data[data.end == "solved at the end"].problem_id) == set(solved)
    neurons = by_label["neuron\nagreement"].get_legend().get_texts()
    assert [text.get_text() for text in neurons] == ["solved at the end", "wrong at the end"]
    assert len(by_label["accuracy, greedy (%)"].collections) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(training_patterns.QUARTERS)
    assert "80 problems" in figure.get_suptitle()
    style.save(figure, tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 10_000


def test_the_interval_of_a_mean_over_pairs_is_that_of_resampled_problems():
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 1, (120, 1))  # the pairs' mean is one of products
    pairs = values @ values.T

    def mean_over_pairs(rows):
        return (pairs[np.ix_(rows, rows)].sum() - pairs[rows, rows].sum()) / (120 * 119)

    resampled = [mean_over_pairs(rng.integers(120, size=120)) for _ in range(4000)]
    each = (pairs.sum(1) - pairs.diagonal()) / 119
    pseudo = np.array(patterns._jackknifed(each.tolist()))
    assert pseudo.mean() == pytest.approx(mean_over_pairs(np.arange(120)))
    assert pseudo.std() / 120**0.5 == pytest.approx(np.std(resampled), rel=0.1)


def test_a_training_of_a_model_without_neurons_has_all_the_rest():
    frame = train().assign(neuron_agreement=np.nan)
    quantities = ["rise of c_intra", "rise of c_inter", "angle and step solved"]
    assert patterns.summary(frame).quantity.tolist() == quantities
    figure = training_patterns.plot(training_patterns.data(frame))
    assert {ax.get_ylabel() for ax in figure.axes} == {"C_intra", "C_inter", "accuracy, greedy (%)"}
