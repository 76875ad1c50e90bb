import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gainrl.rng import generator
from gainrl.statistics import (
    Reached,
    holm,
    interquartile_mean,
    median_reached,
    paired_p,
    probability_of_improvement,
    reached,
    restricted_means,
    saved,
    speed_up,
    summarize,
    summarize_accuracy,
    summarize_reached,
)


def test_a_target_is_reached_where_the_line_between_two_evaluations_crosses_it():
    steps, accuracy = [0, 10, 20, 30], [0.2, 0.6, 0.5, 0.7]
    assert reached(accuracy, steps, 0.6) == Reached(10, False, evaluated=10, grid=10)
    assert reached(accuracy, steps, 0.4).at == pytest.approx(5)
    assert reached(accuracy, steps, 0.65) == Reached(pytest.approx(27.5), False, evaluated=30, grid=10)
    assert reached(accuracy, steps, 0.71) == Reached(30, True, evaluated=30)
    assert reached(accuracy, steps, 0.2) == Reached(0, False, evaluated=0)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=12),
    st.floats(0.01, 1),
    st.lists(st.integers(1, 9), min_size=12, max_size=12),
)
def test_a_crossing_lies_between_the_evaluations_around_it(accuracy, target, gaps):
    steps = np.cumsum([0, *gaps])[: len(accuracy)].tolist()
    run = reached(accuracy, steps, target)
    assert run.censored == (max(accuracy) < target - 1e-12)
    assert run.evaluated - run.grid <= run.at <= run.evaluated
    assert run.evaluated in steps


def test_the_crossing_of_a_curve_does_not_depend_on_the_grid_as_the_evaluation_does():
    """A run that learns at an even pace reaches 0.5 after 47 steps, however often it is evaluated."""
    coarse, fine = (list(range(0, 101, every)) for every in (10, 2))
    crossings = [reached([step / 94 for step in steps], steps, 0.5) for steps in (coarse, fine)]
    assert [run.at for run in crossings] == [pytest.approx(47)] * 2
    assert [run.evaluated for run in crossings] == [50, 48]


def test_an_interval_needs_three_seeds_and_is_seeded():
    assert summarize([1.0, 3.0]).low is None
    values = [1.0, 2.2, 4.1, 8.3, 9.7, 3.9, 5.5, 6.1, 2.8, 7.0]
    first, again, other = summarize(values), summarize(values), summarize(values, seed=1)
    assert first == again != other
    assert first.mean == pytest.approx(5.06)
    assert first.low < first.mean < first.high


def test_the_interval_of_few_seeds_is_students():
    values = [3.1, 4.7, 2.2, 5.9, 4.4]
    low, high = scipy_stats.t.interval(0.95, 4, np.mean(values), scipy_stats.sem(values))
    assert (summarize(values).low, summarize(values).high) == (pytest.approx(low), pytest.approx(high))


