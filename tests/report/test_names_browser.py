"""Pages with any number of classes and any class names, on a phone and on a desktop."""

from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from morefromless.report.explain_page import write_page
from morefromless.report.report import write_report
from tests.report.handmade import reproduction, results
from tests.report.test_explain_browser import Page, log
from tests.report.test_explain_page import example
from tests.report.test_report_browser import PHONE

pytestmark = pytest.mark.xdist_group("browser")  # share a slow fixture

NAMES = ("x" * 60, "<b>bold</b> & \"quoted\" 'so'", "absent", "נסיון של רקמה", "نسيج ظهاري")
SETS = {
    "1": NAMES[:1],
    "30": (*NAMES, *(f"class {n}: {'of a long name ' * 3}" for n in range(25))),
}
WIDTHS = (390, 1400)


def fits_the_window(browser: Chrome, page: Page) -> bool:
    """Whether the page is exactly as wide as the window, at every width."""
    fits = []
    for width in WIDTHS:
        screen = {**PHONE, "width": width, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        page.open()
        size = "const e = document.documentElement; return [e.clientWidth, e.scrollWidth]"
        window_width, page_width = page.run(size)
        fits.append(page_width == window_width > width - 20)  # minus a scroll bar
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return all(fits)


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_explanation_page_shows_any_names(
    names: tuple[str, ...], browser: Chrome, tmp_path: Path
) -> None:
    write_page(example(30, classes=names), {}, tmp_path)
    page = Page(browser, tmp_path / "index.html")
    assert fits_the_window(browser, page)
    options = page.texts("[name=true] option")
    assert set(names) <= set(options)
    assert page.run("return document.querySelectorAll('main b').length") == 0
    assert log(browser, "browser") == []


@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_report_shows_any_names(names: tuple[str, ...], browser: Chrome, tmp_path: Path) -> None:
    plain = results()
    data = replace(plain.data, classes={"tissue": dict.fromkeys(names, (30, 7))})
    named = [replace(c, name=f"{names[-1]} - {names[0]}") for c in plain.contrasts]
    folder = reproduction(tmp_path, replace(plain, data=data, contrasts=named))
    page = Page(browser, write_report(folder)[-1])
    assert fits_the_window(browser, page)
    assert names[0] in page.find("body").get_property("textContent")
    assert log(browser, "browser") == []
