"""The study of the signal on a real model: a whole small pass on a random tiny model, and its statistics on made data."""

import dataclasses
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from analysis.angle_gradient.bands import pointwise, simultaneous, simultaneous_correlations
from analysis.angle_gradient.resampling import Estimate, correlation, counts, products
from analysis.real_signal.layers import CONTROLS, PLAIN, TOGETHER, at, by_layer, chosen, clear, spans
from analysis.real_signal.orders import order_correlations, sort_keys
from analysis.real_signal.prediction import ADDED, TARGETS, against_last, out_of_fold, predictions
from analysis.real_signal.words import another_layer, correlation_holds, is_sort_by_length
from analysis.report import document
from experiments import load_study, real_signal, scales, study_names
from gainrl.cli import main, measuring
from gainrl.cli.measuring import PUBLISHED, measure
from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import Benchmark
from gainrl.problems import load_problems
from gainrl.problems.hub import HUB_SETS, load_hub
from gainrl.prompts import Prompt, encode_problems
from gainrl.runs.disclosure import require_no_text
from gainrl.runs.study import Measurement, Study
from gainrl.scoring import score_problems
from gainrl.studies.angle_gradient import stages
from gainrl.studies.real_signal import choose, likelihoods
from gainrl.studies.real_signal import stages as set_stages
from paper_figures import layer_bands, prediction_bars, style

SHARED = Path(__file__).parents[2] / "shared" / "data"


# The statistics, on made data whose answers are known


def made(n=300, layers=4, *, seed=0, direct=(0.0, 0.0, 0.8, 0.0), length=0.0):
    """(angles, gradients): the gradient follows the angle of some layers, and the completion's length as much as is asked."""
    rng = np.random.default_rng(seed)
    ids = [f"p{row:04d}" for row in range(n)]
    tokens, question, level = rng.integers(20, 300, n), rng.integers(10, 200, n), rng.integers(1, 6, n).astype(float)
    angle_LN = rng.normal(size=(layers, n)) - length * np.log(tokens)
    log_norm = sum(weight * angle for weight, angle in zip(direct, angle_LN, strict=False)) + 0.5 * rng.normal(size=n)
    angles = pd.DataFrame(
        [
            {
                "problem_id": name,
                "site": site,
                "layer": layer,
                "angle": value,
                "c_intra": value - 0.1,
                "c_inter": 0.1 * value,
            }
            for site in ("mlp_input", "residual")
            for layer in range(layers)
            for name, value in zip(ids, angle_LN[layer], strict=True)
        ]
    ).assign(question_tokens=lambda table: table.problem_id.map(dict(zip(ids, question, strict=True))))
    gradients = pd.DataFrame(
        {
            "problem_id": ids, "layer": 0, "loss": "supervised", "gradient_model": np.exp(log_norm) / tokens,
            "question_tokens": question, "difficulty": level, "completion_tokens": tokens.astype(float),
        }
    )  # fmt: skip
    return angles, gradients


def test_bands_hold_for_all_layers_together():
    """Nine layers that look alike and mean nothing, many times: all bands hold in about 95 %, single intervals in fewer."""
    together, alone, rng = [], [], np.random.default_rng(0)
    for seed in range(250):
        shared = rng.normal(size=(60, 1))
        values_NK = np.column_stack([shared + rng.normal(size=(60, 9)), rng.normal(size=60)])
        drawn_RK = correlation(products(values_NK, counts(60, seed, 120), ranked=True))[:, -1, :-1]
        band, single = simultaneous_correlations(drawn_RK[0], drawn_RK[1:]), pointwise(drawn_RK[1:])
        together.append(((band.low <= 0) & (band.high >= 0)).all())
        alone.append(((single.low <= 0) & (single.high >= 0)).all())
    assert 0.91 <= np.mean(together) <= 0.99
    assert np.mean(alone) < np.mean(together) - 0.05


