import itertools
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import datasets
import pandas as pd
import pytest

from gainrl.errors import InputError
from gainrl.grading import Gold, Verdict, accuracy_reward, grade, grade_batch, last_boxed, worker
from gainrl.grading.cage import confine
from gainrl.grading.notation import clean, number, quick_verdict
from gainrl.problems import load_problems

SHARED = Path(__file__).parents[2] / "shared" / "data"
SETS = ("math_train", "math_eval", "gsm8k_eval", "aime_eval", "amc_eval", "minerva_eval", "olympiad_bench")
MATCH, DIFFERS, TIMEOUT = Verdict(True, "match"), Verdict(False, "differs"), Verdict(False, "timeout")
START_SECONDS = 30
"""More than a new worker needs, on a machine that does other things."""

EQUAL = [
    ("22", "22"), ("22.0", "22"), ("022", "22"), ("142", "142.0"), ("25", "025"), ("1203", "1,203"),
    ("1{,}203", "1,203"), (r"1,\!203", "1203"), (r"\$1,203", "1203"), (r"\$18.90", "18.9"), ("-4", "-4"), ("+2", "2"),
    (".5", "0.5"), (r"\frac{3}{6}", "0.5"), ("1/2", r"\frac{1}{2}"), (r"\dfrac12", r"\frac{1}{2}"),
    (r"\tfrac{1}{2}", "1/2"), (r"-\frac{1}{2}", r"\frac{-1}{2}"), (r"\frac{1}{-2}", r"-\frac12"),
    ("0.333333", r"\frac13"), (r"2\frac{1}{4}", "2.25"), ("9/4", r"2\frac{1}{4}"), ("2 1/4", "9/4"),
    (r"\frac{270}7", r"\frac{270}{7}"), (r"\frac{\pi}{2}", r"\frac\pi 2"), (r"17\%", "0.17"), ("17", r"17\%"),
    ("17%", r"17\%"), ("0.17", r"17\%"), (r"\frac{5}{8}", r"62.5\%"), (r"5\text{ cm}", "5"), ("5", r"5\text{ cm}"),
    ("5 cm", r"5\text{ centimeters}"), (r"5\,\mathrm{cm}", r"5\text{ cm}"),
    (r"12\text{ cm}^2", r"12\text{ square cm}"), (r"12\text{ sq. units}", r"12 \text{ square units}"),
    (r"\$5", r"5 \text{ dollars}"), (r"80\text{ cents}", "80"), ("16", r"16\text{ daps}"), (r"60\text{ km/h}", "60"),
    ("90", r"90^\circ"), (r"90^{\circ}", r"90^\circ"), (r"90 \text{ degrees}", r"90^\circ"), ("90°", r"90^\circ"),
    ("Friday", r"\text{Friday}"), (r"\text{friday}", r"\text{Friday}"), (r"\text{E}", r"\text{(E)}"),
    ("E", r"\text{(E)}"), ("(E)", r"\text{(E)}"), (r"\textbf{(E)}", r"\text{(E)}"), ("4", r"\mbox{four}"),
    (r"\text{an ellipse}", r"\text{ellipse}"), (r"\text{Even}", r"\text{even}"), ("B, A", r"\text{A,B}"),
    ("1,3", "3,1"), (r"\{1,3\}", "1,3"), ("x=1, x=3", "1,3"), (r"x=1 \text{ or } x=3", "1,3"),
    (r"1 \text{ and } 3", "1,3"), (r"x \in \{1, 3\}", r"\{3,1\}"), (r"\pm 2", "2,-2"),
    (r"1\pm\sqrt{19}", r"1-\sqrt{19},1+\sqrt{19}"), ("-1,3,3", "3,-1,3"), ("(1, 2)", "(1,2)"),
    (r"\left(1,2\right)", "(1,2)"), ("(0.5,2)", r"\left(\frac12, 2\right)"), (r"[0,\infty)", r"[0, +\infty)"),
    (r"(-\infty,0)\cup(0,\infty)", r"(0,\infty) \cup (-\infty,0)"), (r"x \ge 2", r"x\geq2"), (r"2 \le x", r"x \ge 2"),
    (r"[2,\infty)", r"x \ge 2"), (r"\begin{bmatrix}1\\2\end{bmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    (r"\begin{pmatrix} 0.5 & 0 \\ 0 & 1 \end{pmatrix}", r"\begin{pmatrix} 1/2 & 0 \\ 0 & 1 \end{pmatrix}"),
    ("x=5", "5"), ("5", "x=5"), ("y = 2x+1", "2x+1"), ("f(x)=2x", "2x"), ("y=1+2x", "y=2x+1"),
    ("x^2+2x+1", "(x+1)^2"), (r"\sqrt{8}", r"2\sqrt{2}"), (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    (r"3\sqrt2", r"3\sqrt{2}"), ("x^{-1}", r"\frac{1}{x}"),
    ("e^{2x}", "(e^x)^2"), (r"\ln 4", r"2\ln 2"), (r"\sin^2 t", r"\sin^2 t "), (r"1-\cos^2 x", r"\sin^2 x"),
    (r"i\sqrt3+1", r"1+\sqrt{3}i"), ("3.89e-10", r"3.89 \times 10^{-10}"), (r"3.89\cdot10^{-10}", "3.89e-10"),
    (r"4.5 \times 10^{33}", "4.5e33"), (r"\frac{1}{10^{20}}", "10^{-20}"), ("12", "12_5"), ("12_{5}", "12_5"),
    ("8:34", r"8\!:\!34 \text{ p.m.}"), (r"8:34 \text{ PM}", r"8\!:\!34 \text{ p.m.}"), ("2:4", "1:2"),
    ("$22$", "22"), (r"\(22\)", "22"),
    (r"\frac23", r"\$\dfrac23 \approx \$0.67"), (r"56\%", r"0.56 = 56\%"), ("f(n)=n^2", "n^{2}"),
    ("10^{1/2}", r"\sqrt{10}"), (r"\lfloor n/2 \rfloor", r"\left\lfloor \frac{n}{2} \right\rfloor"),
    ("3:1", r"\frac{3}{1}"), ("-0", "0"), ("7,5", "(7,5)"), ("2+3=5", "5"),
    (r"-2 \le x \le 7", r"x \in [-2,7]"), ("[-80,82]", r"-80\leq g(x)\leq 82"), ("x>2", r"(2,\infty)"),
    (r"8.24\text{ miles per hour}", r"\approx 8.24 \text{ mph}"), (r"60\text{ km}/\text{h}", r"60\text{ km h}^{-1}"),
    (r"\text{5 cm}", r"5\text{ cm}"), ("17 percent", r"17\%"), ("5 cm²", r"5\text{ square cm}"), ("x²", "x^2"),
    (r"5 \text{ m/s}^2", "5 m/s^2"), (r"\$5 \text{ per hour}", "5"), (r"0.1\overline{6}", r"\frac16"), ("one", "1"),
    (r"\emptyset", r"\varnothing"), (r"\text{no solution}", r"\text{No solution}"), (r"\mathbf{2340}", "2340"),
]  # fmt: skip

DIFFERENT = [
    ("23", "22"), ("-4", "4"), ("220", "22"), ("1.203", "1,203"), ("2.2", "22"), (r"\frac{2}{3}", r"\frac{3}{2}"),
    (r"-\frac12", r"\frac12"), (r"\frac{1}{3}", "0.3"), ("0.33", r"\frac13"), (r"2\frac14", r"\frac{1}{2}"),
    ("21/4", "2 1/4"), (r"18\%", r"17\%"), ("0.18", r"17\%"), ("1.7", r"17\%"), (r"5\text{ m}", r"5\text{ cm}"),
    (r"5\text{ hours}", r"5\text{ minutes}"), (r"6\text{ cm}", r"5\text{ cm}"),
    (r"12\text{ cm}^3", r"12\text{ cm}^2"), (r"12\text{ cm}", r"12\text{ square cm}"),
    (r"80\text{ dollars}", r"80\text{ cents}"), (r"\$80", r"80\text{ cents}"), (r"90\text{ radians}", r"90^\circ"),
    (r"91^\circ", r"90^\circ"), (r"\text{Saturday}", r"\text{Friday}"), (r"\text{odd}", r"\text{even}"),
    ("D", r"\text{(E)}"), ("5", r"\mbox{four}"), (r"\text{CABD}", r"\text{CBAD}"), ("LQXS", "LQSX"),
    (r"\text{October 31}", r"\text{October 30}"), (r"\text{A}", r"\text{A,B}"), ("1", "1,3"), ("1,2,3", "1,3"),
    ("1,4", "1,3"), ("2,2", "2"), ("-1,3", "-1,3,3"), ("-1,-1,3", "-1,3,3"), ("2", "2,-2"), (r"\pm 2", "2"),
    (r"2\text{ or }3", "2"), ("(2,1)", "(1,2)"), ("(1,2,3)", "(1,2)"), ("[1,2]", "(1,2)"), ("[1,2)", "[1,2]"),
    (r"(2,\infty)", r"[2,\infty)"), ("x>2", r"x\ge2"), ("x<2", "x>2"), (r"(-\infty,2)", r"(2,\infty)"),
    (r"(1,2)\cup(3,4)", r"(1,2)\cup(3,5)"),
    (r"\begin{pmatrix}1\\3\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"), ("x=6", "5"), ("y=5", "x=5"),
    ("y=2x", "y=2x+1"), ("x+1", "x-1"), ("(x-1)^2", "(x+1)^2"), ("x^3", "x^2"), (r"\sqrt{3}", r"\sqrt{2}"),
    (r"2\sqrt3", r"3\sqrt2"), ("1.41", r"\sqrt2"), ("3.14", r"\pi"), (r"\frac{22}{7}", r"\pi"), ("2^{11}", "2^{10}"),
    ("e^{-x}", "e^x"), ("1-2i", "1+2i"), (r"\cos x", r"\sin x"), ("a-b", "b-a"),
    (r"1.326 \times 10^{-27}", r"1.325 \times 10^{-27}"), ("10^{-21}", "10^{-20}"), ("3.89e-10", "3.89e-11"),
    (r"7.4 \times 10^{-12}", r"7.4 \times 10^{-10}"), ("(10^{-9},1)", "(10^{-8},1)"), ("12_6", "12_5"),
    ("13_5", "12_5"), (r"8:34 \text{ a.m.}", r"8\!:\!34 \text{ p.m.}"),
    (r"8:35 \text{ p.m.}", r"8\!:\!34 \text{ p.m.}"), ("1:3", "3:1"), (r"\infty", r"-\infty"),
    (r"\text{undefined}", "0"), ("y", "x"), ("x_2", "x_1"), ("E_2", "E_1"),
    (r"\frac{dx}{dt}=kx", r"\frac{dx}{dt}=kx-a"), (r"2\frac{dM}{dt}=x", r"\frac{dM}{dt}=x"),
    (r"\gamma^2-2", r"\gamma^2-1"), ("1000000001", "1000000000"), ("24.311", "24.310"), ("0", "10^{-9}"),
    ("7,5", "(5,7)"), (r"\lceil n/2 \rceil", r"\lfloor n/2 \rfloor"), (r"\frac{1}{0}", "0"), ("m_p", "m_e"),
    (r"\frac{2}{3} \approx 0.67", r"\frac{3}{4}"), ("6=5", "5"),
    ("x>2", r"[2,\infty)"), ("2<x<3", "[2,3]"), (r"60\text{ km/min}", r"60\text{ km/h}"), (r"\text{5 m}", r"5\text{ cm}"),
    ("1950^\\circ F", "1950^\\circ C"), (r"5 \text{ m/s}^2", r"5\text{ m/s}"), (r"0.\overline{3}", "0.3"), ("two", "1"),
    (r"\text{none}", "0"), ("AB=4, CD=9", "AB=9, CD=4"),
]  # fmt: skip

UNFINISHED = [
    ("80 + 4 + 3 + 2", "89"), ("80+4+3+2 = ?", "89"), ("0+5", "5"), ("10-5", "5"), ("--5", "5"), (r"2\cdot 3", "6"),
    (r"2 \times 3", "6"), ("2*3", "6"), ("2(3)", "6"), ("(2)(3)", "6"), ("2^3", "8"), ("2^{10}", "1024"), ("5!", "120"),
    ("6!/5!", "6"), (r"\binom{5}{2}", "10"), (r"\max(35,30)", "35"), (r"\gcd(12,18)", "6"), ("|-5|", "5"),
    (r"\lfloor 5.5\rfloor", "5"), (r"\sum_{k=1}^{4} k", "10"), (r"\int_0^1 2x dx", "1"), (r"\log_2 8", "3"),
    (r"\sin 90^\circ", "1"), (r"\sqrt[3]{8}", "2"), (r"\sqrt{64}", "8"), (r"\sqrt{\sqrt{16}}", "2"), ("e^0", "1"),
    ("i^2", "-1"), ("5i^2", "-5"), ("5+0i", "5"), (r"\frac{80+9}{1}", "89"), (r"\left(80+9\right)", "89"),
    ("{80+9}", "89"), (r"\frac{4}{2}\cdot 1", "2"), (r"\frac{6}{2}\frac{2}{1}", "6"), (r"1\frac{2}{1}+1", "4"),
    ("x=6=5", "5"), ("x=2+3", "5"), ("2+3=2+3", "5"), ("7=5", "5"), ("5=6", "6"), ("2+4=5", "5"),
    (r"80+9 \text{ cm}", "89"), ("80+9", r"89\text{ cm}"), (r"\$(80+9)", r"\$89"), (r"80\%+9\%", r"89\%"),
    ("(1+1, 3)", "(2,3)"), (r"(\max(35,30), 3)", "(35,3)"), ("1+1, 3", "2,3"), (r"\{1+1, 3\}", "2,3"),
    ("[1+1,7]", "[2,7]"), (r"(-\infty, 1+1)", r"(-\infty,2)"), (r"(1+1,\frac{\pi}{2})", r"(2,\frac{\pi}{2})"),
    (r"\begin{pmatrix}1+1\\3\end{pmatrix}", r"\begin{pmatrix}2\\3\end{pmatrix}"), ("1+1", "x=2"),
    (r"\cos 45^\circ", r"\frac{\sqrt{2}}{2}"), (r"\arctan 1", r"\frac{\pi}{4}"), (r"\sum_{k=1}^n k", r"\frac{n(n+1)}{2}"),
    ("1+1", str(Gold(("2", "3")))), ("1+1, 3", str(Gold(("3", "2"), "all"))), ("4+0.2", str(Gold(("4.2",), tolerance=0.1))),
    ("4+0.2", str(Gold(("4.2",), unit="%"))), (r"4+4\text{ min}", str(Gold(("8",), unit="min"))),
]  # fmt: skip
"""Of the gold's value, but not a number as the gold is one: what a model gets by repeating the question."""

FINISHED = [
    ("x=5", "5"), (r"\frac{10}{2}", "5"), ("2+3=5", "5"), ("a+b=5", "5"), (r"\angle ABC = 50^\circ", "50"), ("|AB| = 5", "5"),
    ("f(3) = 5", "5"), (r"x = 0.56 = 56\%", "0.56"), ("10^{3}", "1000"), ("10^{-3}", "0.001"), (r"\frac{-1}{-2}", "0.5"),
    (r"\frac{1.5}{3}", "0.5"), ("(5)", "5"), ("{5}", "5"), ("5 apples", "5"), (r"5\text{ apples}", "5"), ("eleven", "11"),
    (r"\text{Area}=5\text{ cm}^2", "5"), (r"\sqrt{2}", "1.414214"), (r"2\pi", "6.283185"), ("(x,y)=(2,3)", "(2,3)"),
    ("x=2, y=3", "(2,3)"), (r"2\le x\le 7", "[2,7]"), (r"2\sqrt{2}+3", r"3+2\sqrt{2}"), (r"\sqrt{8}/2", r"\sqrt{2}"),
    ("1024", "2^{10}"), ("4^5", "2^{10}"), ("10", r"\binom{5}{2}"), (r"\binom{5}{3}", r"\binom{5}{2}"),
    (r"\pi \cdot 10", r"10\pi"),
    (r"\frac{\sqrt6}{4}+\frac{\sqrt2}{4}", r"\frac{\sqrt6+\sqrt2}{4}"), ("1+x^2", "x^2+1"), ("1+x", "f(x)=x+1"),
    (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"), (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"), (r"k\cdot 2", "2k"),
    ("y^2 = 4x+6y-9", "y^2 - 4x - 6y + 9 = 0"), (r"3\sqrt{2}", str(Gold(("4.2",), tolerance=0.1))),
]  # fmt: skip

HANGS = {
    "a tower of powers": "9^{9^{9^9}}",
    "a long tower": "2" + "^{2" * 200 + "}" * 200,
    "a huge factorial": "(10^{9})!",
    "factorials of factorials": "((((9!)!)!)!)!",
    "a huge binomial": r"\binom{10^{12}}{5 \cdot 10^{11}}",
    "gigabytes of digits": "2^{2^{34}} + 1",
    "deep brackets": "(" * 2_000 + "1" + ")" * 2_000,
    "deep fractions": r"\frac{1}{" * 400 + "2" + "}" * 400,
    "deep roots": r"\sqrt{" * 600 + "2" + "}" * 600,
    "a sum of many powers": r"\sum_{k=1}^{10^{9}} k^{k}",
    "a polynomial to expand": "(a+b+c+d+e+f+g+h)^{400} - (h+g+f+e+d+c+b+a)^{399}",
    "what regular expressions backtrack on": "a" * 1_000 + r"\text{" * 300 + "}" * 300 + "$" * 1_000,
    "units upon units": "5" + r"\text{ cm}" * 480 + "!?",
    "a bare wall of units": "5 " + "cm " * 1_600 + "!?",
    "digits and commas": "1,234" * 900,
    "100 kB of braces": "{" * 50_000 + "}" * 50_000,
    "100 kB of digits": "7" * 100_000,
    "100 kB of signs": r"\pm" * 33_000,
}


@pytest.mark.parametrize(("answer", "gold"), EQUAL + FINISHED)
def test_equal_answers(answer, gold):
    assert grade(f"so it is $\\boxed{{{answer}}}$.", gold) == MATCH


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT + UNFINISHED)
def test_different_answers(answer, gold):
    assert grade(f"\\boxed{{{answer}}}", gold) == DIFFERS


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("first \\boxed{3}, no, \\boxed{4}", MATCH),
        ("first \\boxed{4}, no, \\boxed{3}", DIFFERS),
        ("\\boxed{x = \\boxed{4}}", MATCH),
        ("the answer is 4", Verdict(False, "no_answer")),
        ("\\boxed{}", Verdict(False, "no_answer")),
        ("\\boxed{4", Verdict(False, "no_answer")),
    ],
)
def test_the_answer_stands_in_the_last_box(completion, verdict):
    assert grade(completion, "4") == verdict


