import copy
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gainrl.errors import InputError
from gainrl.schedules import (
    SCHEDULES,
    AdaRFT,
    Feedback,
    Gaussian,
    GaussianByUpdate,
    Ordered,
    Outcome,
    Schedule,
    Uniform,
    sort_key,
)

NAMES = sorted(SCHEDULES)


def make(name: str, size: int, seed: int = 0) -> Schedule:
    keys = np.random.default_rng(seed).integers(0, 101, size)
    return told(SCHEDULES[name](keys, seed=seed))


def told(schedule: Schedule) -> Schedule:
    """The schedule with whatever it wants to know of the problems."""
    rows = np.arange(schedule.size)
    schedule.tell(
        {"angle": np.sin(rows), "length": rows % 17, "level": rows % 4, "kind": [f"kind {row % 3}" for row in rows]}
    )
    schedule.measured(rows % 9 / 8)
    return schedule


def feedback(accuracy: float, angle: float | None = 0.7, rows: Iterable[int] = ()) -> Feedback:
    """Eight rollouts for each row, of which about as many are correct as the accuracy says, some more and some fewer."""
    correct = {int(row): min(8, max(0, round(8 * accuracy) + int(row) % 5 - 2)) for row in rows}
    return Feedback(accuracy, angle, {row: Outcome(8, right, 80) for row, right in correct.items()})


accuracies = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@pytest.mark.parametrize("name", NAMES)
@given(size=st.integers(1, 60), data=st.data())
@settings(max_examples=30, deadline=None)
def test_no_problem_twice_inside_an_epoch(name, size, data):
    n = data.draw(st.integers(1, size))
    schedule = make(name, size)
    for accuracy in data.draw(accuracies):
        rows = schedule.draw(n)
        assert len(rows) == n == len(set(rows.tolist()))
        assert rows.min() >= 0
        assert rows.max() < size
        more = schedule.redraw(n, rows)
        assert len(more) <= n
        assert len(set(more.tolist())) == len(more)
        assert not set(more.tolist()) & set(rows.tolist())
        schedule.observe(feedback(accuracy, rows=rows))


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**31), history=accuracies)
@settings(max_examples=15, deadline=None)
def test_equal_seeds_give_equal_draws_and_others_do_not(name, seed, history):
    one, same = make(name, 200, seed), make(name, 200, seed)
    other = told(SCHEDULES[name](one.sort_key_N, seed=seed + 1))
    differs = False
    for accuracy in history:
        draws = [schedule.draw(20) for schedule in (one, same, other)]
        assert draws[0].tolist() == draws[1].tolist()
        differs |= draws[0].tolist() != draws[2].tolist()
        for schedule, rows in zip((one, same, other), draws, strict=True):
            schedule.observe(feedback(accuracy, rows=rows))
    assert differs or name == "ordered"


@pytest.mark.parametrize("name", NAMES)
@given(before=accuracies, after=accuracies)
@settings(max_examples=15, deadline=None)
def test_state_dict_goes_on_in_the_middle(name, before, after):
    schedule = make(name, 50)
    for accuracy in before:
        schedule.observe(feedback(accuracy, rows=schedule.draw(7)))
    state = json.loads(json.dumps(schedule.state_dict(), default=np.ndarray.tolist))
    resumed = make(name, 50)
    resumed.load_state_dict(state)
    assert resumed.metrics() == schedule.metrics()
    for accuracy in after:
        rows = schedule.draw(7)
        assert resumed.draw(7).tolist() == rows.tolist()
        for each in (resumed, schedule):
            each.observe(feedback(accuracy, rows=rows))


def test_state_of_another_order_is_refused():
    with pytest.raises(InputError, match="state belongs to schedule Gaussian/"):
        Gaussian([1, 2, 3]).load_state_dict(Gaussian([3, 2, 1]).state_dict())


@given(size=st.integers(1, 40), data=st.data())
@settings(max_examples=40, deadline=None)
def test_uniform_trains_every_problem_once_per_pass(size, data):
    n = data.draw(st.integers(1, size))
    schedule = Uniform(np.zeros(size), seed=1)
    drawn = np.concatenate([schedule.draw(n) for _ in range(math.ceil(3 * size / n))])
    for number in range(3):
        assert sorted(drawn[number * size : (number + 1) * size]) == list(range(size))


def test_ordered_walks_the_order_and_begins_again():
    schedule = Ordered([30, 10, 20, 0])
    assert schedule.draw(3).tolist() == [3, 1, 2]
    assert schedule.draw(3).tolist() == [0, 3, 1]
    assert schedule.ranks(np.array([0, 3])).tolist() == [3, 0]


def exact_sequences(weights: list[float], n: int) -> dict[tuple[int, ...], float]:
    """Probability of every sequence of n draws without replacement, one after the other."""
    result = {}
    for sequence in itertools.permutations(range(len(weights)), n):
        left, probability = sum(weights), 1.0
        for item in sequence:
            probability *= weights[item] / left
            left -= weights[item]
        result[sequence] = probability
    return result