def test_one_estimate_has_the_band_of_the_normal_and_a_constant_one_has_none():
    draws = np.random.default_rng(0).normal(2.0, 3.0, size=(20_000, 1))
    band = simultaneous(np.array([2.0]), draws)
    assert [band.low[0], band.high[0]] == pytest.approx([2 - 1.96 * 3, 2 + 1.96 * 3], abs=0.15)
    both = simultaneous(np.array([2.0, 7.0]), np.column_stack([draws, np.full(len(draws), 7.0)]))
    assert both.low[0] == pytest.approx(band.low[0])
    assert np.isnan([both.low[1], both.high[1]]).all()


def test_the_layer_that_carries_the_gradient_is_found_and_no_other():
    angles, gradients = made()
    table = by_layer(angles, gradients, resamples=200)
    for statistic in (PLAIN, "given question length", "given level", TOGETHER):
        assert clear(chosen(table, statistic, weights="sum")) == [2], statistic
    assert set(table.statistic) == {PLAIN, *(f"given {name}" for name in CONTROLS), TOGETHER}
    assert (table.band_high - table.band_low > table.high - table.low).mean() > 0.95
    assert set(table[table.feature != "angle"].site) == {"mlp_input"}


def test_a_correlation_that_is_the_completions_length_goes_when_that_is_held_fixed():
    angles, gradients = made(direct=(), length=2.0)
    table = by_layer(angles, gradients, resamples=200)
    assert clear(chosen(table, PLAIN)) == [0, 1, 2, 3]
    assert clear(chosen(table, TOGETHER)) == clear(chosen(table, TOGETHER), -1) == []
    said = correlation_holds({"sums": table}, {"sums": "Sums"}, "sums", 3)
    assert said.startswith("No: on 300 problems of Sums")
    assert "above 0 in layers 0 to 3 as it stands and in no layer given these" in said
    assert "these data show nothing of it that is not length or level" in said


def test_the_first_answer_follows_the_endpoints_interval():
    titles = {"a": "A", "b": "B"}
    tables = {name: by_layer(*made(direct=(0, 0, 0, sign)), resamples=100) for name, sign in (("a", 0.8), ("b", -0.8))}
    tables = {name: table[table.weights != "x"].assign(weights=table.weights.replace({"sum": "mean", "mean": "sum"}))
              for name, table in tables.items()}  # fmt: skip
    yes, turned = (correlation_holds(tables, titles, name, 3) for name in ("a", "b"))
    assert yes.startswith("Yes: ")
    assert "it is not length or level alone in any layer that has it" in yes
    assert f"B {at(tables['b'], 3, TOGETHER)}" in yes
    assert turned.startswith("The other way round: ")
    assert "below 0 given these in layer 3" in turned


def test_a_level_that_there_is_not_is_not_held_fixed():
    angles, gradients = made(n=60)
    table = by_layer(angles, gradients.assign(difficulty=np.nan), resamples=50)
    assert set(chosen(table, TOGETHER).held) == {"question length, completion tokens"}
    assert chosen(table, "given level").empty
    assert at(table, 0, "given level") is None


def targets_of(ids, rate, gradient):
    return pd.DataFrame({"variance": rate * (1 - rate), "gradient": gradient, "pass_rate": rate}, index=ids)


def test_what_the_angle_adds_is_seen_where_it_adds_something():
    rng, ids = np.random.default_rng(0), [f"p{row}" for row in range(400)]
    angle, length, kind = rng.normal(size=400), rng.normal(size=400), rng.choice(["a", "b"], 400)
    features = pd.DataFrame({"angle": angle, "question_tokens": length, "kind": kind, "difficulty": np.nan}, index=ids)
    rate = np.clip(np.round(4 + 2 * (kind == "a") - length), 0, 8) / 8
    table = predictions(features, targets_of(ids, rate, np.exp(angle + length)), resamples=200).set_index(
        ["target", "features"]
    )
    assert table.loc[("gradient", ADDED), "low"] > 0.3
    assert table.loc[("pass_rate", ADDED), "low"] < 0.005
    assert (
        table.loc[("pass_rate", "all without angle"), "value"]
        > table.loc[("pass_rate", "question length"), "low"]
        > 0.3
    )
    assert abs(table.loc[("pass_rate", "angle"), "value"]) < 0.05
    assert ("gradient", "level") not in table.index