def test_a_truncated_completion_without_answer_says_so():
    assert grade("18 + 4 =", "22", truncated=True) == Verdict(False, "truncated")
    assert grade("\\boxed{22} and", "22", truncated=True) == MATCH


def test_last_boxed_balances_braces_and_passes_over_escaped_ones():
    assert last_boxed("a \\boxed{\\frac{1}{2}} b") == "\\frac{1}{2}"
    assert last_boxed("\\boxed{\\left\\{ x \\right.} b") == "\\left\\{ x \\right."
    assert last_boxed("\\boxed{1 \\\\{2}}") == "1 \\\\{2}"
    assert last_boxed("\\boxed{1") is None


@pytest.mark.parametrize("gold", ["", "  ", "\\frac{1}{", "\\mho\\oint", "\\frac{1}{0}"])
def test_a_gold_that_cannot_be_parsed_says_so(gold):
    assert grade("\\boxed{1}", gold) == Verdict(False, "unparseable_gold")


def test_numbers_are_exact_where_they_are_written_exactly():
    values = {
        "1,203": 1203,
        "-.5": -0.5,
        "3 \\times 10^{2}": 300,
        "\\frac{3}{4}": 0.75,
        "-1\\frac{1}{2}": -1.5,
        "2 1/2": 2.5,
    }
    assert {text: number(text) for text in values} == values
    assert [number(text) for text in ("x", "1.2.3", "1/0", "12,34", "\\frac{1}{2}x", "9" * 100)] == [None] * 6
    assert quick_verdict("0.333333", "1/3") is None