def test_an_interval_of_ten_seeds_that_mostly_agree_is_students():
    values = np.array([1023.0] * 8 + [898.0, 837.0])
    half, summary = scipy_stats.t.ppf(0.975, 9) * values.std(ddof=1) / 10**0.5, summarize(values.tolist())
    assert (summary.low, summary.high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_the_interval_of_ten_seeds_is_the_studentized_bootstraps():
    """Its ends are the mean minus quantiles of t over resamples, drawn here by another generator; skewed data skew it."""
    values = np.array([0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.9, 4.0])
    drawn = np.random.default_rng(5).choice(values, (40_000, 10))
    t = (drawn.mean(1) - values.mean()) / (drawn.std(1, ddof=1) / 10**0.5)
    high, low = np.quantile(t, [0.025, 0.975])
    error, summary = values.std(ddof=1) / 10**0.5, summarize(values.tolist())
    assert summary.low == pytest.approx(values.mean() - low * error, rel=0.03)
    assert summary.high == pytest.approx(values.mean() - high * error, rel=0.03)
    assert summary.high - summary.mean > 1.5 * (summary.mean - summary.low)


def test_interval_is_close_to_the_normal_one_for_many_values():
    values = np.random.default_rng(0).normal(size=400)
    summary = summarize(values.tolist())
    low, high = scipy_stats.norm.interval(0.95, values.mean(), values.std(ddof=1) / 20)
    assert summary.low == pytest.approx(low, abs=0.01)
    assert summary.high == pytest.approx(high, abs=0.01)


@pytest.mark.parametrize("seeds", [4, 12])
def test_no_interval_has_zero_width(seeds):
    equal = summarize([5.0] * seeds)
    assert (equal.low, equal.high) == (None, None)
    rounded = summarize([5.0] * seeds, rounding=0.5)
    assert rounded.low < 5 < rounded.high
    same = [Reached(20.0, False, 20.0, grid=5.0)] * seeds
    assert summarize_reached(same).low < 20 < summarize_reached(same).high
    ratio = speed_up(same, [Reached(25.0, False, 25.0, grid=5.0)] * seeds)
    assert ratio.mean == pytest.approx(0.8)
    assert ratio.low < 0.8 < ratio.high
    assert probability_of_improvement(([[1.0]] * seeds, [[0.0]] * seeds)).low is None


def runs(*costs: float) -> list[Reached]:
    """Negative ones are censored there."""
    return [Reached(abs(cost), cost < 0) for cost in costs]


def test_reached_by_a_running_mean_needs_all_of_its_evaluations():
    steps, accuracy = [0, 10, 20, 30], [0.9, 0.3, 0.8, 0.7]
    assert reached(accuracy, steps, 0.7) == Reached(0, False, evaluated=0)
    assert reached(accuracy, steps, 0.7, window=2) == Reached(pytest.approx(27.5), False, evaluated=30, grid=10)
    assert reached(accuracy, steps, 0.6, window=3) == Reached(20, False, evaluated=20)
    assert reached(accuracy, steps, 0.7, window=4) == Reached(30, True, evaluated=30)
    assert reached(accuracy, steps, 0.1, window=5) == Reached(30, True, evaluated=30)
    assert reached([0.7] * 3, [1, 2, 3], 0.7, window=3) == Reached(3, False, evaluated=3)


@pytest.mark.parametrize(("seeds", "at_least", "at_most"), [(3, 0.93, 0.97), (5, 0.93, 0.97), (10, 0.92, 0.97)])
def test_how_often_the_interval_holds_the_mean(seeds, at_least, at_most):
    samples = generator(0, f"coverage of {seeds}").normal(size=(600, seeds))
    summaries = [summarize(sample.tolist()) for sample in samples]
    assert at_least <= np.mean([summary.low <= 0 <= summary.high for summary in summaries]) <= at_most


@pytest.mark.parametrize("shared", [False, True])
def test_how_often_the_interval_holds_the_accuracy_of_all_problems(shared):
    """Seeds differ in ability, problems in difficulty; the truth is the accuracy on endless problems."""
    rng, held, seed_only, problems = generator(1, "coverage of accuracies"), [], [], 200
    for _ in range(300):
        easy_N = rng.normal(0, 1.5, problems)
        able_S = rng.normal(0, 0.05, 6)
        asked_SN = easy_N if shared else rng.normal(0, 1.5, (6, problems))
        accuracies = (rng.random((6, problems)) < 1 / (1 + np.exp(-asked_SN - able_S[:, None]))).mean(axis=1).tolist()
        both, plain = (
            summarize_accuracy(accuracies, binomial(accuracies, problems), shared=shared),
            summarize(accuracies),
        )
        held.append(both.low <= 0.5 <= both.high)
        seed_only.append(plain.low <= 0.5 <= plain.high)
    assert np.mean(held) >= (0.95 if shared else 0.88)
    assert np.mean(seed_only) < (0.85 if shared else 0.97)  # what leaving the problems out would cost


def binomial(accuracies: list[float], problems: int) -> list[float]:
    return [(p * (1 - p) / problems) ** 0.5 for p in accuracies]


def test_problems_that_seeds_share_widen_the_interval():
    accuracies = [0.70, 0.74, 0.71, 0.76, 0.72]
    plain, shared = summarize(accuracies), summarize_accuracy(accuracies, [0.03] * 5, shared=True)
    assert summarize_accuracy(accuracies, [0.03] * 5, shared=False) == plain
    assert shared.mean == plain.mean
    assert shared.high - shared.mean == pytest.approx(np.hypot(plain.high - plain.mean, 1.96 * 0.03), abs=1e-5)
    assert summarize_accuracy(accuracies, [0.0] * 5, shared=True) == plain
    assert summarize_accuracy([0.99] * 3, [0.1] * 3, shared=True).high == 1
    assert summarize_accuracy([0.5, 0.6], [0.1] * 2, shared=True).low is None


def test_a_censored_run_makes_the_mean_a_lower_bound():
    summary = summarize_reached(runs(10, 20, -60))
    assert (summary.mean, summary.bound, summary.censored) == (pytest.approx(30), ">", 1)
    never = summarize_reached(runs(-60, -60, -60))
    assert (never.mean, never.bound, never.low) == (60, ">", None)


def test_restricted_mean_and_median_of_hand_computed_runs():
    # 10, 20+, 30, 40+ : after 10 three of four are left, at 30 two are at risk: 3/4 * 1/2
    assert summarize_reached(runs(10, -20, 30, -40)).mean == pytest.approx(10 + 20 * 3 / 4 + 10 * 3 / 8)
    assert median_reached(runs(10, -20, 30, -40)).mean == 30
    assert median_reached(runs(10, 20, -30, -30)).mean == 20
    half = median_reached(runs(10, -30, -30))
    assert (half.mean, half.bound) == (30, ">")


def test_the_product_limit_is_scipys():
    rng = generator(0, "censored")
    at, censored = rng.integers(1, 12, 30).astype(float), rng.random(30) < 0.3
    curve = scipy_stats.ecdf(scipy_stats.CensoredData.right_censored(at, censored)).sf
    steps = np.append(curve.quantiles, at.max())
    area = steps[0] + np.sum(curve.probabilities * np.diff(steps))
    assert restricted_means(at[None], censored[None])[0] == pytest.approx(area)
    median = steps[np.flatnonzero(curve.probabilities <= 0.5)[0]]
    assert median_reached([Reached(*one) for one in zip(at, censored, strict=True)]).mean == median


def test_speed_up_is_paired_and_the_same_from_both_sides():
    base, method = runs(40, 90), runs(20, 30)
    assert speed_up(base, method).mean == pytest.approx((2 * 3) ** 0.5)
    assert speed_up(method, base).mean == pytest.approx((2 * 3) ** -0.5)
    assert saved(base, method).mean == 40
    slow_seed = runs(10, 101, 1000), runs(5, 50, 500)
    assert speed_up(*slow_seed).low > 1.9  # pairing takes out what seeds share
    assert saved(*slow_seed).mean == pytest.approx(556 / 3)


def test_speed_up_with_censored_runs_is_a_bound_or_nothing():
    assert (speed_up(runs(-100), runs(50)).bound, speed_up(runs(-100), runs(50)).mean) == (">", pytest.approx(2))
    assert speed_up(runs(50), runs(-100)).bound == "<"
    assert speed_up(runs(-100), runs(-100)) is None
    assert saved(runs(-100), runs(-100)) is None
    assert speed_up(runs(-100, 50), runs(50, -100)).bound == "~"
    assert speed_up([], []) is None


def test_each_pair_is_compared_within_its_own_smaller_budget():
    within = speed_up(runs(80), runs(-40))
    assert within is None  # neither had reached it by 40
    shorter = saved(runs(20, 80), runs(10, -40))
    assert (shorter.mean, shorter.bound, shorter.censored) == (5, "~", 2)
    own = saved(runs(100, 30), runs(60, -20))
    assert own.mean == 20, "the first pair is not cut at the second one's 20 steps"


def test_a_target_that_a_run_has_before_training_gives_no_ratio():
    assert speed_up([Reached(0.0, False, 0.0)], runs(5)) is None


def test_interquartile_mean_is_scipys_trimmed_mean():
    scores = generator(0, "scores").random((8, 3))
    summary = interquartile_mean(scores)
    assert summary.mean == pytest.approx(scipy_stats.trim_mean(scores.ravel(), 0.25))
    assert summary.low < summary.mean < summary.high
    assert interquartile_mean([[1, 2], [3, 100]]).mean == 2.5
    assert interquartile_mean(scores) == summary
    assert interquartile_mean(scores, seed=1).low != summary.low


def test_probability_of_improvement_is_mann_and_whitneys():
    rng = generator(0, "improvement")
    method, baseline = rng.integers(0, 9, (6, 2)), rng.integers(0, 9, (6, 2))
    u = [scipy_stats.mannwhitneyu(method[:, k], baseline[:, k]).statistic / 36 for k in range(2)]
    assert probability_of_improvement((method, baseline)).mean == pytest.approx(np.mean(u))
    assert probability_of_improvement((baseline, baseline)).mean == 0.5
    sure = probability_of_improvement((method + 10, baseline))
    assert (sure.mean, sure.low, sure.high) == (1, None, None)
    with pytest.raises(ValueError, match="same runs"):
        probability_of_improvement((method, baseline[:5]))


def test_strata_are_resampled_apart_and_together_say_more_than_one():
    rng = generator(0, "strata")
    first, second = rng.normal(0.6, 0.05, (8, 1)), rng.normal(0.7, 0.05, (8, 1))
    both = interquartile_mean(first, second)
    assert both.mean == pytest.approx(scipy_stats.trim_mean(np.vstack([first, second]).ravel(), 0.25))
    assert both.seeds == 8
    assert interquartile_mean(first, second[:5]).seeds == 5
    assert interquartile_mean(first, second[:2]).low is None, "no interval from fewer than three runs"
    baseline = rng.normal(0.6, 0.05, (8, 1))
    pairs = [(first, baseline), (second, baseline)]
    alone = [probability_of_improvement(pair).mean for pair in pairs]
    assert probability_of_improvement(*pairs).mean == pytest.approx(np.mean(alone))
    twins = [probability_of_improvement(*[pairs[0]] * number) for number in (1, 4)]
    assert twins[1].high - twins[1].low < 0.7 * (twins[0].high - twins[0].low), (
        "strata that share their draws gain nothing"
    )


def test_the_interval_over_strata_holds_as_often_as_it_should():
    rng, held = generator(0, "coverage over strata"), []
    for _ in range(40):
        found = interquartile_mean(*(rng.normal(0.5, 0.1, (5, 1)) for _ in range(3)))
        held.append(found.low <= 0.5 <= found.high)
    assert np.mean(held) >= 0.875


def test_p_is_that_of_scipys_exact_sign_flips():
    differences = [0.4, -0.1, 0.3, 0.9, 0.2, 0.0, -0.3, 0.5]
    theirs = scipy_stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert paired_p(differences) == pytest.approx(theirs.pvalue)
    assert paired_p([1.0] * 4) is None
    assert paired_p([0.0] * 5) == 1


@pytest.mark.parametrize(("pairs", "smallest"), [(5, 0.0625), (6, 0.03125), (10, 2 / 1024)])
def test_the_smallest_p_of_so_many_pairs(pairs, smallest):
    """Equal differences are no more convincing than any that have one sign."""
    assert paired_p([0.2] * pairs) == paired_p(np.linspace(0.1, 3, pairs).tolist()) == smallest


def test_a_false_star_is_as_rare_as_it_should_be_with_one_bad_seed_too():
    rng = generator(2, "one bad seed")
    samples = rng.normal(0, 0.2, (2000, 10)) * np.where(rng.random((2000, 10)) < 0.1, 8, 1)
    assert np.mean([paired_p(sample.tolist()) < 0.05 for sample in samples]) == pytest.approx(0.05, abs=0.015)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_keeps_the_chance_of_a_false_finding():
    p = generator(0, "null").random((2000, 5))
    assert np.mean([min(holm(row)) < 0.05 for row in p]) == pytest.approx(0.05, abs=0.015)