def test_nothing_is_predicted_from_noise_and_monotone_relations_of_any_form_are():
    rng = np.random.default_rng(0)
    noise, target = pd.DataFrame({"x": rng.normal(size=300)}), pd.Series(rng.normal(size=300))
    own, mean = out_of_fold(noise, target, 10, 0).sum(axis=1)
    assert -0.03 < 1 - own / mean < 0.01
    own, mean = out_of_fold(pd.DataFrame({"x": np.exp(5 * target)}), target, 10, 0).sum(axis=1)
    assert 1 - own / mean > 0.999
    with pytest.raises(InputError, match="15 problems are too few for 10 folds; at least 20 are needed"):
        out_of_fold(noise.head(15), target.head(15), 10, 0)


def test_another_layer_is_better_only_where_its_band_says_so():
    rng, ids = np.random.default_rng(0), [f"p{row}" for row in range(300)]
    wide = pd.DataFrame(rng.normal(size=(300, 5)), index=ids)
    rate = np.clip(np.round(2 + wide[1].to_numpy()), 0, 4) / 8  # p(1-p) rises with p below a half
    both = against_last(wide, targets_of(ids, rate, np.exp(wide[1])), resamples=200)
    assert set(both.layer) == {0, 1, 2, 3}
    assert set(both.target) == set(TARGETS)
    assert another_layer(both, 4).startswith("Yes, layer 1: ")
    one = against_last(wide, targets_of(ids, rate, rng.normal(size=300)), resamples=200)
    assert another_layer(one, 4).startswith("For one of two targets: ")
    none = against_last(wide[[0, 2, 4]], targets_of(ids, rate, np.exp(wide[1])), resamples=200)
    assert another_layer(none, 4).startswith("No: ")
    assert "p(1-p) better in no layer" in another_layer(none, 4)
    assert another_layer(both.head(0), 4) == "Not answered: nothing could be correlated."


def test_the_releases_order_is_seen_to_be_a_sort_by_length():
    angles, _ = made(n=80)
    by_id = angles.drop_duplicates("problem_id")
    problems = pd.DataFrame({
        "problem_id": by_id.problem_id, "question_tokens": by_id.question_tokens, "difficulty": np.nan,
        "completion_tokens": 1.0, "released": np.where(by_id.question_tokens > 60, -by_id.question_tokens, np.nan),
    })  # fmt: skip
    keys = sort_keys(problems, angles, "mlp_input", (1,))
    assert [name for name in keys if name.startswith("angle, layer")] == [f"angle, layer {n}" for n in range(4)]
    assert (keys.released[keys["question length"] <= 60] == keys.released.max()).all()  # NaN come first
    table = order_correlations(keys, resamples=50).set_index(["first", "second"])
    pair = table.loc[("released", "question length")]
    assert (pair.value < -0.9, pair.kendall < -0.8) == (True, True)
    assert not {"level", "completion tokens"} & {*table.index.get_level_values(0), *table.index.get_level_values(1)}


def test_figures_show_every_control_and_site_and_what_the_angle_adds():
    angles, gradients = made(n=60)
    frame = layer_bands.data(by_layer(angles, gradients, resamples=50).query("weights == 'mean'"))
    figure = layer_bands.plot(frame, title="Sums")
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title("left") for ax in shown] == [PLAIN, *(f"given {name}" for name in CONTROLS), TOGETHER]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["MLP input", "residual stream"]
    assert "60 problems" in figure.get_suptitle()
    rng, ids = np.random.default_rng(0), [f"p{row}" for row in range(60)]
    features = pd.DataFrame({"angle": rng.normal(size=60), "question_tokens": rng.normal(size=60)}, index=ids)
    table = predictions(features, targets_of(ids, rng.random(60), rng.random(60)), resamples=50)
    figure = prediction_bars.plot(prediction_bars.data(table))
    assert [ax.get_title("left") for ax in figure.axes] == list(TARGETS.values())
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["angle", "question length", "all without angle", "all with angle", ADDED]
    plt.close("all")


