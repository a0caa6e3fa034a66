"""The report in a real browser: `pip install -e .[browser]`, and a Chromium; skipped where either is missing."""

import os
import shutil
from collections.abc import Iterator

import pytest

from experiments.report.find import find_comparisons
from experiments.report.page import write_report
from tests.finished_runs import make_run

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[browser]")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe: pip install -e .[browser]")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium, on the PATH or named by $CHROMIUM")

FIRST_ROW = "#table tbody tr:first-child th > :first-child"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(output, videos, tmp_path_factory) -> str:
    page = write_report(find_comparisons([output, videos]), tmp_path_factory.mktemp("report"), "A report")
    return page.as_uri()


@pytest.fixture
def open_page(browser) -> Iterator:
    """Opens a page, and fails at the end if it had an error or asked for something that is not in its folder."""
    contexts, wrong = [], []

    def open_it(address: str, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: None if _is_local(request.url) else wrong.append(request.url))
        page.goto(address)
        page.wait_for_selector("html[data-table=ready]")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def _is_local(address: str) -> bool:
    return address.startswith(("file:", "blob:", "data:"))


def _show_plot(page) -> None:
    page.locator("#plot").scroll_into_view_if_needed()
    page.wait_for_selector("html[data-plot=ready]")


def _cut(page) -> str:
    return page.evaluate("document.querySelector('.stage').style.getPropertyValue('--cut')")


def test_the_table_sorts_and_filters_by_keyboard(open_page, report):
    page = open_page(report)
    assert page.text_content("#table tbody th").startswith("Original: 8 steps")
    page.focus("#table thead th:has-text('PSNR') [role=button]")
    page.keyboard.press("Enter")  # the best first
    assert page.text_content(FIRST_ROW) == "Fast A"
    page.keyboard.press("Enter")
    assert page.get_attribute("#table thead th:has-text('PSNR')", "aria-sort") == "ascending"
    page.get_by_label("Filter rows").fill("fast b")
    assert page.locator("#table tbody tr").count() == 1
    assert page.text_content(FIRST_ROW).startswith("Fast B")


def test_columns_can_be_chosen(open_page, report):
    page = open_page(report)
    heads = page.locator("#table thead th")
    assert not any("Memory" in text for text in heads.all_text_contents())
    page.locator("summary", has_text="Columns").click()
    page.locator("#columns").get_by_label("Memory").check()
    page.locator("#columns").get_by_label("NFE").uncheck()
    assert any("Memory" in text for text in heads.all_text_contents())
    assert not any("NFE" in text for text in heads.all_text_contents())


def test_the_axes_of_the_plot_can_be_chosen(open_page, report):
    page = open_page(report)
    _show_plot(page)
    assert page.locator("#plot .scatterlayer .points path").count() == 2
    page.get_by_label("Across").select_option(label="NFE\N{NO-BREAK SPACE}↓")
    assert "against NFE" in page.get_attribute("#plot", "aria-label")
    assert page.text_content("#plot .xtitle") == "NFE\N{NO-BREAK SPACE}↓"
    assert "Fast A" in page.text_content("#front")


def test_samples_come_worst_first_and_under_a_slider(open_page, report):
    page = open_page(report)
    assert page.locator(".tile").count() == 4
    assert page.text_content("#prompt") == "a <b>bold</b> disc & number 1"  # PSNR 20
    assert "identical" in page.locator(".tile").last.text_content()
    page.get_by_label("Worst by").select_option(label="ST-LPIPS")
    assert page.text_content("#prompt").endswith("number 0")  # 0.5, where less is better
    page.locator("#divide").focus()
    page.keyboard.press("ArrowRight")
    assert _cut(page) == "51"
    page.locator(".stage").scroll_into_view_if_needed()
    box = page.locator(".stage .medium").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert _cut(page) == "25"
    page.get_by_role("button", name="Better").click()
    assert page.text_content("#place").startswith("Number 2 of 4")
    page.get_by_label("Prompt has").fill("odd")
    assert page.locator(".tile").count() == 2
    page.locator("#run").select_option(index=1)
    assert "of Fast B" in page.text_content("#status")


