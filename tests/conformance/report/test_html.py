"""The HTML report, looked at in a real Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from exporter_core.conformance.clause import in_order
from exporter_core.conformance.report.html import as_html
from exporter_core.conformance.run.verdicts import Report, Verdict

ROOT = Path(__file__).parents[3]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Browser:
    found = subprocess.run(
        [sys.executable, ROOT / ".ci" / "browser.py"], capture_output=True, text=True, timeout=100, check=False
    )
    assert found.returncode == 0, found.stderr
    expect.set_options(timeout=60_000)  # milliseconds; ends what fails
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def file(report: Report, tmp_path: Path) -> str:
    path = tmp_path / "report.html"
    path.write_text(as_html(report), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser: Browser, file: str):
    """Opens the report, in a context with these options; an error of the page or its policy fails the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_(fragment: str = "", **options: object) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: request.url.startswith(file) or wrong.append(request.url))
        page.goto(file + fragment)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def shown(page: Page) -> list[str]:
    return page.locator(".clause:visible").evaluate_all("all => all.map(one => one.id)")


def with_verdict(report: Report, verdict: Verdict) -> set[str]:
    return {clause for (clause, _), run in report.runs.items() if run.verdict is verdict}


def test_raw_stands_beside_guarded_for_every_clause(opened, report: Report) -> None:
    page = opened()
    assert shown(page) == [one.id for one in in_order(report.clauses)]
    assert page.locator("#EXP-08 > summary .badge").all_inner_texts() == ["n/a", "pass"]
    assert page.locator("#SHD-07 > summary .badge").all_inner_texts() == ["not run", "pass"]
    expect(page.get_by_role("region", name="raw", exact=True)).to_contain_text("not conformant: 1 MUST clause failed")
    expect(page.get_by_role("region", name="guarded", exact=True)).to_contain_text("conformant: ")


def test_the_filter_leaves_the_clauses_that_fit(opened, report: Report) -> None:
    page = opened()
    everything = shown(page)
    page.get_by_role("checkbox", name="fail").check()
    assert set(shown(page)) == with_verdict(report, Verdict.FAIL)
    expect(page.locator("output")).to_have_text(f"3 of {len(everything)} clauses")
    expect(page.get_by_role("heading", name="Shutdown")).to_be_hidden()  # nothing of it is left
    page.get_by_role("checkbox", name="kit error").check()
    assert set(shown(page)) == with_verdict(report, Verdict.FAIL) | with_verdict(report, Verdict.KIT_ERROR)
    page.get_by_role("checkbox", name="MUST").check()
    assert set(shown(page)) == {"EXP-01", "SHD-05"}
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("output")).to_have_text(f"{len(everything)} clauses")
    assert shown(page) == everything


def test_words_are_found_wherever_they_stand_and_clauses_where_raw_differs_from_guarded(opened, report: Report) -> None:
    page = opened()
    page.get_by_role("searchbox").fill("OWNED onerror")
    hostile = {clause for (clause, _), run in report.runs.items() if "owned" in run.seen}
    assert set(shown(page)) == hostile
    page.get_by_role("searchbox").fill("no such word")
    expect(page.get_by_text("No clause fits the filter.")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    page.get_by_role("checkbox", name="raw ≠ guarded").check()
    differing = {clause for (clause, _), run in report.runs.items() if run.verdict is not Verdict.PASS}
    assert set(shown(page)) == {*differing, "SHD-07"}


def test_what_failed_comes_first_and_a_click_leads_to_all_about_it(opened) -> None:
    page = opened()
    page.get_by_role("button", name="Close all").click()
    first = page.locator(".first li")
    assert [text.split()[0] for text in first.locator("a").all_inner_texts()] == [
        *("EXP-01", "EXP-03", "PY-01"),
        *("SHD-05", "SHD-04"),
    ]
    first.locator("a").first.click()
    clause = page.locator("#EXP-01")
    expect(clause).to_have_attribute("open", "")
    expect(clause.locator("> summary")).to_be_focused()
    text = clause.inner_text()
    for words in ("Deliver the metrics, or accept them", "every point of a batch goes out", "it ends", "Evidence"):
        assert words in text
    raw = page.get_by_role("region", name="EXP-01 raw")
    expect(raw.get_by_text("exporter-core check mine --clause EXP-01 --raw --seed 7")).to_be_visible()
    expect(raw.get_by_text('File "mine.py", line 3 in export')).to_be_visible()
    raw.get_by_text("Wire log").click()
    expect(raw.get_by_text("POST /v1/metrics?")).to_be_visible()
    expect(raw.get_by_text("not stored")).to_be_visible()
    raw.get_by_text("2 headers").click()
    expect(raw.get_by_text("authorization: ***")).to_be_visible()


def test_a_link_to_a_clause_that_the_filter_hides_shows_it(opened) -> None:
    page = opened()
    page.get_by_role("searchbox").fill("SHD")
    page.evaluate("location.hash = 'EXP-03'")
    expect(page.locator("#EXP-03")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("")
    expect(opened("#EXP-16").locator("#EXP-16")).to_have_attribute("open", "")


def test_the_keyboard_is_enough(opened) -> None:
    page = opened()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the matrix")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("EXP-16")
    page.locator("#EXP-16 > summary").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="EXP-16 raw")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="EXP-16 raw")).to_be_hidden()
    page.get_by_role("checkbox", name="pass").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox", name="pass")).to_be_checked()