def test_what_is_called_a_sort_by_length():
    limits = [(0.95, 0.9, 0.97), (-0.95, -0.97, -0.9), (0.95, 0.7, 0.97), (0.85, 0.81, 0.9)]
    assert [is_sort_by_length(Estimate(*limit, 100)) for limit in limits] == [True, True, False, False]
    assert not is_sort_by_length(None)


def test_layers_in_words():
    assert spans([3, 4, 5, 7, 9, 10]) == "3 to 5, 7, 9 to 10"
    assert spans([]) == ""


# The pass over the problems


def test_all_sites_are_scored_in_one_pass(tiny, problems):
    sites = ("mlp_input", "neurons", "residual", "final_norm")
    together = score_problems(tiny.model, tiny.tokenizer, problems, layers="all", sites=sites)
    assert len(together.table) == len(problems) * 7
    for site in sites:
        signal = stages.SignalConfig(site=site)
        alone = score_problems(
            tiny.model, tiny.tokenizer, problems, signal=signal, layers=[-1] if site == "final_norm" else "all"
        )
        mine = together.at_site(site)
        assert mine.metadata == alone.metadata
        pd.testing.assert_frame_equal(mine.table, alone.table, atol=1e-6)
    with pytest.raises(InputError, match="no scores of site x; available: mlp_input, neurons"):
        together.at_site("x")
    with pytest.raises(InputError, match="take one of them with at_site"):
        together.at_layer(0)


def test_likelihoods_are_those_of_a_plain_forward_pass(tiny, problems):
    table = likelihoods(tiny.model, tiny.tokenizer, problems, batch_tokens=200)
    assert list(table.problem_id) == problems.ids
    for row in (0, 7):
        problem = problems.problems[row]
        (prompt,) = encode_problems(tiny.tokenizer, [problem], Prompt())
        gold = [*tiny.tokenizer(problem.gold_completion)["input_ids"], tiny.tokenizer.eos_token_id][:8]
        ids = torch.tensor([[*prompt.ids.tolist(), *gold]])
        with torch.no_grad():
            logp = tiny.model(ids).logits[0].double().log_softmax(-1)
        entropy = -(logp.exp() * logp).sum(-1)
        question = range(prompt.prefix_tokens, prompt.question_end)
        first = len(prompt.ids) - 1
        expected = [
            np.mean([float(logp[t - 1, ids[0, t]]) for t in question]),
            float(entropy[first]),
            float(entropy[first : first + len(gold)].mean()),
        ]
        assert table.iloc[row, 1:].tolist() == pytest.approx(expected, abs=1e-5)


# Which problems


def test_the_studys_sets_are_there_and_its_scale_is_small():
    assert study_names() == ["real_signal"]
    assert scales("real_signal") == ("small",)
    study = load_study("real_signal", "small")
    sizes = {name: (one.skip, one.size, one.samples) for name, one in study.measurements.items()}
    assert sizes == {
        "gsm8k": (160, 1000, 0),
        "olympiadbench": (0, 600, 0),
        "math": (0, 1000, 0),
        "humaneval": (0, 164, 0),
        "skills": (0, 600, 8),
    }
    assert [one.problems for one in study.measurements.values() if one.files and one.problems not in HUB_SETS] == []
    assert study.sites == ("mlp_input", "neurons", "residual", "final_norm")
    with pytest.raises(InputError, match="unknown problem set of real_signal 'x'; valid: gsm8k"):
        study.measurement("x")
    with pytest.raises(InputError, match="unknown study 'x'"):
        load_study("x", "small")


def rows_of(n, first=0):
    return [
        {"problem": f"Tom has {k} ducks and {k + 2} eggs. How many?", "answer": str(2 * k + 2), "type": "Algebra",
         "difficulty": float(1 + k % 5), "solution": f"{k} + {k + 2} = {2 * k + 2}" + " and so on" * (k % 4)}
        for k in range(first, first + n)
    ]  # fmt: skip