def test_integers_in_brackets_need_no_algebra_unless_a_comma_may_be_a_thousands():
    for answer, verdict in {
        "( 2 , 10 )": True,
        "(10, 2)": False,
        "(2, 10, 2)": False,
        "(2,100)": None,
        "[2, 10]": None,
    }.items():
        assert quick_verdict(answer, "(2, 10)") is verdict
        assert verdict is None or grade(f"\\boxed{{{answer}}}", "(2,10)").correct is verdict  # which the worker decides


def test_what_cleaning_leaves():
    assert clean("\\left( \\dfrac 12,\\, 3{,}000 \\right).") == "( \\frac{1}{2}, 3000 )"


# Several answers


ALTERNATIVES = Gold(("0.01", "\\frac{1}{50}"))
SEVERAL = Gold(("1", "3", "3"), "all")
QUANTITY = Gold(("4.2",), tolerance=0.1, unit="%")


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [
        *[(ALTERNATIVES, answer, True) for answer in ("0.01", "0.02", "1/50")],
        *[(ALTERNATIVES, answer, False) for answer in ("0.03", "0.01, 0.02", "\\frac{1}{51}")],
        *[
            (SEVERAL, answer, True)
            for answer in ("1,3,3", "3, 1, 3", "\\{3,3,1\\}", "x=1, x=3, \\text{ and } x=3", "(3, 3, 1)")
        ],
        *[(SEVERAL, answer, False) for answer in ("1,3", "1,1,3", "1,3,3,3", "3", "1,3,4", "[1,3,3]")],
        *[(QUANTITY, answer, True) for answer in ("4.2", "4.3", "4.1\\%", "4.25%", "\\frac{21}{5}")],
        *[(QUANTITY, answer, False) for answer in ("4.4", "4.05", "-4.2", "5\\%", "x")],
        (Gold(("2", "-2"), "all"), "\\pm 2", True),
        (Gold(("2500", "7500"), "all"), "2,500 \\text{ and } 7,500", True),
        (Gold(("108", "135"), "all"), "108,135", True),
        (Gold(("108", "135"), "all"), "108135", False),
        (Gold(("(1,2)", "(3,4)"), "all"), "(3,4), (1,2)", True),
        (Gold(("(1,2)", "(3,4)"), "all"), "(2,1), (3,4)", False),
        (Gold(("f(x)=x", "f(x)=2-x"), "all"), "2-x, x", True),
        (Gold(("90", "60"), "all", unit="^{\\circ}"), "60^\\circ, 90^\\circ", True),
        (Gold(("8",), unit="min"), "8 \\text{ minutes}", True),
        (Gold(("8",), unit="min"), "8 \\text{ hours}", False),
        (Gold(("\\frac{41}{12}",), unit="km"), "\\frac{41}{12} \\mathrm{~km}", True),
        (Gold(("\\frac{41}{12}",), unit="km"), "\\frac{41}{12} \\mathrm{~m}", False),
        (Gold(("166",), unit="$cm^2$"), "166 \\text{ cm}^2", True),
        (Gold(("166",), unit="$cm^2$"), "166 \\text{ cm}", False),
        (Gold(("15\\text{ cm}", "15")), "15\\text{ m}", False),
    ],
)
def test_several_answers_tolerance_and_unit(gold, answer, correct):
    assert grade(f"\\boxed{{{answer}}}", str(gold)) == (MATCH if correct else DIFFERS)