def test_gaussian_draws_have_the_exact_distribution():
    mu, sigma, n, repeats = 1.3, 1.5, 2, 40_000
    schedule = Gaussian(np.arange(5), sigma=sigma)
    schedule.mu = mu
    counts = Counter(tuple(schedule.draw(n).tolist()) for _ in range(repeats))
    weights = [math.exp(-((rank - mu) ** 2) / (2 * sigma**2)) for rank in range(5)]
    exact = exact_sequences(weights, n)
    chi_square = sum((counts[s] - repeats * p) ** 2 / (repeats * p) for s, p in exact.items())
    assert chi_square < 50.8  # 99.99 % quantile of chi-square with 19 degrees of freedom


@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1e-6), (999.0, 1e-6), (500.0, 1e9), (0.0, 1e-300)])
def test_gaussian_draws_where_naive_probabilities_underflow(mu, sigma):
    schedule = Gaussian(np.arange(1000), sigma=sigma)
    schedule.mu = mu
    ranks = schedule.draw(50)
    assert len(set(ranks.tolist())) == 50
    if sigma < 1:  # the nearest ones, and no others
        assert set(ranks.tolist()) == set(range(50) if mu == 0 else range(950, 1000))


@given(
    history=st.lists(st.tuples(st.floats(0, 1), st.floats(-2, 2)), min_size=1, max_size=30), size=st.integers(1, 100)
)
@settings(max_examples=50, deadline=None)
def test_mu_stays_inside_the_order(history, size):
    schedule = Gaussian(np.arange(size), sigma=3)
    for accuracy, angle in history:
        schedule.draw(min(size, 10))
        schedule.observe(feedback(accuracy, angle))
        assert 0 <= schedule.metrics()["mu"] <= size - 1


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({}, 5 * math.tanh(2 * 0.25) + 5 * math.tanh(2 * 0.6)),
        ({"angle_term": False}, 5 * math.tanh(2 * 0.25)),
        ({"accuracy_term": False}, 5 * math.tanh(2 * 0.6)),
        ({"accuracy_term": False, "angle_term": False}, 0.0),
        ({"amplitude": 7.0}, 7 * math.tanh(2 * 0.25) + 7 * math.tanh(2 * 0.6)),
        ({"alpha": 1.0, "beta": 0.0}, 5 * math.tanh(0.75) + 5 * math.tanh(0.6)),
    ],
)
def test_gaussian_update_is_the_papers(options, step):
    schedule = Gaussian(np.arange(1000), **options)
    schedule.draw(10)
    schedule.observe(feedback(0.75, 0.6))
    assert schedule.mu == pytest.approx(step)
    assert schedule.wants_angle == options.get("angle_term", True)


def positions(update: str, history: list[tuple[float, float]], size: int = 1000) -> list[float]:
    """mu of every epoch's draw, of 10 problems, and of the one after the last feedback; the amplitude is 5."""
    schedule, found = GaussianByUpdate(np.arange(size), update=update), []
    for accuracy, angle in history:
        schedule.draw(10)
        found.append(schedule.mu)
        schedule.observe(feedback(accuracy, angle))
    return [*found, schedule.mu]


def test_the_papers_update_goes_back_when_accuracy_falls():
    first, second = 5 * math.tanh(1) + 5 * math.tanh(1.2), 5 * math.tanh(-1) + 5 * math.tanh(0.2)
    assert positions("paper", [(1, 0.6), (0, 0.1), (0, 0.1)]) == pytest.approx(
        [0, first, first + second, first + 2 * second]
    )
    assert second < 0


def test_released_trl_is_an_epoch_late_and_never_goes_back():
    first, second = 5 * math.tanh(1) + 5 * math.tanh(1.2), 5 * math.tanh(0.5) + 5 * math.tanh(1.2)
    history = [(1, 0.6), (0, 0.1), (0.75, 0.6), (0, 0)]
    assert positions("released-trl", history) == pytest.approx([0, 0, first, first, first + second])


def test_released_verl_halves_the_accuracy_and_never_goes_back():
    best, middle = 5 * math.tanh(1.2), 5 * math.tanh(2 * (0.25 - 0.5)) + 5 * math.tanh(1.2)
    history = [(1, 0.6), (0.5, 0.6), (0, 0.1)]  # at accuracy 1 its accuracy term is 0
    assert positions("released-verl", history) == pytest.approx([0, best, best + middle, best + middle])


@pytest.mark.parametrize("update", ["released-trl", "released-verl"])
def test_a_released_step_is_at_most_twice_the_amplitude_and_mu_stays_inside_the_order(update):
    schedule = GaussianByUpdate(np.arange(12), update=update, amplitude=3.0, alpha=100.0)
    at = []
    for _ in range(4):
        schedule.draw(4)
        at.append(schedule.mu)
        schedule.observe(feedback(1.0, 50.0))
    assert at == pytest.approx([0, 0, 6, 11] if update == "released-trl" else [0, 3, 6, 9])