def test_long_problems_are_left_out_and_counted(tiny, tmp_path):
    rows = rows_of(6)
    rows[4]["solution"] = "1 + 1 = 2 " * 60
    without_answer = {"problem": "What is it?", "answer": None}
    (tmp_path / "sums.json").write_text(json.dumps([without_answer, *rows]))
    measurement = Measurement(title="Sums", problems="x", files=("sums",), skip=1, size=9, core_seconds=0)
    found = choose(measurement, tiny.tokenizer, longest=150, data_dir=tmp_path)
    assert (len(found.problems), found.too_long) == (4, 1)
    assert [problem.kind for problem in found.problems.problems] == ["Algebra"] * 4
    with pytest.raises(InputError, match="every problem of sums.json has more than 5 tokens"):
        choose(measurement, tiny.tokenizer, longest=5, data_dir=tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"benchmark Sums: .* holds none of sums.json, sums.jsonl, sums.parquet"):
        choose(measurement, tiny.tokenizer, longest=150, data_dir=tmp_path / "none")
    with pytest.raises(InputError, match="sums.json holds 6 problems; the first 160 are left out"):
        choose(measurement.model_copy(update={"skip": 160}), tiny.tokenizer, longest=150, data_dir=tmp_path)


def test_a_random_choice_is_seeded_and_no_more_than_there_are(tiny, tmp_path):
    (tmp_path / "sums.json").write_text(json.dumps(rows_of(30)))
    measurement = Measurement(title="Sums", problems="x", files=("sums",), size=10, at_random=True, core_seconds=0)
    first, again, other = (
        choose(measurement, tiny.tokenizer, longest=400, data_dir=tmp_path, seed=seed).problems.ids
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(set(first)) == 10


@pytest.mark.skipif(not SHARED.exists(), reason="the benchmarks' files are not beside the repository")
@pytest.mark.parametrize("name", ["gsm8k", "olympiadbench", "math"])
def test_the_sets_files_have_worked_solutions_or_levels(name):
    measurement = load_study("real_signal", "small").measurement(name)
    problems = Benchmark(measurement.title, measurement.problems, measurement.files).load(
        SHARED, drop_null_answers=True
    )
    assert len(problems) >= measurement.skip + measurement.size
    with_solution = sum(problem.solution is not None for problem in problems.problems)
    assert with_solution == (0 if name == "math" else len(problems))
    assert (name == "math") == ({"level", "kind"} <= set(problems.features()))


# A whole study


@pytest.fixture
def study(folder, monkeypatch):
    """A study of the random tiny model on a file of sums and on generated arithmetic, of which it solves some."""
    (folder / "data").mkdir()
    (folder / "data" / "sums.json").write_text(json.dumps(rows_of(24)))
    sampled = stages.sample_completions
    monkeypatch.setattr(stages, "sample_completions", lambda *args, **kwargs: rewarded(sampled(*args, **kwargs)))
    plan = Study(
        name="real_signal", title="The signal on a real model", model=str(folder / "model"), folds=3, resamples=30,
        measurements={
            "gsm8k": Measurement(title="Sums", problems="gsm8k-test", files=("sums",), skip=2, size=20, core_seconds=1),
            "skills": Measurement(title="arithmetic", problems="arithmetic", size=20, samples=4, max_completion_tokens=4,
                                  core_seconds=1),
        },
        primary="gsm8k", scheduled="skills",
    )  # fmt: skip
    monkeypatch.setattr(real_signal, "study", lambda scale: plan)
    monkeypatch.setattr(style, "save_all", stand_in)  # figures are drawn in a test of their own
    return plan


def stand_in(figure, stem: Path) -> None:
    plt.close(figure)
    for suffix in ("svg", "png"):
        stem.with_suffix(f".{suffix}").write_bytes(b"<svg/>")


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr(measuring, "_figures", lambda study, found: {})


def rewarded(rollouts: pd.DataFrame) -> pd.DataFrame:
    """A random model solves nothing; give it some answers."""
    number = pd.factorize(rollouts.problem_id)[0] % 5
    return rollouts.assign(correct=rollouts["sample"] < number)


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["gainrl", *words])
    main()