@pytest.mark.parametrize("gold", [ALTERNATIVES, SEVERAL, QUANTITY, Gold(("5",)), Gold(("\\{1,2\\}",), unit="km")])
def test_a_gold_survives_files_a_dataset_and_the_reward(tmp_path, gold):
    rows = [{"answer": str(gold)}]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    read = [
        json.loads(json.dumps(rows))[0]["answer"],
        pd.read_parquet(tmp_path / "a.parquet").answer[0],
        datasets.Dataset.from_list(rows)["answer"][0],
    ]
    assert [Gold.parse(text) for text in read] == [gold] * 3
    assert accuracy_reward([f"\\boxed{{{gold.written}}}"] * 3, answer=read) == [1.0] * 3


def test_what_is_no_encoded_gold_is_a_plain_answer():
    for text in ("5", "{5}", '{"any": 5}', '{"any": ["5"], "more": 1}', '{"any": ["5"', '{"x": 1}', "\\{1,2\\}"):
        assert Gold.parse(text) == Gold((text,))
    assert str(Gold(("5",))) == "5"


BAD_GOLDS = {
    "no answers": ('{"any": []}', "missing or empty"),
    "an empty answer": ('{"any": [""]}', "missing or empty"),
    "a blank answer": ('{"all": ["1", " "]}', "missing or empty"),
    "a list in the list": ('{"all": [["1"]]}', "texts and numbers"),
    "an object in the list": ('{"any": [{"any": ["1"]}]}', "texts and numbers"),
    "null": ('{"any": [null]}', "texts and numbers"),
    "true": ('{"any": [true]}', "texts and numbers"),
    "NaN": ('{"any": [NaN]}', "texts and numbers"),
    "deep lists": ('{"any": ' + "[" * 10_000 + "]" * 10_000 + "}", "cannot be read"),
    "5,000 digits": ('{"any": [' + "7" * 5_000 + "]}", "cannot be read"),
    "a tolerance of NaN": ('{"any": ["1"], "tolerance": NaN}', "tolerance is nan"),
    "a negative tolerance": ('{"any": ["1"], "tolerance": -0.1}', "tolerance is -0.1"),
    "an infinite tolerance": ('{"any": ["1"], "tolerance": Infinity}', "tolerance is inf"),
    "a text as tolerance": ('{"any": ["1"], "tolerance": "0.1"}', "tolerance is '0.1'"),
    "no tolerance": ('{"any": ["1"], "tolerance": null}', "tolerance is None"),
    "a number as unit": ('{"any": ["1"], "unit": 5}', "unit is 5"),
}


