import numpy as np
import pytest
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


def test_reached_is_the_first_evaluation_at_the_target():
    steps, accuracy = [0, 10, 20, 30], [0.2, 0.6, 0.5, 0.7]
    assert reached(accuracy, steps, 0.6) == Reached(10, False)
    assert reached(accuracy, steps, 0.65) == Reached(30, False)
    assert reached(accuracy, steps, 0.71) == Reached(30, True)


def test_interval_needs_three_seeds_and_is_seeded():
    assert summarize([1.0, 3.0]).low is None
    values = [1.0, 2.2, 4.1, 8.3, 9.7, 3.9]
    one, same = summarize(values), summarize(values)
    assert (one.low, one.high) == (same.low, same.high)
    assert (one.low, one.high) != (summarize(values, seed=1).low, summarize(values, seed=1).high)
    assert one.mean == pytest.approx(29.2 / 6)
    assert one.low < one.mean < one.high


def test_interval_is_close_to_the_normal_one_for_many_values():
    values = np.random.default_rng(0).normal(size=400)
    summary = summarize(values.tolist())
    low, high = scipy_stats.norm.interval(0.95, values.mean(), values.std(ddof=1) / 20)
    assert summary.low == pytest.approx(low, abs=0.01)
    assert summary.high == pytest.approx(high, abs=0.01)


def test_equal_values_give_an_interval_of_no_width():
    summary = summarize([5.0] * 4)
    assert (summary.low, summary.high) == (5.0, 5.0)


def runs(*costs: float) -> list[Reached]:
    """Negative ones are censored there."""
    return [Reached(abs(cost), cost < 0) for cost in costs]


def test_reached_by_a_running_mean_needs_all_of_its_evaluations():
    steps, accuracy = [0, 10, 20, 30], [0.9, 0.3, 0.8, 0.7]
    assert reached(accuracy, steps, 0.7) == Reached(0, False)
    assert reached(accuracy, steps, 0.7, window=2) == Reached(30, False)
    assert reached(accuracy, steps, 0.6, window=3) == Reached(20, False)
    assert reached(accuracy, steps, 0.7, window=4) == Reached(30, True)
    assert reached(accuracy, steps, 0.1, window=5) == Reached(30, True)
    assert reached([0.7] * 3, [1, 2, 3], 0.7, window=3) == Reached(3, False)


def test_the_interval_of_a_mean_is_scipys_at_the_expanded_level():
    values = [3.1, 4.7, 2.2, 5.9, 4.4, 3.8, 6.3, 2.9]
    level = 1 - 2 * scipy_stats.norm.cdf((8 / 7) ** 0.5 * scipy_stats.t.ppf(0.025, 7))
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=40_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval  # fmt: skip
    ours = summarize(values)
    assert ours.low == pytest.approx(theirs.low, abs=0.06)
    assert ours.high == pytest.approx(theirs.high, abs=0.06)


@pytest.mark.parametrize(
    ("seeds", "at_least", "at_most"), [(3, 0.72, 0.79), (5, 0.91, 0.95), (10, 0.92, 0.96), (20, 0.92, 0.97)]
)
def test_how_often_the_interval_holds_the_mean(seeds, at_least, at_most):
    """Of three seeds it is their range, which holds the mean of a symmetric distribution in 3 of 4 cases."""
    samples = generator(0, f"coverage of {seeds}").normal(size=(1000, seeds))
    summaries = [summarize(sample.tolist()) for sample in samples]
    assert at_least <= np.mean([one.low <= 0 <= one.high for one in summaries]) <= at_most


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
    slow_seed = runs(10, 100, 1000), runs(5, 50, 500)
    assert speed_up(*slow_seed).low == pytest.approx(2)  # pairing takes out what seeds share
    assert saved(*slow_seed).mean == pytest.approx(555 / 3)


def test_speed_up_with_censored_runs_is_a_bound_or_nothing():
    assert (speed_up(runs(-100), runs(50)).bound, speed_up(runs(-100), runs(50)).mean) == (">", pytest.approx(2))
    assert speed_up(runs(50), runs(-100)).bound == "<"
    assert speed_up(runs(-100), runs(-100)) is None
    assert saved(runs(-100), runs(-100)) is None
    assert speed_up(runs(-100, 50), runs(50, -100)).bound == "~"
    assert speed_up([], []) is None


def test_both_sides_are_compared_within_the_smaller_budget():
    within = speed_up(runs(80), runs(-40))
    assert within is None  # neither had reached it by 40
    shorter = saved(runs(20, 80), runs(10, -40))
    assert (shorter.mean, shorter.bound, shorter.censored) == (5, "~", 2)


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
    assert probability_of_improvement(method, baseline).mean == pytest.approx(np.mean(u))
    assert probability_of_improvement(baseline, baseline).mean == 0.5
    sure = probability_of_improvement(method + 10, baseline)
    assert (sure.mean, sure.low, sure.high) == (1, 1, 1)
    with pytest.raises(ValueError, match="same runs"):
        probability_of_improvement(method, baseline[:5])


def test_p_is_the_paired_t_tests():
    one, other = [3.0, 4.5, 2.0, 6.0], [2.0, 3.0, 2.5, 4.0]
    differences = np.subtract(one, other)
    assert paired_p(differences) == pytest.approx(scipy_stats.ttest_rel(one, other).pvalue)
    assert paired_p([1.0, 2.0]) is None
    assert paired_p([0.0, 0.0, 0.0]) == 1
    assert paired_p([5.0, 5.0, 5.0]) == 0.25


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_keeps_the_chance_of_a_false_finding():
    p = generator(0, "null").random((2000, 5))
    assert np.mean([min(holm(row)) < 0.05 for row in p]) == pytest.approx(0.05, abs=0.015)
