import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis.comparison import compare
from analysis.control import against_control
from analysis.paper import against_paper
from analysis.report import page, section
from analysis.runs import finished_runs, unfinished_runs
from analysis.tables import grids
from analysis.verdict import verdict
from gainrl.runs.records import RunFolder
from paper_figures import of_experiment
from tests.test_comparison import CURVES, write_runs

NO_ORDERS = pd.DataFrame()
PAGE = "results/quickstart/report.html"


def verdict_of(root, seeds, curves):
    experiment = write_runs(root, seeds, curves)
    runs = finished_runs(experiment, root)
    return verdict(experiment, compare(experiment, runs), against_control(experiment, runs), runs)


def page_of(root, seeds=3, curves=CURVES):
    experiment = write_runs(root, seeds, curves)
    runs = finished_runs(experiment, root)
    comparison, controls = compare(experiment, runs), against_control(experiment, runs)
    pictures = of_experiment.pictures(of_experiment.figures(experiment, runs, comparison, controls, NO_ORDERS))
    text = page([section(experiment, runs, comparison, controls, pictures, unfinished_runs(experiment, root))])
    (root / "report.html").write_text(text)
    return text


def test_the_verdict_is_no_more_than_the_seeds_say(tmp_path):
    few = verdict_of(tmp_path / "few", 2, CURVES)
    assert (few.answer, few.direction) == ("GAIN-RL: too few seeds to tell", "few")
    five = verdict_of(tmp_path / "five", 5, CURVES)
    assert (five.answer, five.direction) == ("GAIN-RL: too few seeds to tell", "few")
    same = verdict_of(tmp_path / "same", 8, CURVES | {"gainrl": CURVES["grpo"]})
    assert (same.answer, same.direction) == ("GAIN-RL: no significant difference in speed from the baseline", "open")
    assert "1.00x [" in same.sentences[0]


def test_where_no_run_comes_to_the_target_the_verdict_says_no_more(tmp_path):
    low = {cell: [0.1, 0.2, 0.2, 0.2] for cell in CURVES}
    found = verdict_of(tmp_path / "eight", 8, low)
    assert (found.answer, found.direction) == ("GAIN-RL: no run comes to the target that decides", "unreached")
    assert not any("not significantly different" in sentence for sentence in found.sentences)
    assert verdict_of(tmp_path / "two", 2, low).direction == "few"


def test_cells_without_a_seed_in_common_are_not_called_alike(tmp_path):
    write_runs(tmp_path, 8, CURVES)
    for seed in range(8):
        shutil.rmtree(tmp_path / "quickstart" / "grpo" / f"seed-{seed}")
    experiment = write_runs(tmp_path / "other", 9, {"grpo": CURVES["grpo"]})
    shutil.move(tmp_path / "other/quickstart/grpo/seed-8", tmp_path / "quickstart/grpo/seed-8")
    runs = finished_runs(experiment, tmp_path)
    found = verdict(experiment, compare(experiment, runs), against_control(experiment, runs), runs)
    assert found.direction == "few"
    assert not any("not significantly different: " in sentence for sentence in found.sentences)


def test_the_verdict_says_faster_where_it_stands_out(tmp_path):
    quick = [0.3, 0.85, 0.9, 0.9]  # at step 10 whatever the seed, where the others need 20 or 30
    found = verdict_of(tmp_path, 8, CURVES | {"gainrl": quick})
    assert found.direction == "faster"
    assert found.sentences[0].startswith(
        "GAIN-RL (angle) reaches targets in fewer steps than GRPO (uniform): speed-up 2.97x ["
    )
    assert any("faster than the same Gaussian over a random order" in sentence for sentence in found.sentences)
    tokens = "In completion tokens the difference is significant: GAIN-RL (angle) against control (random): 3.40x"
    assert any(sentence.startswith(tokens) for sentence in found.sentences)
    assert any("more than 2.5x (abstract" in sentence for sentence in found.sentences)


def test_the_page_holds_everything_and_fetches_nothing(tmp_path):
    RunFolder(tmp_path / "quickstart" / "gainrl" / "seed-9").fail("no room </script>")
    text = page_of(tmp_path)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']+""", text)
    assert "url(" not in text
    assert text.count('<img src="data:image/svg+xml;base64,') == 4
    assert "gainrl seed 9 (failed: no room &lt;/script&gt;)" in text
    (details,) = re.findall(r'<script type="application/json" id="runs-quickstart">(.*?)</script>', text, re.DOTALL)
    data = json.loads(details)
    assert len(data["runs"]) == 12
    assert len(data["configs"]) == 4
    assert data["runs"][0]["evaluations"]["b"][0] == [0, 30.0]
    assert max(len(curve) for run in data["runs"] for curve in run["training"].values()) <= 60