@pytest.mark.parametrize(("gold", "message"), BAD_GOLDS.values(), ids=BAD_GOLDS)
def test_a_list_of_golds_that_is_none_is_refused_with_its_row_and_never_right(tmp_path, gold, message):
    with pytest.raises(InputError, match=message):
        Gold.parse(gold)
    assert grade("\\boxed{1}", gold) == Verdict(False, "unparseable_gold")
    problems = tmp_path / "a.json"
    problems.write_text(json.dumps([{"problem": "1?", "answer": "1"}, {"problem": "2?", "answer": gold}]))
    with pytest.raises(InputError, match=f"a.json, row 2: answer: .*{message}"):
        load_problems(str(problems))


def test_the_reward_reads_texts_and_conversations():
    conversations = [[{"role": "assistant", "content": "\\boxed{1}"}], [{"role": "assistant", "content": "\\boxed{2}"}]]
    assert accuracy_reward(conversations, answer=["1", "1"], other=[0, 0]) == [1.0, 0.0]
    assert accuracy_reward(["\\boxed{1}"], answer=["1"]) == [1.0]


# The gold answers of the benchmarks


def gold_answers():
    golds = {}
    for name in SETS:
        for problem in load_problems(str(SHARED / f"{name}.json"), drop_null_answers=True).problems:
            golds.setdefault(problem.answer, (name, Gold.parse(problem.answer)))
    return [(name, encoded, gold) for encoded, (name, gold) in golds.items()]