def test_without_scripts_everything_can_be_read_and_nothing_is_there_that_does_not_work(opened, report: Report) -> None:
    page = opened(java_script_enabled=False)
    expect(page.locator("#filter")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy").first).to_be_hidden()
    assert page.locator(".clause:visible").count() == len(report.clauses)
    assert page.locator(".clause[open]").count() == 3  # those that failed
    page.locator("#EXP-16 > summary").click()
    page.get_by_role("region", name="EXP-16 guarded").get_by_text("Timeline").click()
    expect(page.get_by_role("region", name="EXP-16 guarded").get_by_text("export raised")).to_be_visible()


def test_hostile_words_stay_words(opened, hostile: str) -> None:
    page = opened()
    assert page.title().startswith("mine: not conformant")
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    seen = page.get_by_role("region", name="EXP-01 raw").locator("dd").nth(1).inner_text()
    assert seen == hostile.replace("\x1b", "\\x1b").replace("\x00", "\\x00")


def test_the_policy_stops_a_script_even_if_one_gets_into_the_page(
    report: Report, tmp_path: Path, browser: Browser
) -> None:
    path = tmp_path / "tampered.html"
    path.write_text(as_html(report).replace("<main>", "<main><script>document.title = 'owned'</script>"))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(path.as_uri())
        assert page.title() != "owned"
        expect(page.locator("#filter")).to_be_visible()  # its own still runs


CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map((one) => one / 255)
      .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" ? ground(node.parentElement) : color;
  };
  const found = {};
  const all = "h1, .about, .sentence, .badge, .chip, .level, .kind, dt, dd, a, small";
  for (const node of document.querySelectorAll(all)) {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found[node.className || node.tagName] = ratio;
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_easy_to_read_in_light_and_dark_and_fits_a_phone(opened, scheme: str) -> None:
    page = opened(color_scheme=scheme, viewport={"width": 360, "height": 740})
    page.get_by_role("button", name="Open all").click()
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    assert page.evaluate(CONTRAST) == {}
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground))) < 64) is (scheme == "dark")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_on_paper_there_is_the_matrix_and_what_failed_but_no_filter(opened) -> None:
    page = opened()
    page.emulate_media(media="print")
    expect(page.locator("#filter")).to_be_hidden()
    expect(page.get_by_role("region", name="EXP-01 raw")).to_be_visible()
    assert page.pdf().startswith(b"%PDF")


def test_the_page_names_no_other_place(report: Report) -> None:
    named: list[str] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attributes):
            named.extend(value for name, value in attributes if name in {"src", "href", "srcset", "action", "data"})

    text = as_html(report)
    Links().feed(text)
    assert {one[0] for one in named} == {"#"}
    assert not re.search(r"url\(|@import|https?:", text)


def test_one_mode_alone_is_a_page_as_well(report: Report, browser: Browser, tmp_path: Path) -> None:
    report.modes = ("raw",)
    report.tier, report.stopped = "none", True
    path = tmp_path / "raw.html"
    path.write_text(as_html(report))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(path.as_uri())
        assert page.locator("#EXP-08 > summary .badge").all_inner_texts() == ["n/a"]
        expect(page.get_by_text("There is no harness: nothing")).to_be_visible()
        expect(page.get_by_text("The check was stopped")).to_be_visible()
        expect(page.get_by_role("checkbox", name="raw ≠ guarded")).to_have_count(0)


def test_the_browser_is_found_where_the_environment_names_it(tmp_path: Path) -> None:
    program = tmp_path / "my-browser"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    command = [sys.executable, ROOT / ".ci" / "browser.py"]
    done = subprocess.run(
        command, env={**os.environ, "CHROMIUM": str(program)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{program}\n")
    program.write_text("#!/bin/sh\nexit 1\n")  # such as one that asks for another package
    done = subprocess.run(
        command, env={**os.environ, "CHROMIUM": str(program)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "name one in CHROMIUM" in done.stderr


def test_a_chart_has_a_scale_and_a_failure_its_place_and_traceback(report: Report) -> None:
    run = report.runs["EXP-01", "raw"]
    run.where, run.traceback = "mine.py:3, in export", "Traceback (most recent call last): ..."
    text = as_html(report)
    assert re.search(r'<span class="tick" style="grid-column:4/span 1">4.0</span>', text)
    assert "mine.py:3, in export" in text
    assert "<summary>Traceback</summary><pre>Traceback (most recent call last): ...</pre>" in text
