"""The report of a reproduction in headless Chromium, from disk: wide, narrow, dark, printed."""

import base64
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from morefromless.report import figures
from morefromless.report.content import ExperimentFile, Picture, read
from morefromless.report.report import write_report
from tests.report.handmade import hostile, reproduction, results
from tests.report.test_explain_browser import Page, log, unnamed_elements

pytestmark = pytest.mark.xdist_group("browser")  # share a slow fixture

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In a path with a space, as users have."""
    folder = reproduction(tmp_path_factory.mktemp("a report"))
    figures.write(results(), folder / "study")
    file = read(folder / "experiments" / "elsewhere.json", ExperimentFile)
    picture = Picture(
        "study/panels.svg", "Accuracy.", "Every encoder's accuracy, with its interval."
    )
    first = file.cells[0]
    wide = [replace(first, column=f"simclr asymmetric, independent {k}") for k in range(8)]
    replace(file, cells=[*file.cells, *wide], drawn=[picture]).write(folder)
    return write_report(folder)[-1]


@pytest.fixture
def page(browser: Chrome, report: Path) -> Iterator[Page]:
    """The page, newly opened. At the end, checks for warnings, errors and network requests."""
    new_page = Page(browser, report)
    yield new_page
    assert log(browser, "browser") == []
    assert {urlsplit(address).scheme for address in new_page.requested()} <= {"file", "data"}
    assert new_page.failed == []


@pytest.fixture
def phone(browser: Chrome, page: Page) -> Iterator[Page]:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    page.open()
    yield page
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def boxes(page: Page, css: str) -> list[dict[str, Any]]:
    """Positions and sizes of elements in px of the window."""
    rectangles: list[dict[str, Any]] = page.run(
        "return [...document.querySelectorAll(arguments[0])].map("
        "(e) => e.getBoundingClientRect().toJSON())",
        css,
    )
    return rectangles


def test_report_opens_from_disk_with_all_pictures(page: Page) -> None:
    assert page.browser.title == "More From Less, reproduced"
    widths = page.run("return [...document.images].map((i) => i.complete && i.naturalWidth)")
    assert len(widths) == 1
    assert min(widths) > 200


def test_everything_has_a_name_and_headings_are_in_order(page: Page) -> None:
    assert unnamed_elements(page.find("body")) == []
    assert all(len(image.get_attribute("alt") or "") > 20 for image in page.find_all("img"))
    levels = page.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    ids = page.run("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_contents_link_to_every_part(page: Page) -> None:
    links = page.find_all(".contents a")
    assert len(links) == 4
    for link in links:
        link.click()
        target = str(link.get_attribute("href")).partition("#")[2]
        assert page.browser.current_url.endswith(f"#{target}")
        heading = page.find(f"h2#{target}")
        assert heading.text == link.text
        [box] = boxes(page, f"h2#{target}")
        last = page.run("return innerHeight + scrollY >= document.documentElement.scrollHeight - 1")
        assert abs(box["top"]) < 2 or last


def test_contrast_headers_stay_visible(page: Page) -> None:
    page.run("document.querySelector('#elsewhere ~ .held tbody:last-of-type').scrollIntoView()")
    page.run("scrollBy(0, 40)")
    [header, *_] = boxes(page, "#elsewhere ~ .held thead th")
    assert header["top"] == 0


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_page_is_not_wider_than_the_window(
    phone: Page, browser: Chrome, width: int
) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**PHONE, "width": width})
    assert phone.run("return innerWidth") == width
    assert phone.run("return document.documentElement.scrollWidth") == width
    outside = phone.run(
        "return [...document.querySelectorAll('body *')].filter((e) => !e.closest('.scrolled, "
        ".unseen, .skip, thead') && e.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert outside == []


def test_tables_scroll_in_their_own_box_and_keep_their_first_column(phone: Page) -> None:
    scroll = "const box = document.querySelector('#elsewhere ~ .scrolled'); box.scrollLeft = 300;"
    assert phone.run(f"{scroll} return box.scrollLeft") == 300
    [box] = boxes(phone, "#elsewhere ~ .scrolled:has(.grid)")
    for title in boxes(phone, "#elsewhere ~ .scrolled .grid tbody th"):
        assert title["left"] == box["left"]


def test_only_scrolling_boxes_are_reached_by_keys(page: Page, browser: Chrome) -> None:
    count_script = "return [...document.querySelectorAll('.scrolled[tabindex=\\'0\\']')].length"
    assert page.run(count_script) == 0
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    page.wait(lambda: page.run(count_script) > 0)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.wait(lambda: page.run(count_script) == 0)


def test_figures_keep_their_size_on_a_phone(phone: Page) -> None:
    natural_widths = phone.run(
        "return [...document.querySelectorAll('.broad img')].map(i => i.naturalWidth)"
    )
    shown_widths = [box["width"] for box in boxes(phone, ".broad img")]
    assert shown_widths == pytest.approx([min(width, 704) for width in natural_widths], abs=0.5)


def test_contrasts_are_cards_on_a_phone(phone: Page) -> None:
    for row in phone.find_all("#elsewhere ~ .held tbody tr:not(.group)"):
        name, points = (row.find_element(By.CSS_SELECTOR, css).rect for css in ("th", "td.strip"))
        assert points["y"] >= name["y"] + name["height"]
        assert row.text.endswith(("better", "worse", "no difference shown"))
    [box] = boxes(phone, "#elsewhere ~ .held")
    assert all(
        cell["right"] <= box["right"] + 0.5 for cell in boxes(phone, "#elsewhere ~ .held td")
    )


def test_dark_page_is_readable(page: Page) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    contrasts = {
        css: contrast(page, css)
        for css in (".lede", ".notice", ".interval", ".note", ".better .verdict", ".axis")
    }
    paper = page.run("return getComputedStyle(document.documentElement).backgroundColor")
    print_media = {"media": "print", "features": features}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", print_media)
    ink = page.run("return getComputedStyle(document.querySelector('.lede')).color")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    light_contrasts = {css: contrast(page, css) for css in contrasts}
    assert paper == "rgb(21, 23, 26)"
    assert luminance(ink) < 0.05  # on paper, which is white
    assert min(contrasts.values()) >= 4.5
    assert min(light_contrasts.values()) >= 4.5


def contrast(page: Page, css: str) -> float:
    """Contrast of an element's text with its background (WCAG 2)."""
    colours = page.run(
        "let e = document.querySelector(arguments[0]); const made = [getComputedStyle(e).color];"
        "while (e && getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') "
        "e = e.parentElement; made.push(getComputedStyle(e).backgroundColor); return made",
        css,
    )
    darker, lighter = sorted(luminance(colour) for colour in colours)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    values = np.array(re.findall(r"\d+", colour)[:3], float) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_print_has_pages_for_experiments_and_runs(page: Page) -> None:
    response = page.browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(response["data"])
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4  # the first page, the experiment, 3 more
    time.sleep(0.2)
    assert not page.find("details").get_property("open")  # closed again