def spellings(text):
    """The answer, and the same in another writing."""
    other = text.replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", "")
    other = other.replace("(", "\\left( ").replace(")", " \\right)")
    return {text, f"\\, {other} "}


def perturbed(text):
    """Other numbers (each raised by one in its last digit), another sign, other fractions (upside down)."""
    for numeral in re.finditer(r"\d+(?:\.(\d+))?", text):
        raised = (
            f"{float(numeral[0]) + 10 ** -len(numeral[1]):.{len(numeral[1])}f}" if numeral[1] else int(numeral[0]) + 1
        )
        yield f"{text[: numeral.start()]}{raised}{text[numeral.end() :]}"
    signed = re.search(r"-?(?:(?=\d*[1-9])\d|\\[dt]?frac)", text)
    if signed:
        other = signed[0].removeprefix("-") if signed[0].startswith("-") else f"-{signed[0]}"
        yield f"{text[: signed.start()]}{other}{text[signed.end() :]}"
    for fraction in re.finditer(r"frac\{(\d+)\}\{(\d+)\}", text):
        if fraction[1] != fraction[2]:
            yield f"{text[: fraction.start()]}frac{{{fraction[2]}}}{{{fraction[1]}}}{text[fraction.end() :]}"


STILL_RIGHT = {
    ("0.02", '{"any": ["0.01", "0.02"]}'),
    ("4.3", '{"any": ["4.2"], "tolerance": 0.1, "unit": "%"}'),
    ("\\cos(-6^\\circ)\\sin(12^\\circ)\\csc(18^\\circ)", "\\cos(6^\\circ)\\sin(12^\\circ)\\csc(18^\\circ)"),
}
"""Another alternative, within the tolerance, an even function."""
EXPLAINED = "$f(x)=a x+b$, where"
"""How the one gold answer begins that is a sentence, with a symbol of its own; only its very text can be recognised."""


UNHURRIED = 60
"""Seconds: what is checked is the verdict, and a busy machine may take a while."""


def check_gold_answers(golds):
    wrong, as_they_are, changed = [], 0, 0
    for name, encoded, gold in golds:
        for text in [gold.written, *gold.answers] if gold.need == "any" else [gold.written]:
            for spelling in {text} if EXPLAINED in text else spellings(text):
                as_they_are += 1
                verdict = grade(f"\\boxed{{{spelling}}}", encoded, time_limit=UNHURRIED)
                if verdict != MATCH:
                    wrong.append((name, spelling, encoded, verdict))
        for other in set(perturbed(gold.written)):
            changed += 1
            verdict = grade(f"\\boxed{{{other}}}", encoded, time_limit=UNHURRIED)
            if verdict != DIFFERS and (other, encoded) not in STILL_RIGHT and EXPLAINED not in encoded:
                wrong.append((name, other, encoded, verdict))
    print(f"{len(golds)} gold answers: graded {as_they_are} times as they are, {changed} times perturbed")
    assert wrong == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real benchmark questions is absent")
def test_a_gold_answer_is_right_and_a_perturbed_one_wrong_in_a_sample():
    check_gold_answers(random.Random(0).sample(gold_answers(), 60))


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of real benchmark questions is absent")
def test_every_gold_answer_is_right_and_every_perturbed_one_wrong():
    golds = gold_answers()
    assert len(golds) == 3796
    check_gold_answers(golds)


# Limits


def algebra(n):
    """A comparison that needs the worker, another one for each n."""
    return grade(f"\\boxed{{(x+{n})^2}}", f"x^2+{2 * n}x+{n * n}")


fresh = itertools.count(1000)