def test_the_papers_speed_up_is_told_of_comparisons_with_uniform_sampling_alone(tmp_path):
    curves = {"paper": [0.3, 0.5, 0.6, 0.9], "sigma-16": [0.3, 0.4, 0.5, 0.7], "n-16": [0.3, 0.4, 0.5, 0.7]}
    experiment = write_runs(tmp_path, 8, curves, name="ablate_hyperparameters")  # GAIN-RL against GAIN-RL
    runs = finished_runs(experiment, tmp_path)
    comparison = compare(experiment, runs)
    said = verdict(experiment, comparison, against_control(experiment, runs), runs)
    assert not any("The paper says" in text for text in said.sentences)
    assert not said.answer.startswith("GAIN-RL")
    assert "slower: n = 16, sigma = 16" in " ".join(said.sentences)
    assert against_paper(experiment, comparison).paper.isna().all()


def test_every_table_is_on_the_page(tmp_path):
    text = page_of(tmp_path)
    experiment = write_runs(tmp_path, 3)
    runs = finished_runs(experiment, tmp_path)
    for grid in grids(experiment, compare(experiment, runs), against_control(experiment, runs), runs):
        assert f"<h3>{grid.title.replace(chr(39), '&#39;')}</h3>" in text
    assert "Paper against release" in text


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    page_of(tmp_path, curves=CURVES | {"control": [0.3, 0.5, 0.55, 0.59]})
    browser.set_window_size(1280, 1600)
    browser.get((tmp_path / "report.html").as_uri())
    yield browser
    assert browser.get_log("browser") == []


def all_of(driver, css):
    return driver.find_elements("css selector", css)


def column(driver, table, place) -> list[str]:
    script = "const rows = document.querySelectorAll('table.sortable')[arguments[0]].tBodies[0].rows;"
    return driver.execute_script(
        script + "return [...rows].map((row) => row.cells[arguments[1]].innerText)", table, place
    )


def sort(driver, table, place):
    button = (
        f"document.querySelectorAll('table.sortable')[{table}].tHead.rows[0].cells[{place}].querySelector('button')"
    )
    driver.execute_script(f"{button}.focus()")
    driver.switch_to.active_element.send_keys("\ue007")  # Enter: the keyboard does what a click does


@pytest.mark.browser
def test_tables_sort_by_number_and_missing_cells_come_last(opened):
    before = column(opened, 1, 1)
    sort(opened, 1, 1)
    values = [int(re.match(r">?(\d+)", text)[1]) for text in column(opened, 1, 1)]
    assert values == sorted(values)
    sort(opened, 1, 1)
    assert [int(re.match(r">?(\d+)", text)[1]) for text in column(opened, 1, 1)] == sorted(values, reverse=True)
    assert sorted(before) == sorted(column(opened, 1, 1))
    sort(opened, 1, 4)
    assert column(opened, 1, 4)[-1] == "\u2013"
    assert all_of(opened, "th[aria-sort='ascending']")


@pytest.mark.browser
def test_figures_enlarge_and_escape_closes_them(opened):
    all_of(opened, ".enlarge")[1].click()
    dialog = all_of(opened, "dialog")[0]
    assert dialog.get_attribute("open") is not None
    assert opened.execute_script("return document.querySelector('dialog img').naturalWidth") > 100
    opened.switch_to.active_element.send_keys("\ue00c")
    assert dialog.get_attribute("open") is None


@pytest.mark.browser
def test_a_run_opens_and_the_filter_finds_it(opened):
    field = all_of(opened, ".filter input")[0]
    field.send_keys("angle seed 2")
    shown = [row for row in all_of(opened, ".runs tbody tr") if row.is_displayed()]
    assert len(shown) == 1
    assert shown[0].text.startswith("GAIN-RL (angle) 2")
    shown[0].find_element("css selector", "button").click()
    details = all_of(opened, ".run-details")[0]
    assert len(details.find_elements("css selector", "svg path")) == 3  # held out, training, mu
    details.find_elements("css selector", "summary")[0].click()
    assert '"order": "angle"' in details.text
    shown[0].find_element("css selector", "button").click()
    assert not all_of(opened, ".run-details")


@pytest.mark.browser
def test_the_switch_changes_colours(opened):
    def background():
        return opened.execute_script("return getComputedStyle(document.body).backgroundColor")

    before = background()
    all_of(opened, "#theme")[0].click()
    assert background() != before
    opened.refresh()
    assert background() != before  # it is remembered
    all_of(opened, "#theme")[0].click()
    assert background() == before


@pytest.mark.browser
@pytest.mark.parametrize("width", [500, 1280])
def test_nothing_but_tables_scrolls_sideways(opened, width):
    opened.set_window_size(width, 1200)
    assert opened.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.browser
def test_the_page_prints(opened):
    pdf = opened.print_page()
    assert len(pdf) > 50_000
    assert all_of(opened, "h1")


@pytest.mark.browser
@pytest.mark.skipif(not Path(PAGE).exists(), reason="nothing published")
def test_the_published_page_has_no_error(browser):
    browser.get(Path(PAGE).absolute().as_uri())
    assert all_of(browser, ".runs tbody tr")
    assert browser.get_log("browser") == []
