import threading

import pytest

from gainrl.grading import Verdict, accuracy_reward, grade, last_boxed


@pytest.mark.parametrize(
    ("completion", "gold", "verdict"),
    [
        ("18 + 4 = 22 \\boxed{ 22 }", "22", Verdict(True, "match")),
        ("\\boxed{22}", "22.0", Verdict(True, "match")),
        ("\\boxed{1/2}", "\\frac{1}{2}", Verdict(True, "match")),
        ("\\boxed{\\frac{3}{6}}", "0.5", Verdict(True, "match")),
        ("first \\boxed{3}, no, \\boxed{4}", "4", Verdict(True, "match")),
        ("first \\boxed{4}, no, \\boxed{3}", "4", Verdict(False, "differs")),
        ("\\boxed{-4}", "4", Verdict(False, "differs")),
        ("\\boxed{x^2 + 2x + 1}", "(x+1)^2", Verdict(True, "match")),
        ("the answer is 22", "22", Verdict(False, "no_answer")),
        ("\\boxed{}", "22", Verdict(False, "no_answer")),
        ("\\boxed{22", "22", Verdict(False, "no_answer")),
    ],
)
def test_verdicts(completion, gold, verdict):
    assert grade(completion, gold) == verdict


def test_a_truncated_completion_without_answer_says_so():
    assert grade("18 + 4 =", "22", truncated=True) == Verdict(False, "truncated")
    assert grade("\\boxed{22} and", "22", truncated=True) == Verdict(True, "match")


def test_last_boxed_balances_braces():
    assert last_boxed("a \\boxed{\\frac{1}{2}} b") == "\\frac{1}{2}"
    assert last_boxed("\\boxed{1") is None


def test_grading_works_off_the_main_thread():
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.append(grade("\\boxed{123456}", "123456")))
    thread.start()
    thread.join()
    assert verdicts == [Verdict(True, "match")]


def test_the_reward_reads_texts_and_conversations():
    conversations = [[{"role": "assistant", "content": "\\boxed{1}"}], [{"role": "assistant", "content": "\\boxed{2}"}]]
    assert accuracy_reward(conversations, answer=["1", "1"], other=[0, 0]) == [1.0, 0.0]
    assert accuracy_reward(["\\boxed{1}"], answer=["1"]) == [1.0]
