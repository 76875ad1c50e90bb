"""The selectors that learn from pass rates: each against its own rule, on histories made by hand."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom

from gainrl.errors import InputError
from gainrl.runs.config import ScheduleConfig
from gainrl.schedules import E2H, GRESO, SEC, Feedback, InSight, Learnability, MoPPS, Oracle, Outcome, Prior
from gainrl.schedules.levels import levels_of
from gainrl.schedules.prior import design, empirical_logit

correct_of_eight = st.lists(st.integers(0, 8), min_size=1, max_size=8)


def outcome(correct: int, rollouts: int = 8) -> Outcome:
    return Outcome(rollouts, float(correct), 10 * rollouts)


def observed(schedule, *histories: dict[int, int], rollouts: int = 8):
    """Each history is an epoch: row -> how many of its rollouts were correct."""
    for history in histories:
        schedule.observe(Feedback(0.5, None, {row: outcome(correct, rollouts) for row, correct in history.items()}))
    return schedule


def drawn(schedule, n: int, times: int) -> Counter[int]:
    """How often each row is drawn, with nothing observed in between."""
    return Counter(row for _ in range(times) for row in schedule.draw(n).tolist())


def test_what_was_thrown_away_is_learnt_from_as_well():
    feedback = Feedback(0.5, None, {1: outcome(4)}, {2: outcome(0)})
    assert feedback.sampled == {1: outcome(4), 2: outcome(0)}
    assert feedback.pass_rates == {1: 0.5}
    schedule = GRESO(np.zeros(4))
    schedule.observe(feedback)
    assert schedule.recall("hard", np.arange(4)).tolist() == [0, 0, 1, 0]


@given(history=correct_of_eight, decay=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_mopps_belief_follows_its_formula(history, decay):
    schedule, a, b = MoPPS(np.zeros(5), decay=decay, prior=1.5), 1.5, 1.5
    for correct in history:
        observed(schedule, {3: correct})
        a, b = decay * a + (1 - decay) * 1.5 + correct, decay * b + (1 - decay) * 1.5 + 8 - correct
    assert 1.5 + schedule.recall("successes", np.array([3, 4])) == pytest.approx([a, 1.5])
    assert 1.5 + schedule.recall("failures", np.array([3, 4])) == pytest.approx([b, 1.5])


def test_mopps_takes_what_it_believes_nearest_to_one_half():
    schedule = observed(MoPPS(np.zeros(60)), {row: 500 * (row % 3) for row in range(60)}, rollouts=1000)
    assert set(schedule.draw(20).tolist()) == set(range(1, 60, 3))
    small = observed(MoPPS(np.zeros(60), pool=1), {row: 500 * (row % 3) for row in range(60)}, rollouts=1000)
    assert len({row % 3 for row in small.draw(20).tolist()}) > 1, "a pool of n leaves nothing to choose"


@pytest.mark.parametrize(("a", "b", "rollouts"), [(8.0, 2.0, 1), (1.0, 1.0, 8), (3.5, 40.0, 8)])
def test_insight_ranks_by_information_times_weight(a, b, rollouts):
    def joint(correct: int, p: float) -> float:
        return binom.pmf(correct, rollouts, p) * beta.pdf(p, a, b)

    information = 0.0
    for correct in range(rollouts + 1):
        marginal = quad(lambda p, k=correct: joint(k, p), 0, 1)[0]
        information += quad(
            lambda p, k=correct, m=marginal: joint(k, p) * math.log(max(binom.pmf(k, rollouts, p), 1e-300) / m), 0, 1
        )[0]
    mean = a / (a + b)
    weight = mean * (1 - mean) * math.exp(-3 * (mean - 0.3) ** 2)
    ranked = InSight(np.zeros(3), rollouts=rollouts).rank(np.array([a]), np.array([b]))
    assert ranked == pytest.approx([-information * weight], rel=1e-5)


def test_insight_takes_the_uncertain_and_of_these_the_rather_hard():
    schedule = observed(InSight(np.zeros(4)), {0: 4, 1: 7, 2: 1})
    assert schedule.draw(1).tolist() == [3], "never sampled"
    assert set(schedule.draw(3).tolist()) == {0, 2, 3}, "of three that were sampled as often, not the easiest"


@given(history=correct_of_eight, rate=st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_learnability_is_a_moving_average(history, rate):
    schedule, p = Learnability(np.zeros(3), rate=rate, prior=0.3), 0.3
    for correct in history:
        observed(schedule, {1: correct})
        p = (1 - rate) * p + rate * correct / 8
    assert 0.3 + schedule.recall("excess", np.array([1, 2])) == pytest.approx([p, 0.3])


def test_learnability_draws_in_proportion_to_a_power_of_the_variance():
    schedule = observed(Learnability(np.zeros(3), rate=0.8, power=2), {0: 8, 1: 0})
    found = drawn(schedule, 1, 4_000)
    p = 0.2 * 0.5 + 0.8
    weight = np.array([(p * (1 - p)) ** 2, (p * (1 - p)) ** 2, 0.25**2])
    assert [found[row] / 4_000 for row in range(3)] == pytest.approx(weight / weight.sum(), abs=0.03)


def test_greso_skips_by_the_length_of_the_last_run_without_gradient():
    schedule = observed(GRESO(np.zeros(5)), {0: 8, 1: 0, 2: 8, 3: 4}, {0: 8, 1: 4, 2: 0})
    assert schedule._chance(np.arange(5)).tolist() == [0.25, 1, 0.5, 1, 1]
    for _ in range(10):
        observed(schedule, {0: 8})
    assert schedule._chance(np.array([0])).tolist() == [0.01]


def test_greso_adapts_its_probabilities_to_the_target_share_after_the_first_pass():
    schedule = GRESO(np.zeros(4), target=0.6)
    schedule.draw(4)
    observed(schedule, {0: 8, 1: 8, 2: 4, 3: 4})
    assert schedule.metrics() == {"p_easy": 0.5, "p_hard": 0.5}
    schedule.draw(4)
    observed(schedule, {0: 8, 1: 4, 2: 4, 3: 4})  # a quarter is easy: more than 0.2; none is hard: less than 0.4
    assert schedule.metrics() == pytest.approx({"p_easy": 0.49, "p_hard": 0.51})
    for _ in range(100):
        observed(schedule, {0: 8, 1: 0})
    assert schedule.metrics() == pytest.approx({"p_easy": 0.05, "p_hard": 0.05})


def test_greso_passes_over_the_set_and_skips_as_often_as_it_says():
    schedule = observed(GRESO(np.zeros(200)), dict.fromkeys(range(100), 0))
    found = drawn(schedule, 20, 400)
    ratio = sum(found[row] for row in range(100)) / sum(found[row] for row in range(100, 200))
    assert ratio == pytest.approx(0.5, abs=0.05)


def test_levels_are_the_different_keys_or_equal_parts():
    assert levels_of(np.array([30.0, 10, 30, 20]), 4).tolist() == [2, 0, 2, 1]
    assert levels_of(np.array([5.0, 1, 4, 2, 3, 0]), 3).tolist() == [2, 0, 2, 1, 1, 0]


@pytest.mark.parametrize(("t", "mu"), [(0, 0.0), (25, 1.5), (100, 3.0), (140, 3.0)])
def test_e2h_moves_by_time_alone_over_its_floor(t, mu):
    schedule = E2H(np.repeat([0.0, 10, 20, 30], 25), draws=100)
    for _ in range(t):
        observed(schedule, {0: 0})
    assert schedule.metrics() == {"level": mu}
    q = np.exp(-((np.arange(4) - mu) ** 2) / (2 * 0.5**2))
    expected = 0.1 + 0.6 * q / q.sum()
    assert schedule.probabilities() == pytest.approx(expected)
    found = drawn(schedule, 1, 2000)
    assert [sum(found[row] for row in range(25 * k, 25 * k + 25)) / 2000 for k in range(4)] == pytest.approx(
        expected, abs=0.04
    )


@given(history=correct_of_eight)
@settings(max_examples=30, deadline=None)
def test_sec_values_follow_the_mean_absolute_advantage(history):
    schedule, value = SEC(np.array([0.0, 0, 1, 1])), 0.0
    for correct in history:
        observed(schedule, {0: correct, 1: 8})
        rewards = np.array([1.0] * correct + [0.0] * (8 - correct))
        deviation = rewards.std()
        advantage = np.abs((rewards - rewards.mean()) / deviation).mean() if deviation else 0.0
        value = 0.5 * (advantage + 0.0) / 2 + 0.5 * value
    assert schedule.metrics() == pytest.approx({"value_0": value, "value_1": 0.0})
    preference = np.exp([value, 0.0])
    assert schedule.probabilities() == pytest.approx(preference / preference.sum())


def test_secs_arms_can_be_kinds():
    schedule = SEC(np.zeros(6), arms="kind")
    with pytest.raises(InputError, match=r"draws by the feature 'kind'; call tell"):
        schedule.draw(1)
    schedule.tell({"kind": ["sum", "sort", "sum", "sort", "sum", "count"]})
    observed(schedule, {1: 4, 3: 4})
    assert schedule.metrics() == {"value_0": 0.0, "value_1": 0.5, "value_2": 0.0}
    assert ScheduleConfig(name="sec", options={"arms": "kind"}).order is None


def test_the_prior_learns_from_features_what_to_expect_of_problems_it_never_saw():
    rng = np.random.default_rng(0)
    angle = rng.uniform(-1, 1, 2000)
    p = 1 / (1 + np.exp(-8 * (angle - 0.5)))  # half of the rollouts are right where the angle is 0.5
    schedule = Prior(np.zeros(2000), features="angle", spread=0.5)
    schedule.tell({"angle": angle})
    distance = []
    for _ in range(12):
        rows = schedule.draw(64)
        distance.append(np.abs(angle[rows] - 0.5).mean())
        observed(schedule, {int(row): int(rng.binomial(8, p[row])) for row in rows})
    assert distance[0] > 0.4
    assert np.mean(distance[-4:]) < 0.2


@given(history=st.lists(correct_of_eight, min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_the_priors_regression_is_the_one_of_all_observations_at_once(history):
    schedule = Prior(np.zeros(8), features="length", memory=1.0)
    length = np.arange(8.0)
    schedule.tell({"length": length})
    rows, logits, variances = [], [], []
    for epoch in history:
        observed(schedule, dict(enumerate(epoch)))
        y, v = empirical_logit(np.array(epoch, float), 8 - np.array(epoch, float))
        rows, logits, variances = [*rows, *range(len(epoch))], [*logits, *y], [*variances, *(v + 1.5**2)]
    x = np.stack([np.ones(8), (length - 3.5) / length.std()], axis=1)[rows]
    precision = np.eye(2) / 4 + x.T @ (x / np.array(variances)[:, None])
    assert schedule.precision.reshape(2, 2) == pytest.approx(precision, rel=1e-5, abs=1e-5)
    assert schedule.shift == pytest.approx(x.T @ (np.array(logits) / np.array(variances)), rel=1e-5, abs=1e-5)


def test_old_rollouts_lose_weight_for_the_prior():
    schedule = observed(Prior(np.zeros(3), features="none"), {0: 8}, {1: 8})
    assert schedule.recall("successes", np.arange(3)) == pytest.approx([0.97 * 8, 8, 0])


def test_features_are_standardised_numbers_and_a_row_a_kind():
    x_DN = design({"kind": np.array(["b", "a", "b"]), "length": np.array([1, 2, 3])}, 3)
    assert x_DN[:3].tolist() == [[1, 1, 1], [0, 1, 0], [1, 0, 1]]
    assert x_DN[3] == pytest.approx(np.array([-1, 0, 1]) * math.sqrt(1.5))


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: MoPPS([1.0], prior=0), "prior is 0 and decay is 1.0; prior must be above 0"),
        (lambda: MoPPS([1.0], pool=0), "pool is 0; it must be 1 or more"),
        (lambda: Learnability([1.0], rate=1.0), "rate is 1.0"),
        (lambda: GRESO([1.0], start=0.99), "start is 0.99, lowest 0.05, highest 0.95"),
        (lambda: GRESO([1.0], step=-1), "step is -1, redraws 10; both must be 0 or more"),
        (lambda: GRESO([1.0], redraws=-1), "redraws -1; both must be 0 or more"),
        (lambda: E2H([1.0], draws=0), "draws is 0"),
        (lambda: SEC([1.0], arms="kinds"), "unknown arms 'kinds'; valid: kind, order"),
        (lambda: SEC([1.0], temperature=0), "temperature 0"),
        (lambda: E2H([1.0], levels=0), "levels is 0"),
        (lambda: Prior([1.0], features="angle+size"), "unknown feature 'size'; valid: all, angle, kind"),
        (lambda: Prior([1.0], memory=0), "memory 0; all must be above 0"),
        (lambda: Prior([1.0], features="angle").draw(1), r"draws by the feature 'angle'; call tell"),
        (lambda: Prior([1.0]).tell({"length": [1]}), "needs the feature 'angle'; available: length"),
        (lambda: Prior([1.0], features="angle").tell({"angle": [1, 2]}), r"has shape \(2,\); 1 values are needed"),
        (lambda: Prior([1.0], features="angle").tell({"angle": [math.nan]}), "missing for 1 of 1 problems"),
        (lambda: Prior([1.0], features="kind").tell({"kind": [None]}), "missing for 1 of 1 problems"),
        (lambda: Prior([1.0], features="kind").tell({"kind": [{}]}), "feature 'kind' is mixed; a number or a name"),
        (lambda: Prior([1.0, 2], features="kind").tell({"kind": np.array(["a", 1], object)}), "'kind' is mixed"),
        (lambda: Prior([1.0, 2], features="angle").tell({"angle": [0, math.inf]}), r"'angle' is inf; at most 1e\+100"),
        (lambda: Prior([1.0, 2], features="level").tell({"level": [0, 1e308]}), r"is 1e\+308; at most 1e\+100"),
        (lambda: Prior([1.0, 2], features="level").tell({"level": [[0], [1, 2]]}), "'level' is uneven; 2 values are"),
        (lambda: Oracle([1.0]).measured([math.nan]), r"pass rates of shape \(1,\); 1 numbers in \[0, 1\] are needed"),
        (lambda: Oracle([1.0]).measured([0.5, 0.5]), r"pass rates of shape \(2,\); 1 numbers"),
        (lambda: Oracle([1.0]).measured(["a"]), "pass rates: numbers are needed"),
    ],
)
def test_bad_input_is_one_clear_line(make_it, message):
    with pytest.raises(InputError, match=message):
        make_it()