def test_pictures_appear_and_views_can_be_chosen(open_page, report):
    page = open_page(report)
    page.locator("#viewer").scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.stage img')].every((one) => one.naturalWidth === 48)")
    alts = [page.locator(".stage img").nth(k).get_attribute("alt") for k in (0, 1)]
    assert [alt.split(":")[0] for alt in alts] == ["Original", "Fast A"]
    page.get_by_label("next to each other").check()
    left, right = (page.locator(".stage .medium").nth(k).bounding_box() for k in (0, 1))
    assert right["x"] >= left["x"] + left["width"]
    page.get_by_label("difference").check()
    assert page.evaluate("getComputedStyle(document.querySelectorAll('.medium')[1]).mixBlendMode") == "difference"


def test_a_name_in_the_table_leads_to_its_samples(open_page, report):
    page = open_page(report)
    page.get_by_role("link", name="Fast B").click()
    assert "of Fast B" in page.text_content("#status")
    page.locator("#table tbody tr", has_text="tiny_video").get_by_role("link").click()
    assert page.locator(".stage video").count() == 2


def test_two_videos_play_pause_and_seek_as_one(open_page, report):
    page = open_page(report)
    page.locator("#group").select_option(index=1)
    page.wait_for_function("[...document.querySelectorAll('video')].every((one) => one.readyState >= 3)")
    page.locator("#play").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("[...document.querySelectorAll('video')].every((one) => one.currentTime > 0.3)")
    times = page.evaluate("[...document.querySelectorAll('video')].map((one) => one.currentTime)")
    assert abs(times[0] - times[1]) < 0.25  # two frames
    page.keyboard.press("Enter")
    assert page.evaluate("[...document.querySelectorAll('video')].every((one) => one.paused)")
    page.locator("#time").focus()
    page.keyboard.press("End")
    page.wait_for_function("[...document.querySelectorAll('video')].every((one) => one.currentTime > 1.9)")
    assert page.get_attribute("#time", "aria-valuetext") == "2.00 of 2.00 seconds"


def test_samples_can_be_sorted_by_how_far_they_fall_below_the_reference(open_page, report):
    page = open_page(report)
    page.locator("#group").select_option(index=1)
    page.locator("#metric").select_option(label="Temporal flickering")
    assert page.text_content("#prompt").endswith("number 3")  # 0.4
    page.locator("#metric").select_option(label="Temporal flickering against the reference's")
    falls = [text.split()[2][:7] for text in page.locator(".tile span:first-of-type").all_text_contents()]
    assert falls == ["-0.3000", "-0.1000", "0.0000", "0.1000"]
    assert "0.4000 (reference: 0.7000)" in page.text_content("#scores")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
def test_axe_finds_nothing_serious(open_page, report, scheme, width):
    page = open_page(report, color_scheme=scheme, viewport={"width": width, "height": 800})
    _show_plot(page)
    for details in page.locator("summary").all():
        details.click()
    found = axe.Axe().run(page).response["violations"]
    grave = [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]
    assert grave == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_thousand_samples_open_in_under_a_second(open_page, report, tmp_path):
    count = 1000
    full = make_run(tmp_path / "large", "full", "Original", count=count, side=16)
    scores = {"psnr": [20 + index % 97 / 10 for index in range(count)]}
    make_run(tmp_path / "large", "fast", "Fast", count=count, side=16, tint=20, reference=full, scores=scores)
    address = write_report(find_comparisons([tmp_path / "large"]), tmp_path / "report").as_uri()
    page = open_page(address)
    seconds = {report: [], address: []}
    for opened in 3 * [report, address]:
        page.goto(opened)
        page.wait_for_selector("html[data-table=ready]")
        seconds[opened].append(page.evaluate("performance.now() / 1000"))
    few, many = (min(times) for times in seconds.values())
    page.wait_for_function(f"document.querySelectorAll('.tile').length === {count}")
    assert many < max(1, 2 * few)  # a busy machine takes longer for any page
    loaded = page.evaluate("[...document.querySelectorAll('.tile img')].filter((one) => one.complete).length")
    assert loaded < count / 2  # those far below wait until they are looked for