def test_a_late_update_survives_a_resume():
    schedule, resumed = (GaussianByUpdate(np.arange(100), update="released-trl") for _ in range(2))
    schedule.draw(10)
    schedule.observe(feedback(1.0))
    resumed.load_state_dict(copy.deepcopy(schedule.state_dict()))
    for each in (schedule, resumed):
        each.draw(10)
        each.observe(feedback(1.0))
    assert resumed.mu == schedule.mu > 0


def test_ordered_can_walk_the_order_from_its_end():
    schedule = Ordered([30, 10, 20, 0], reverse=True)
    assert schedule.draw(3).tolist() == [0, 2, 1]
    assert schedule.draw(2).tolist() == [3, 0]
    assert schedule.ranks(np.array([0, 3])).tolist() == [3, 0]


def test_gaussian_without_the_angle_it_needs_says_so():
    schedule = Gaussian(np.arange(10))
    schedule.draw(2)
    with pytest.raises(ValueError, match="angle was not measured"):
        schedule.observe(feedback(0.5, None))


@given(history=accuracies)
@settings(max_examples=30, deadline=None)
def test_adarft_follows_its_formula_and_draws_the_nearest(history):
    difficulty = np.random.default_rng(0).uniform(0, 100, 80)
    schedule, target = AdaRFT(difficulty), 0.0
    for accuracy in history:
        rows = schedule.draw(10)
        distance = np.abs(difficulty - target)
        assert sorted(rows.tolist()) == sorted(np.argsort(distance)[:10].tolist())
        schedule.observe(feedback(accuracy))
        target = min(100.0, max(0.0, target + 50 * math.tanh(2 * (accuracy - 0.5))))
        assert schedule.metrics()["target"] == pytest.approx(target)


def test_adarft_draws_equal_difficulties_at_random():
    schedule = AdaRFT(np.zeros(100))
    assert set(schedule.draw(10).tolist()) != set(schedule.draw(10).tolist())


def test_sort_keys_put_the_right_end_first():
    columns = {"angle": [0.1, 0.9], "question_tokens": [5, 3], "difficulty": [50, 0]}
    assert sort_key("angle", columns, size=2).argmin() == 1
    assert sort_key("length", columns, size=2).argmin() == 1
    assert sort_key("difficulty", columns, size=2).argmin() == 1
    assert sorted(sort_key("random", {}, size=5, seed=3)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: Uniform(np.zeros(3)).draw(4), "cannot draw 4 different problems from a set of 3"),
        (lambda: Uniform(np.zeros(3)).draw(0), "choose 1 to 3"),
        (lambda: Gaussian([1.0, math.nan]), "1 of 2 sort keys are NaN"),
        (lambda: Gaussian([]), "one number per problem"),
        (lambda: Gaussian([1.0], sigma=0), "sigma is 0; it must be above 0"),
        (
            lambda: GaussianByUpdate([1.0], update="verl"),
            "unknown update 'verl'; valid: paper, released-trl, released-verl",
        ),
        (lambda: AdaRFT([5.0, 120.0]), r"1 difficulties lie outside \[0.0, 100.0\]"),
        (lambda: AdaRFT([5.0], start=-1), "start is -1"),
        (lambda: sort_key("size", {}, size=2), "unknown order 'size'; valid: angle, c_inter"),
        (lambda: sort_key("difficulty", {"angle": [1]}, size=1), "needs the column 'difficulty'; available: angle"),
        (lambda: sort_key("difficulty", {"difficulty": [1, math.nan]}, size=2), "1 of 2 are missing or not finite"),
    ],
)
def test_bad_input_is_one_clear_line(make_it, message):
    with pytest.raises(InputError, match=message):
        make_it()


class Careless(Uniform):
    """Draws what it is told to."""

    state_fields = ("queue", "memory")

    def __init__(self, rows, memory=None):
        super().__init__(np.zeros(8))
        self.rows, self.memory = rows, memory

    def _draw(self, n):
        return self.rows


@pytest.mark.parametrize("rows", [[0, 0, 1], [0, 1], [0, 1, 8], [-1, 0, 1], [0.0, 1.0, 2.0], [[0, 1, 2]], None])
def test_a_draw_that_is_not_n_different_rows_is_refused(rows):
    with pytest.raises(InputError, match=r"Careless\._draw\(3\) must return an array of 3 different rows, 0 to 7"):
        Careless(rows).draw(3)


def test_a_draw_may_be_a_list():
    assert Careless([3, 1, 2]).draw(3).tolist() == [3, 1, 2]


@pytest.mark.parametrize("memory", [{1: 2}, (1, 2), {1}, np.int64(1), [np.zeros(2)], np.array([object()])])
def test_state_that_a_checkpoint_would_change_is_refused(memory):
    with pytest.raises(InputError, match=r"Careless\.memory would not come back from a checkpoint as it is"):
        Careless([0], memory).state_dict()


@pytest.mark.parametrize("memory", [None, 1, 0.5, float("nan"), "a", [1, [2]], {"1": 2}, np.arange(3)])
def test_state_that_a_checkpoint_keeps_is_taken(memory):
    Careless([0], memory).state_dict()