@pytest.mark.parametrize("answer", HANGS.values(), ids=HANGS)
def test_what_would_hang_costs_at_most_its_time_limit(answer):
    assert algebra(next(fresh)) == MATCH
    began = time.perf_counter()
    verdict = grade(f"\\boxed{{{answer}}}", "\\sqrt{17}", time_limit=1)
    assert time.perf_counter() - began < 2
    assert verdict in (TIMEOUT, DIFFERS)
    assert algebra(next(fresh)) == MATCH


@pytest.mark.parametrize(
    "answer",
    [
        "\ud800",
        "\x00",
        "\u0663",
        "\\\\",
        "{}",
        "\n",
        "%",
        "_^",
        '{"any": ["1"]}',
        "\U0001d7d3",
        "5\ud800",
        "5\x00",
        "\x00" * 4_000,
        "7" * 4_999,
        "-" * 4_999,
        "{" * 2_400 + "}" * 2_400,
        "(" * 4_999,
        "=" * 4_999,
        "5" + "," * 4_000,
        "\\frac" * 900,
        "5 " + "a" * 4_900 + "!",
        "." * 4_999,
        "5" + "'" * 4_900 + "!",
        "1,111" * 900,
    ],
)
@pytest.mark.parametrize("gold", ["\\sqrt{17}", "17", "(17, 2)", str(Gold(("1.7",), tolerance=0.1))])
def test_odd_characters_are_graded_like_any_other(answer, gold):
    assert grade(f"\\boxed{{{answer}}}", gold, time_limit=2).reason in ("differs", "no_answer", "timeout")


def test_a_batch_has_its_own_time_limit(monkeypatch):
    """Nasty answers cost a batch its seconds, then little each; a verdict in a hurry does not stand for later ones."""
    monkeypatch.setattr("gainrl.grading.TIME_LIMIT_SECONDS", 1.0)
    monkeypatch.setattr("gainrl.grading.BATCH_SECONDS", 2.0)
    monkeypatch.setattr("gainrl.grading.HURRIED_SECONDS", 0.05)
    nasty = [f"\\boxed{{{n}^{{9^{{9^9}}}}}}" for n in range(11, 31)]
    assert algebra(next(fresh)) == MATCH
    began = time.perf_counter()
    assert grade_batch(nasty, ["\\sqrt{17}"] * 20) == [TIMEOUT] * 20
    assert time.perf_counter() - began < 8
    slow = ["\\boxed{(a+b+c)^{12}}", "(a+b+c)^{5} (a+b+c)^{7}"]
    hurried = grade_batch([*nasty, slow[0]], ["\\sqrt{17}"] * 20 + [slow[1]])[-1]
    assert hurried in (TIMEOUT, MATCH)
    assert grade_batch(slow[:1], slow[1:]) == [grade(*slow, time_limit=UNHURRIED)]


def test_an_ordinary_batch_is_graded_as_each_of_its_answers_is():
    completions, golds = zip(
        *((f"\\boxed{{{answer}}}", gold) for answer, gold in (EQUAL + DIFFERENT)[::3]), strict=True
    )
    assert grade_batch(completions, golds) == [grade(*pair) for pair in zip(completions, golds, strict=True)]
    assert grade_batch(["18 +", "18 +"], ["22", "22"], [True, False]) == [
        Verdict(False, "truncated"),
        Verdict(False, "no_answer"),
    ]


def test_a_gold_that_hangs_is_a_timeout_too():
    assert grade("\\boxed{2}", "9^{9^{9^9}}", time_limit=0.5) == TIMEOUT


def test_a_worker_cannot_take_more_memory_than_it_may():
    assert algebra(next(fresh)) == MATCH
    limits = Path(f"/proc/{worker._worker.process.pid}/limits").read_text()
    assert re.search(rf"Max address space +{worker.MEMORY_BYTES} ", limits)


def test_threads_share_a_worker_and_none_waits_for_ever():
    numbers = [next(fresh) for _ in range(6)]
    verdicts = {}
    threads = [threading.Thread(target=lambda n=n: verdicts.__setitem__(n, algebra(n))) for n in numbers]
    threads.append(
        threading.Thread(
            target=lambda: verdicts.__setitem__(0, grade("\\boxed{9^{9^{9^9}}}", "\\sqrt{17}", time_limit=0.5))
        )
    )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(START_SECONDS)
    assert verdicts == {0: TIMEOUT, **dict.fromkeys(numbers, MATCH)}


