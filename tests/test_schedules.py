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
from gainrl.runs import config
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
        (lambda: Uniform(np.zeros(3)).draw(2.5), "cannot draw 2.5 different problems"),
        (lambda: Uniform(np.zeros(3)).draw("3"), "cannot draw 3 different problems"),
        (lambda: Uniform(np.zeros(3)).draw(None), "cannot draw None different problems"),
        (lambda: Uniform(["a"]), "sort keys: numbers are needed"),
        (lambda: Uniform([[1], [1, 2]]), "sort keys: numbers are needed"),
        (lambda: Uniform([1.0], seed=-1), "seed is -1; it must be 0 or more"),
        (lambda: Gaussian([1.0], seed=1.5), "seed is 1.5; a whole number is needed"),
        (lambda: Gaussian([1.0, math.nan]), "1 of 2 sort keys are NaN"),
        (lambda: Gaussian([]), "one number per problem"),
        (lambda: Gaussian([1.0], sigma=0), "sigma is 0; it must be above 0"),
        (lambda: Gaussian([1.0], amplitude=-1), "amplitude is -1; it must be 0 or more, or None"),
        (lambda: Gaussian([1.0], angle_term="no"), "angle_term is 'no'; True or False is needed"),
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


OPTIONS = [
    (name, option, kind)
    for name in NAMES
    for option, (kind, _) in config._option_fields(SCHEDULES[name]).items()
    if kind in (int, float, float | None, str, bool)
]


@pytest.mark.parametrize(("name", "option", "kind"), OPTIONS)
def test_no_constructor_takes_an_option_of_another_type_or_without_bounds(name, option, kind):
    wrong = [1.5, None] if kind in (str, bool) else [math.nan, math.inf, -1e308, True, "x"]
    for value in [*wrong, [], *[2.5] * (kind is int)]:
        with pytest.raises(InputError, match=f"{option} is "):
            SCHEDULES[name]([1.0, 2.0], **{option: value})


ROLLED = {0: Outcome(4, 2.0, 9)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("told_of", "message"),
    [
        ((math.nan, 0.3, ROLLED), r"accuracy is nan; it must lie in \[0, 1\]"),
        ((9.0, 0.3, ROLLED), r"accuracy is 9.0; it must lie in \[0, 1\]"),
        (("x", 0.3, ROLLED), "accuracy: numbers are needed"),
        ((0.5, math.nan, ROLLED), "angle is nan; it must be finite"),
        ((0.5, 0.3, {20: ROLLED[0]}), r"rows are \[20\]; whole numbers from 0 to 19"),
        ((0.5, 0.3, {}, {-1: ROLLED[0]}), r"rows are \[-1\]; whole numbers"),
        ((0.5, 0.3, {"a": ROLLED[0]}), r"rows are \['a'\]; whole numbers"),
        ((0.5, 0.3, {0: Outcome(4, 9.0, 9)}), r"row 0 has Outcome\(rollouts=4, correct=9.0"),
        ((0.5, 0.3, ROLLED, {1: Outcome(4, -1.0, 9)}), "row 1 has Outcome"),
        ((0.5, 0.3, {0: Outcome(4, math.nan, 9)}), "row 0 has Outcome"),
        ((0.5, 0.3, {0: Outcome(2.5, 1, 9)}), "row 0 has Outcome"),
        ((0.5, 0.3, {0: Outcome(math.inf, 1, 9)}), "row 0 has Outcome"),
        ((0.5, 0.3, {0: Outcome("x", 1, 9)}), "outcomes: numbers are needed"),
        ((0.5, 0.3, {0: (4, 2.0)}), "row 0 has"),
    ],
)
def test_feedback_that_cannot_be_is_refused_and_nothing_is_learnt(name, told_of, message):
    schedule = make(name, 20)
    schedule.draw(4)
    before = copy.deepcopy(schedule.state_dict())
    with pytest.raises(InputError, match=message):
        schedule.observe(Feedback(*told_of))
    np.testing.assert_equal(schedule.state_dict(), before)