def test_collapsed_details_open_for_printing(page: Page) -> None:
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.find("details").get_property("open")
    page.run("dispatchEvent(new Event('afterprint'))")
    assert not page.find("details").get_property("open")


def test_nothing_is_cut_off_in_print(page: Page) -> None:
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": False},  # A4 minus margins
    )
    widest = page.run("return document.documentElement.scrollWidth")
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert widest <= 703


def test_hostile_names_do_nothing(browser: Chrome, tmp_path: Path) -> None:
    page = Page(browser, write_report(reproduction(tmp_path, hostile()))[-1])
    assert len(page.find_all("h2")) == 5
    assert page.run("return document.querySelectorAll('main script, main i').length") == 0
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    assert page.run("return document.documentElement.scrollWidth") == 390
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert log(browser, "browser") == []


def test_tables_are_sorted_filtered_and_copied(browser: Chrome, tmp_path: Path) -> None:
    several = results()
    several = replace(several, runs=[replace(several.runs[0], name=f"run-{n}") for n in range(12)])
    page = Page(browser, write_report(reproduction(tmp_path, several))[-1])
    page.run("document.querySelector('details:not(.written)').open = true")

    def names() -> list[str]:
        visible_names: list[str] = page.run(
            "return [...document.querySelectorAll('.runs tbody tr')].filter((r) => !r.hidden)"
            ".map((r) => r.cells[0].innerText)"
        )
        return visible_names

    header = page.find(".runs thead th button")
    header.click()
    assert names() == sorted(names())
    header.click()
    assert names() == sorted(names(), reverse=True)
    assert page.find(".runs thead th").get_attribute("aria-sort") == "descending"
    page.find(".tools input").send_keys("run-11")
    assert names() == ["run-11"]
    page.run(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: (t) => {"
        "window.copied = t; return Promise.resolve(); }}})"
    )
    page.find(".grid").find_element(By.XPATH, "../following-sibling::p/button").click()
    assert page.run("return window.copied").splitlines()[-1].split("\t")[0] == "14 × 14 px"
    assert log(browser, "browser") == []