def in_another_process(n):
    return os.getpid(), algebra(n), grade("\\boxed{7^{7^{7^7}}}", "\\sqrt{17}", time_limit=0.5), algebra(n + 1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_forked_and_spawned_workers_grade_beside_their_parent(method):
    """Daemonic ones, as those of a data loader are; forked while another thread of the parent waits for its worker."""
    algebra(next(fresh))
    busy = threading.Thread(target=partial(grade, "\\boxed{6^{6^{6^6}}}", f"\\sqrt{{{next(fresh)}}}", time_limit=2))
    busy.start()
    time.sleep(0.2)
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.map_async(in_another_process, [next(fresh), next(fresh)], chunksize=1).get(8 * START_SECONDS)
    busy.join(START_SECONDS)
    assert {answer[1:] for answer in answers} == {(MATCH, TIMEOUT, MATCH)}
    assert os.getpid() not in {pid for pid, *_ in answers}
    assert algebra(next(fresh)) == MATCH


def test_a_worker_that_dies_is_replaced():
    algebra(next(fresh))
    idle = worker._worker.process
    idle.kill()
    idle.wait()
    assert algebra(next(fresh)) == MATCH
    killer = threading.Timer(0.5, worker._worker.process.kill)
    killer.start()
    began = time.perf_counter()
    assert grade("\\boxed{5^{5^{5^{5^5}}}}", "\\sqrt{17}", time_limit=20) == TIMEOUT
    assert time.perf_counter() - began < 10
    assert algebra(next(fresh)) == MATCH


def test_a_worker_does_not_outlive_its_parent():
    program = (
        "import os, signal, threading; from gainrl.grading import grade, worker; grade('\\\\boxed{x+x}', '2x');"
        "threading.Timer(0.5, lambda: (print(worker._worker.process.pid, flush=True), os.kill(os.getpid(), signal.SIGKILL)))"
        ".start(); grade('\\\\boxed{4^{4^{4^{4^4}}}}', '\\\\sqrt{17}', time_limit=2)"
    )
    parent = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=START_SECONDS)
    assert parent.returncode == -signal.SIGKILL
    orphan = Path(f"/proc/{parent.stdout.strip()}/stat")
    deadline = time.perf_counter() + 10
    while orphan.exists() and orphan.read_text().split()[2] != "Z" and time.perf_counter() < deadline:
        time.sleep(0.1)
    assert not orphan.exists() or orphan.read_text().split()[2] == "Z"


def test_grading_imports_no_sympy_into_its_process():
    program = "import sys, gainrl.grading; print([m for m in ('sympy', 'math_verify', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


GAMES = [
    # answers that the task's scorer accepts, and one that it does not
    ("gym:countdown:min_numbers=3,max_numbers=3", "{answer}", "3"),
    ("gym:countdown:min_numbers=3,max_numbers=3", "({answer})", "0"),
    ("gym:spell_backward", "\\text{{{answer}}}", "x"),
    ("gym:number_sorting", "{answer}", "[]"),
    ("gym:letter_counting", "{answer}", "-1"),
    ("gym:letter_counting", "{answer}.0", "-1"),
    ("gym:word_sorting", "{answer}", "a, b"),
    ("gym:course_schedule", "{answer}", "neither"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), GAMES)
def test_answers_to_reasoning_gym_are_judged_by_its_own_scorer(name, right, wrong):
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; make small")
    for problem in load_problems(name, limit=3).problems:
        answer = Gold.parse(problem.answer).answers[0]
        assert grade(f"\\boxed{{{right.format(answer=answer)}}}", problem.answer).correct
        assert grade(f"\\boxed{{{wrong}}}", problem.answer) == Verdict(False, "differs")
        assert grade(problem.gold_completion, problem.answer).correct


COUNTDOWN = "gym:countdown:min_numbers=3,max_numbers=3"
SPOIL = "__import__('gainrl.grading.compare', fromlist=['x']).__dict__.__setitem__('is_full_score', print)"
"""Every later answer would be wrong."""


def test_a_scorer_that_evaluates_an_answer_can_neither_reach_files_nor_spoil_other_verdicts(tmp_path):
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; make small")
    if not (confine.has_seccomp() and confine.landlock_version() >= confine.LEAST_LANDLOCK):
        pytest.skip("this kernel has no Landlock, or an old one")
    (problem,) = load_problems(COUNTDOWN, limit=1).problems
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text(Gold.parse(problem.answer).answers[0])
    for answer in (f"__import__('os').system('touch {made}')", f"open('{made}', 'w')", SPOIL):
        assert worker.ask(answer, problem.answer, 5) == "differs"
    assert not made.exists()
    assert worker.ask(f"eval(open('{secret}').read())", problem.answer, 5) == "differs"
    assert worker.ask(secret.read_text(), problem.answer, 5) == "match"


def test_letters_of_a_word_are_no_product():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; make small")
    (problem,) = load_problems("gym:spell_backward:min_word_len=5,max_word_len=5", limit=1).problems
    answer = Gold.parse(problem.answer).answers[0]
    assert not grade(f"\\boxed{{{answer[1:] + answer[0]}}}", problem.answer).correct


def test_a_task_without_a_known_answer_has_no_gold_completion():
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; make small")
    (problem,) = load_problems("gym:graph_color", limit=1).problems
    assert not grade("\\boxed{{}}", problem.answer).correct
    with pytest.raises(InputError, match="judges answers but names none"):
        _ = problem.gold_completion


@pytest.mark.parametrize("scorer", ["gym:no_such_task", "gym:gcd:no_such_option=1"])
def test_a_scorer_that_cannot_be_made_is_no_wrong_answer(scorer):
    gold = str(Gold(("1",), scorer=scorer, entry={"answer": "1"}))
    assert Gold.parse(gold).scorer == scorer
    assert grade("\\boxed{2}", gold).reason == "unparseable_gold"


@pytest.mark.parametrize("gold", ['{"any": ["1"], "scorer": "gym:gcd"}', '{"any": ["1"], "scorer": 3, "entry": {}}'])
def test_a_scorer_without_its_item_is_refused(gold):
    with pytest.raises(InputError, match="needs both scorer, a task's name, and entry"):
        Gold.parse(gold)