def test_a_schedule_that_is_written_elsewhere_is_checked_as_well():
    class Counting(Uniform):
        def __init__(self, size, *, share: float = 0.5):
            super().__init__(np.zeros(size))
            self.heard = []

        def observe(self, feedback):
            super().observe(feedback)
            self.heard.append(feedback.accuracy)

    with pytest.raises(InputError, match="share is nan"):
        Counting(3, share=math.nan)
    schedule = Counting(3)
    with pytest.raises(InputError, match="rows are"):
        schedule.observe(Feedback(0.5, None, {3: ROLLED[0]}))
    schedule.observe(Feedback(0.5, None, ROLLED))
    assert schedule.heard == [0.5]


@pytest.mark.parametrize("name", NAMES)
def test_a_state_lacks_nothing(name):
    saved, schedule = make(name, 20).state_dict(), make(name, 20)
    for field in saved:
        with pytest.raises(InputError, match=f"the state lacks {field}; take one that"):
            schedule.load_state_dict({key: value for key, value in saved.items() if key != field})
    for state in ([1], None):
        with pytest.raises(InputError, match="a schedule's state is a mapping"):
            schedule.load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gaussian", {"rng": 5}, "the state's rng is not a generator's state"),
        ("gaussian", {"rng": {"bit_generator": "MT19937"}}, "the state's rng is not a generator's state"),
        ("gaussian", {"mu": "abc"}, "the state's mu is 'abc'; a number is needed"),
        ("gaussian", {"mu": None}, "the state's mu is 'None'; a number is needed"),
        ("gaussian", {"mu": math.nan}, "the state's mu is not finite"),
        ("uniform", {"queue": [99, 3, 4]}, r"the state's queue are \[99, 3, 4\]; whole numbers from 0 to 19"),
        ("uniform", {"queue": [-1]}, "whole numbers from 0 to 19"),
        ("uniform", {"queue": [1.5, 2.5]}, r"the state's queue is '\[1.5, 2.5\]'; an array of int64"),
        ("uniform", {"queue": "ab"}, "an array of int64 is needed"),
        ("uniform", {"queue": [[1], [1, 2]]}, "the state's queue"),
        ("uniform", {"queue": [[1, 2]]}, "the state's queue"),
        ("greso", {"queue": [20]}, "whole numbers from 0 to 19"),
        ("mopps", {"seen": [99]}, "whole numbers from 0 to 19"),
        ("mopps", {"seen": [3, 3], "successes": [1, 1], "failures": [1, 1]}, "seen is not ascending"),
        ("mopps", {"seen": [3], "successes": [math.nan], "failures": [1]}, "the state's successes is not finite"),
        ("mopps", {"seen": [3], "successes": [], "failures": [1]}, r"successes has shape \(0,\); \(1,\) is needed"),
        ("prior", {"precision": [1.0]}, r"precision has shape \(1,\)"),
        ("prior", {"shift": []}, r"shift has shape \(0,\)"),
        ("sec", {"value_K": [1.0]}, r"value_K has shape \(1,\); \(4,\) is needed"),
    ],
)
def test_a_state_that_was_never_saved_is_refused(name, changes, message):
    schedule = make(name, 20)
    with pytest.raises(InputError, match=message):
        schedule.load_state_dict({**schedule.state_dict(), **changes})


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
def test_state_that_a_checkpoint_keeps_is_taken_and_comes_back(memory):
    saved = json.loads(json.dumps(Careless([0], memory).state_dict(), default=np.ndarray.tolist))
    schedule = Careless([0], memory)
    schedule.load_state_dict(saved)
    np.testing.assert_equal(schedule.memory, memory)


@pytest.mark.parametrize(
    ("memory", "later"),
    [
        (None, 0.5),
        (0, 1.5),
        ([], [1]),
        (Counter(), {"a": 1}),
        (np.empty(0), np.arange(2.0)),
        (np.full(2, np.nan), np.array([1, np.nan])),
        (np.array(["a"]), np.array(["longer"])),
    ],
)
def test_what_a_field_has_become_comes_back(memory, later):
    schedule = Careless([0], memory)
    schedule.load_state_dict(Careless([0], later).state_dict())
    np.testing.assert_equal(schedule.memory, later)