def files_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_study_is_measured_reported_and_published_without_a_question(study, folder, monkeypatch, capsys):
    command(monkeypatch, "reproduce", "real_signal", "--scale", "small", "--data-dir", "data")
    told, out = capsys.readouterr().out, folder / "runs" / "small" / "real_signal"
    report = (out / "report.md").read_text()
    heading, first, second = report.split("\n\n")[1:4]
    assert heading == "## In two sentences"
    assert first.startswith(("**Yes: on 20", "**No: on 20", "**The other way round: on 20"))
    assert "measured against the angle of the last layer (1)" in second
    assert first.strip("*") in told
    assert "trial" not in report.lower()
    layers = pd.read_parquet(out / "layers.parquet")
    assert set(layers.site) == set(study.sites)
    assert set(layers.loc[layers.set == "skills", "loss"]) == {"supervised", "grpo"}
    problems = pd.read_parquet(out / "problems.parquet")
    assert problems.groupby("set").size().to_dict() == {"gsm8k": 20, "skills": 20}
    assert problems.pass_rate[problems.set == "skills"].between(0, 1).all()
    page = (out / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == len(list(out.glob("*.svg"))) >= 8
    assert "<table>" in page

    command(monkeypatch, "publish", "real_signal")
    published = folder / "results" / "real_signal"
    names = {path.name for path in published.iterdir()}
    assert set(PUBLISHED) <= names
    assert {path.suffix for path in published.iterdir()} == {".md", ".html", ".json", ".parquet", ".csv", ".png"}
    texts = [path.read_text() for path in published.iterdir() if path.suffix in (".md", ".html", ".json", ".csv")]
    tables = [pd.read_parquet(path).to_csv() for path in published.glob("*.parquet")]
    assert [text[:40] for text in texts + tables if "ducks" in text] == []
    assert "--data-dir" not in (published / "measurement.json").read_text()


def test_a_study_that_was_killed_resumes_stage_by_stage(study, without_figures, folder, monkeypatch):
    root, done = folder / "runs" / "small", []
    for stage, module in (("likelihoods", set_stages), ("measure", stages)):
        whole = getattr(module, stage)

        def killed(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(module, stage, killed)
        with pytest.raises(KeyboardInterrupt):
            measure(study, root, folder / "data")
        monkeypatch.setattr(module, stage, whole)
        done.append({path.name for path in (root / "real_signal" / "gsm8k").iterdir()})
    assert {"sites.parquet", "released.parquet"} <= done[0]
    assert "likelihoods.parquet" in done[1] - done[0]
    before = files_of(root / "real_signal" / "gsm8k")
    measure(study, root, folder / "data")
    after = files_of(root / "real_signal" / "gsm8k")
    assert {path: content for path, content in after.items() if path in before} == before
    assert {path.name for path in after.keys() - before.keys()} == {"measured.parquet", "parts.parquet"}

    monkeypatch.setattr(set_stages, "score_problems", killed)
    monkeypatch.setattr(stages, "measure", killed)
    tables = {name: (root / "real_signal" / name).read_bytes() for name in PUBLISHED if name != "report.html"}
    measure(study, root, folder / "data")  # from what is kept
    assert {name: (root / "real_signal" / name).read_bytes() for name in tables} == tables

    (folder / "data" / "sums.json").write_text(json.dumps(rows_of(24, first=1)))
    with pytest.raises(InputError, match=r"gsm8k holds a measurement with other settings \(problem_set differ"):
        measure(study, root, folder / "data")


def test_a_trial_is_marked_and_kept_apart(study, without_figures, folder, monkeypatch, capsys):
    command(monkeypatch, "reproduce", "real_signal", "--scale", "small", "--data-dir", "data", "--limit", "12")
    root = folder / "runs" / "small"
    assert [path.name for path in root.iterdir() if path.name.startswith("real")] == ["real_signal-trial"]
    report = (root / "real_signal-trial" / "report.md").read_text()
    assert report.startswith("# Trial: ")
    assert "It answers nothing." in report
    capsys.readouterr()
    with pytest.raises(SystemExit):
        command(monkeypatch, "publish", "real_signal")
    assert "gainrl reproduce real_signal first" in capsys.readouterr().err
    with pytest.raises(InputError, match="gsm8k has 5 problems; at least 6 are needed"):
        measure(study.trial(5).model_copy(update={"name": "other"}), root, folder / "data")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reproduce", "real_signal", "--scale", "small", "--seeds", "3"], "real_signal trains nothing; valid with it"),
        (["reproduce", "real_signal"], "unknown scale of real_signal 'tiny'; valid: small"),
        (["reproduce", "quickstart", "--limit", "3"], "--limit is for studies, --data-dir for these and main_table"),
        (["table", "real_signal", "--scale", "small"], "real_signal is a study that trains nothing; valid"),
        (["figure", "real_signal", "--scale", "small"], "real_signal is a study that trains nothing"),
        (["report", "real_signal", "--scale", "small"], "real_signal is a study that trains nothing"),
        (["train", "real_signal", "--cell", "gsm8k", "--scale", "small"], "real_signal is a study that trains nothing"),
        (["show", "real_signal", "--cell", "x", "--scale", "small"], "unknown problem set of real_signal 'x'"),
    ],
)  # fmt: skip
def test_commands_that_do_not_fit_a_study_say_so_in_one_line(words, said, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        command(monkeypatch, *words)
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_study_is_listed_shown_and_planned(monkeypatch, capsys):
    command(monkeypatch, "list")
    assert (
        "real_signal (small): The signal on a real model\n    sets: gsm8k, olympiadbench, math, humaneval, skills"
        in capsys.readouterr().out
    )
    command(monkeypatch, "show", "real_signal", "--cell", "gsm8k", "--scale", "small")
    assert "  skip: 160\n  size: 1000\n" in capsys.readouterr().out
    command(monkeypatch, "reproduce", "real_signal", "--scale", "small", "--dry-run")
    told = capsys.readouterr().out
    assert "to do" in told
    assert "core-hours on a CPU; nothing is trained" in told


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("report.md", "As in Tom has 3 ducks\nand 5 eggs. How many?"),
        ("report.html", "<p>Is &quot;2 &lt; 3&quot; true, and why is it so? And what</p>"),
        ("table.csv", 'id,q\n1,"Is ""2 < 3"" true, and why is it so? And what"\n'),
        ("settings.json", json.dumps({"q": 'Is "2 < 3" true, and why is it so? And what'})),
    ],
)
def test_what_holds_a_question_is_not_published(tmp_path, name, text):
    questions = ["Tom has 3 ducks and 5 eggs. How many?", 'Is "2 < 3" true, and why is it so? And what if it were not?']
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"{name} holds the text of a problem"):
        require_no_text(tmp_path, questions)
    (tmp_path / name).write_text("{}" if name.endswith("json") else "Tom has ducks")
    require_no_text(tmp_path, questions)
    pd.DataFrame({"problem_id": ["a"], "note": ["word " * 20]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="t.parquet holds a text that is neither name nor id"):
        require_no_text(tmp_path, questions)


def test_a_reports_page_needs_nothing_beside_it():
    page = document(
        "A <report>",
        "# Title\n\n**No: 1 < 2.**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n![one](one.png)\n",
        {"one": b"<svg/>"},
    )
    assert "<title>A &lt;report&gt;</title>" in page
    assert "1 &lt; 2" in page
    assert "<td>1</td>" in page
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in page
    assert "one.png" not in page


def test_hub_sets_have_their_worked_solutions(tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "How many?", "answer": "First 3.\n#### 1,203"}) + "\n")
    hub = dataclasses.replace(HUB_SETS["gsm8k-test"], path=str(tmp_path), config=None)
    assert load_hub("gsm8k-test", hub, None).problems[0].gold_completion == "First 3.\n#### 1,203 \\boxed{1,203}"
    (tmp_path / "olympiad.json").write_text(
        json.dumps([{"problem": "?", "answer": ["2"], "solution": ["So 2.", "Or 2."]}])
    )
    assert load_problems(str(tmp_path / "olympiad.json")).problems[0].solution == "So 2."
