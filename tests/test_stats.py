import numpy as np
import pytest
from scipy import stats as scipy_stats

from gainrl.stats import Reached, reached, speed_up, summarize, summarize_reached


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


def test_a_censored_run_makes_the_mean_a_lower_bound():
    summary = summarize_reached([Reached(10, False), Reached(20, False), Reached(60, True)])
    assert (summary.mean, summary.bound, summary.censored, summary.low) == (30, ">", 1, None)


def test_speed_up_is_paired():
    base, method = [Reached(40, False), Reached(90, False)], [Reached(20, False), Reached(30, False)]
    assert speed_up(base, method).mean == pytest.approx((2 + 3) / 2)


def test_speed_up_with_censored_runs_is_a_bound_or_nothing():
    done, cut = Reached(50, False), Reached(100, True)
    assert speed_up([cut], [done]).bound == ">"
    assert speed_up([done], [cut]).bound == "<"
    assert speed_up([cut], [cut]) is None
    assert speed_up([cut, done], [done, cut]) is None
