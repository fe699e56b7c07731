"""The page of `mfl explain` in headless Chromium, from disk: filters, pages, keys, pictures."""

import dataclasses
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from morefromless.analysis.explain import Disagreements
from morefromless.report.explain_page import write_page
from tests.report.test_explain_page import CLASSES, HOSTILE, example, without_groups

pytestmark = pytest.mark.xdist_group("browser")  # share a slow fixture

PAGE = 24


@pytest.fixture(scope="module")
def explanation() -> Disagreements:
    return example(400)


@pytest.fixture(scope="module")
def folder(explanation: Disagreements, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A path with a space, as users have."""
    folder = tmp_path_factory.mktemp("a page")
    write_page(explanation, {}, folder)
    return folder


@pytest.fixture
def page(browser: Chrome, folder: Path) -> Iterator["Page"]:
    """The page, newly opened. At the end, checks for warnings, errors and network requests."""
    opened = Page(browser, folder / "index.html")
    yield opened
    # Sometimes Chromium logs that the focus is already elsewhere when a dialog opens.
    assert [entry for entry in log(browser, "browser") if entry["level"] != "INFO"] == []
    assert {urlsplit(address).scheme for address in opened.requested()} <= {"file", "data"}
    assert opened.failed == []


def log(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """Entries logged since the last call."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


class Page:
    """The page as readers use it."""

    def __init__(self, browser: Chrome, place: Path | str, hash: str = "") -> None:
        self.browser = browser
        self.address = place.as_uri() if isinstance(place, Path) else place
        self.failed: list[str] = []
        self._requests: list[str] = []
        browser.get("about:blank")
        for kind in ("performance", "browser"):
            log(browser, kind)
        self.open(hash)

    def open(self, hash: str = "") -> None:
        self.browser.get("about:blank")
        self.browser.get(self.address + hash)

    def one(self, css: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> None:
        WebDriverWait(self.browser, 60).until(lambda _: condition())

    def choose(self, **filters: str) -> None:
        for name, value in filters.items():
            if name == "id":
                self.one("[name=id]").send_keys(value)
            else:
                options = Select(self.one(f"[name={name}]")).options
                next(o for o in options if o.get_property("value") == value).click()

    def turn_to(self, page: int) -> None:
        self.one("#page").send_keys(Keys.CONTROL, "a", Keys.NULL, str(page), Keys.ENTER)

    def press(self, *keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(*keys)

    def texts(self, css: str) -> list[str]:
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", css
        )
        return found

    @property
    def ids(self) -> list[str]:
        """Ids of the shown cards."""
        return self.texts("#cards .id")

    @property
    def status(self) -> str:
        return self.one("#status").text

    @property
    def focus(self) -> str:
        """The id of the patch whose card has the focus, or the focused element's own id."""
        found: str = self.run(
            "const e = document.activeElement;"
            "return e.closest('.card')?.querySelector('.id').textContent ?? e.id"
        )
        return found

    def requested(self) -> list[str]:
        """Addresses requested since the page was opened."""
        for entry in log(self.browser, "performance"):
            said = json.loads(entry["message"])["message"]
            if said["method"] == "Network.requestWillBeSent":
                self._requests.append(said["params"]["request"]["url"])
            elif said["method"] == "Network.loadingFailed":
                self.failed.append(str(said["params"]))
        return self._requests

    def sheets(self) -> set[str]:
        return {Path(urlsplit(a).path).name for a in self.requested() if a.endswith(".webp")}


def expected(explanation: Disagreements, **filters: str) -> list[str]:
    """Matching ids of the gallery in its order, found by loops over the data."""
    names, groups = explanation.ids, explanation.groups
    labels, predictions = explanation.labels, explanation.predictions
    ids = []
    for patch in explanation.gallery:
        label = CLASSES[labels[patch]]
        a, b = (CLASSES[k] for k in predictions[:, patch])
        right = (
            "both" if a == b == label else "a" if a == label else "b" if b == label else "neither"
        )
        has = {"true": label, "a": a, "b": b, "right": right}
        has["group"] = groups[patch] if groups else ""
        fits = all(has[name] == value for name, value in filters.items() if name in has)
        if "either" in filters:
            fits &= filters["either"] in (a, b)
        if fits and filters.get("id", "").lower() in names[patch].lower():
            ids.append(names[patch])
    return ids


def test_opens_from_a_disk_and_loads_no_sheet_that_is_not_looked_at(
    page: Page, explanation: Disagreements
) -> None:
    assert page.browser.title == f"{explanation.titles[0]} against {explanation.titles[1]}"
    assert page.status == f"{len(explanation.gallery)} of {len(explanation.gallery)} patches, " + (
        f"page 1 of {-(-len(explanation.gallery) // PAGE)}."
    )
    assert page.ids == expected(explanation)[:PAGE]
    time.sleep(0.3)
    assert page.sheets() == set()  # the gallery is far below
    page.run("document.getElementById('cards').scrollIntoView()")
    page.wait(page.sheets)
    time.sleep(0.3)
    needed = {
        f"{name}-{rank // 64:03}.webp"
        for rank in range(PAGE)
        for name in ("primary", "privileged", "cam-a", "cam-b")
    }
    assert page.sheets()
    assert page.sheets() <= needed
    assert not {"cam-a-001.webp", "cam-b-002.webp"} & page.sheets()


@pytest.mark.parametrize(
    "filters",
    [
        {"true": CLASSES[0]},
        {"true": HOSTILE},
        {"a": CLASSES[3]},
        {"b": HOSTILE, "right": "a"},
        {"either": CLASSES[2]},
        {"right": "a"},
        {"right": "b"},
        {"right": "neither"},
        {"group": "slide <3>", "right": "b"},
        {"id": "/É.PNG"},
        {"id": "</SCRIPT>", "true": CLASSES[3]},
        {"true": CLASSES[2]},
    ],
)
def test_filters(page: Page, explanation: Disagreements, filters: dict[str, str]) -> None:
    page.choose(**filters)
    wanted = expected(explanation, **filters)
    assert page.status.startswith(f"{len(wanted)} of {len(explanation.gallery)} patches, page 1 ")
    assert page.ids == wanted[:PAGE]
    page.one("[type=reset]").click()
    page.wait(lambda: page.ids == expected(explanation)[:PAGE])


def test_the_order_can_begin_with_those_that_one_is_right_on(
    page: Page, explanation: Disagreements
) -> None:
    page.choose(first="b")
    right, rest = expected(explanation, right="b"), expected(explanation)
    assert page.ids == [*right, *(one for one in rest if one not in right)][:PAGE]
    assert page.texts("#cards [data-text=mark-b]") == ["✓ right"] * min(PAGE, len(right))
    assert page.texts("#cards [data-text=mark-a]") == ["✗ wrong"] * min(PAGE, len(right))


def test_cards_say_label_predictions_and_confidence(page: Page, explanation: Disagreements) -> None:
    gallery = explanation.gallery[:PAGE]
    labels = [CLASSES[k] for k in explanation.labels[gallery]]
    assert page.texts("#cards [data-text=label]") == labels
    for side, name in enumerate("ab"):
        said = [CLASSES[k] for k in explanation.predictions[side, gallery]]
        right = [one == label for one, label in zip(said, labels, strict=True)]
        assert page.texts(f"#cards [data-text={name}]") == said
        sure = [f"{100 * p:.1f} %" for p in explanation.confidence[side, gallery]]
        assert page.texts(f"#cards [data-text=sure-{name}]") == sure
        marks = ["✓ right" if one else "✗ wrong" for one in right]
        assert page.texts(f"#cards [data-text=mark-{name}]") == marks


def test_pages_by_buttons_number_and_keys(page: Page, explanation: Disagreements) -> None:
    wanted = expected(explanation)
    last = -(-len(wanted) // PAGE)
    page.one("#on").click()
    assert page.ids == wanted[PAGE : 2 * PAGE]
    page.one("#back").click()
    assert page.ids == wanted[:PAGE]
    page.one("#back").click()
    assert page.status.endswith(f"page 1 of {last}.")
    page.turn_to(999)
    assert page.ids == wanted[(last - 1) * PAGE :]
    assert page.one("#page").get_property("value") == str(last)
    page.turn_to(1)
    page.one("#on").click()
    page.press("n")  # the focus is on the button
    assert page.ids == wanted[2 * PAGE : 3 * PAGE]
    page.run("document.querySelector('.opens').focus()")
    page.press("p")
    assert page.ids == wanted[PAGE : 2 * PAGE]
    assert page.focus == wanted[PAGE]  # moves to the first card
    page.press("p", "p", "p")
    assert page.ids == wanted[:PAGE]


def test_keys_are_left_alone_where_they_are_typed(page: Page, explanation: Disagreements) -> None:
    page.choose(id="png")
    assert page.one("[name=id]").get_property("value") == "png"
    assert f"page 1 of {-(-len(explanation.gallery) // PAGE)}." in page.status
    page.one("#page").send_keys("n")
    assert "page 1 " in page.status
    page.run("document.querySelector('.opens').focus()")
    page.press(Keys.CONTROL + "n" + Keys.NULL)
    assert "page 1 " in page.status


def test_a_patch_opens_steps_and_closes_with_the_focus_where_it_was(
    page: Page, explanation: Disagreements
) -> None:
    wanted = expected(explanation)
    page.run("document.querySelectorAll('.opens')[22].focus()")
    page.press(Keys.ENTER)
    assert page.one("dialog").get_property("open")
    assert page.one("#patch-name").text == wanted[22]
    patch = explanation.ids.index(wanted[22])
    for row, name in enumerate(CLASSES):
        written = " ".join(page.all(".probabilities tbody tr")[row].text.split())
        label = " label" if explanation.labels[patch] == row else ""
        a, b = 100 * explanation.probabilities[:, patch, row]
        assert written == f"{name}{label} {a:.1f} {b:.1f}"
    for side, name in enumerate("ab"):
        near = explanation.neighbours[side, patch]
        pictures = page.all(f"#near-{name} ~ ol .picture")
        assert [p.accessible_name for p in pictures] == [
            f"Primary view of {explanation.ids[k]}" for k in near
        ]
        labels = page.texts(f"#near-{name} ~ ol [data-text=label]")
        assert labels == [CLASSES[explanation.labels[k]] for k in near]
        same = sum(explanation.labels[k] == explanation.labels[patch] for k in near)
        assert page.one(f"#near-{name}").text.endswith(f"{same} of {len(near)} have this label")
    page.press(Keys.ARROW_LEFT)
    assert page.one("#patch-name").text == wanted[21]
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.one("#patch-name").text == wanted[24]  # on the next page
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.one("dialog").get_property("open"))
    page.wait(lambda: page.focus == wanted[24])
    assert page.ids == wanted[PAGE : 2 * PAGE]
    page.press(Keys.ENTER)
    page.one("dialog form button").click()
    page.wait(lambda: page.focus == wanted[24])


def test_nothing_lies_before_the_first_patch_and_after_the_last(
    page: Page, explanation: Disagreements
) -> None:
    wanted = expected(explanation, right="neither")
    page.choose(right="neither")
    page.one(".opens").click()
    page.press(Keys.ARROW_LEFT)
    assert page.one("#patch-name").text == wanted[0]
    assert page.one("[data-step='-1']").get_attribute("aria-disabled") == "true"
    for _ in range(len(wanted) + 2):
        page.press(Keys.ARROW_RIGHT)
    assert page.one("#patch-name").text == wanted[-1]
    assert page.one("[data-step='1']").get_attribute("aria-disabled") == "true"


def test_the_address_leads_back(page: Page, explanation: Disagreements) -> None:
    wanted = expected(explanation, right="a", a=HOSTILE)
    page.choose(right="a", a=HOSTILE)
    page.one("#on").click()
    page.run("document.querySelector('.opens').click()")
    name = page.one("#patch-name").text
    assert name == wanted[PAGE]
    asked = {"a": HOSTILE, "right": "a", "page": "2", "patch": name}
    page.wait(lambda: page.browser.current_url.endswith(f"#{urlencode(asked, safe='*')}"))
    page.browser.refresh()
    assert page.ids == wanted[PAGE : 2 * PAGE]
    assert page.one("#patch-name").text == name
    assert page.one("[name=a]").get_property("value") == HOSTILE
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.focus == name)
    page.one("[type=reset]").click()
    page.wait(lambda: "#" not in page.browser.current_url)


def test_an_address_of_what_is_not_here_shows_what_is(
    page: Page, explanation: Disagreements
) -> None:
    page.open("#true=no+class&right=both&first=x&page=1e9&patch=none")
    assert not page.one("dialog").get_property("open")
    for name in ("true", "right", "first"):
        assert page.one(f"[name={name}]").get_property("selectedIndex") == 0
    assert page.ids == expected(explanation)[(len(explanation.gallery) - 1) // PAGE * PAGE :]
    page.open("#page=-3")
    assert page.ids == expected(explanation)[:PAGE]


@pytest.mark.parametrize("key", ["a", "b", "either"])
def test_numbers_of_the_matrices_lead_to_their_patches(
    page: Page, explanation: Disagreements, key: str
) -> None:
    link = page.all(f".matrix-{key} tr:nth-child(2) a")[1]  # the hostile class, correctly predicted
    if key != "either":
        count = int((explanation.predictions["ab".index(key), explanation.labels == 1] == 1).sum())
        assert link.accessible_name.startswith(f"{count}, labelled {HOSTILE}")
    link.click()
    wanted = expected(explanation, true=HOSTILE, **{key: HOSTILE})
    page.wait(lambda: page.ids == wanted[:PAGE])
    assert page.focus == "gallery"
    assert link.get_attribute("aria-current") == "true"
    shown = f"{len(wanted)} of {len(explanation.gallery)} patches"
    assert page.status.startswith(shown)
    if key != "either":
        assert f" {count - len(wanted)} more test patches match" in page.status
    page.browser.back()
    page.wait(lambda: page.ids == expected(explanation)[:PAGE])


def test_outcomes_lead_to_their_patches(page: Page, explanation: Disagreements) -> None:
    page.one(".outcomes [href='#right=b']").click()
    page.wait(lambda: page.ids == expected(explanation, right="b")[:PAGE])
    assert page.browser.current_url.endswith("#right=b")


def test_a_link_of_another_kind_changes_no_filter(page: Page, explanation: Disagreements) -> None:
    page.open("#right=b")
    skip = page.one(".skip")
    assert not on_screen(page, skip)
    page.press(Keys.TAB)  # it is visible when it has the focus
    assert page.browser.switch_to.active_element == skip
    page.wait(lambda: on_screen(page, skip))
    page.press(Keys.ENTER)
    page.wait(lambda: page.browser.current_url.endswith("#right=b"))
    assert page.browser.switch_to.active_element != skip
    assert page.ids == expected(explanation, right="b")[:PAGE]


def on_screen(page: Page, element: WebElement) -> bool:
    shown: bool = page.run(
        "const r = arguments[0].getBoundingClientRect(); return r.top >= 0 && r.bottom > r.top;",
        element,
    )
    return shown


def test_matrices_in_per_cent_and_by_arrow_keys(page: Page) -> None:
    links = page.all(".matrix-a a")
    counts = [link.text for link in links]
    page.all("[name=units]")[1].click()
    assert [link.text for link in links] == [link.get_attribute("data-share") for link in links]
    assert links[0].accessible_name.startswith(f"{links[0].text} %, labelled")
    page.all("[name=units]")[0].click()
    assert [link.text for link in links] == counts
    assert sum(link.get_property("tabIndex") == 0 for link in links) == 1
    where = "const cell = document.activeElement.parentElement;" + (
        "return [cell.parentElement.rowIndex, cell.cellIndex]"
    )
    page.run("arguments[0].focus()", links[0])
    page.press(Keys.ARROW_DOWN)
    assert page.run(where) == [2, 1]
    page.press(Keys.ARROW_DOWN)
    assert page.run(where) == [4, 1]  # over the class without patches
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.run(where) == [4, 1]
    assert sum(link.get_property("tabIndex") == 0 for link in links) == 1


def mean_colour(page: Page, picture: WebElement) -> np.ndarray:
    """Mean colour of a picture as drawn, when its sheet is loaded."""
    page.run("arguments[0].scrollIntoView({ block: 'center' })", picture)
    page.wait(lambda: picture.value_of_css_property("background-image") != "none")
    page.browser.execute_async_script(
        "const image = new Image(); image.src = arguments[0];"
        "image.decode().then(() => requestAnimationFrame(() => setTimeout(arguments[1], 50)));",
        picture.get_attribute("data-sheet"),
    )
    drawn = np.asarray(Image.open(io.BytesIO(picture.screenshot_as_png)).convert("RGB"))
    assert np.ptp(drawn.reshape(-1, 3), axis=0).max() < 40  # no colour of a neighbour at the edge
    return np.asarray(drawn.mean((0, 1)))


def test_pictures_are_those_of_the_patch(page: Page, explanation: Disagreements) -> None:
    page.open("#page=4")  # GradCAMs of the second sheet
    assert explanation.privileged is not None
    for shown in (0, 5, 23):
        card = page.all(".card")[shown]
        rank = 3 * PAGE + shown
        patch = explanation.gallery[rank]
        wanted = [explanation.primary[patch], explanation.privileged[patch]]
        wanted += [cams[rank] for cams in explanation.cams if cams is not None]
        pictures = card.find_elements(By.CSS_SELECTOR, ".picture")
        views = [picture.get_attribute("data-view") for picture in pictures]
        assert views == ["primary", "privileged", "cam-a", "cam-b"]
        for picture, one in zip(pictures, wanted, strict=True):
            np.testing.assert_allclose(mean_colour(page, picture), one.mean((0, 1)), atol=8)
    card.find_element(By.CSS_SELECTOR, ".opens").send_keys(Keys.ENTER)
    for side in (0, 1):
        near = page.all(f".neighbours[data-side='{side}'] .picture")
        for picture, neighbour in zip(near, explanation.neighbours[side, patch], strict=True):
            colour = explanation.primary[neighbour].mean((0, 1))
            np.testing.assert_allclose(mean_colour(page, picture), colour, atol=8)


CONTRAST = """
const luminance = (colour) => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const cell = document.querySelector('.matrix-either td');
const made = {};
for (let shade = -10; shade <= 10; shade += 1) {
  cell.className = `shade${shade}`;
  const [one, other] = [getComputedStyle(cell.firstElementChild).color,
    getComputedStyle(cell).backgroundColor].map(luminance);
  made[shade] = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}
return made;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_can_be_read_on_every_shade(page: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    contrasts = page.run(CONTRAST)
    paper = page.run("return getComputedStyle(document.documentElement).backgroundColor")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert len({round(one, 4) for one in contrasts.values()}) == 21  # all shades differ
    assert min(contrasts.values()) >= 4.5


def nameless(within: WebElement) -> Sequence[str]:
    """Visible controls, pictures and landmarks without a name for screen readers."""
    css = "a, button, select, input, img, [role=img], section, nav"
    return [
        str(element.get_attribute("outerHTML"))[:80]
        for element in within.find_elements(By.CSS_SELECTOR, css)
        if element.is_displayed() and not element.accessible_name.strip()
    ]


def test_a_screen_reader_has_words_for_everything(page: Page) -> None:
    assert nameless(page.one("body")) == []
    assert page.one("#status").aria_role == "status"
    page.one(".opens").click()
    dialog = page.one("dialog")
    assert dialog.aria_role == "dialog"
    assert dialog.accessible_name == page.one("#patch-name").text
    assert nameless(dialog) == []
    levels = page.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1


def test_without_groups_privileged_views_and_feature_maps(
    browser: Chrome, explanation: Disagreements, tmp_path: Path
) -> None:
    some = dataclasses.replace(without_groups(explanation), privileged=None, cams=(None, None))
    page = Page(browser, write_page(some, {}, tmp_path))
    assert len(page.all(".card")) == PAGE
    assert len(page.all(".card .picture")) == PAGE
    page.one(".opens").click()
    assert page.one("dialog header p").text == f"Label {CLASSES[some.labels[some.gallery[0]]]}"
    assert log(browser, "browser") == []


def test_an_empty_gallery(browser: Chrome, explanation: Disagreements, tmp_path: Path) -> None:
    none = np.zeros(0, np.int64)
    agreeing = dataclasses.replace(explanation, gallery=none, cams=(None, None))
    page = Page(browser, write_page(agreeing, {}, tmp_path))
    assert page.status == "0 of 0 patches, page 1 of 1."
    page.one("#on").click()
    assert page.ids == []
    assert log(browser, "browser") == []


def test_a_gallery_of_all_test_patches(
    browser: Chrome, explanation: Disagreements, tmp_path: Path
) -> None:
    agreed = np.setdiff1d(np.arange(400), explanation.gallery)
    everything = np.concatenate([explanation.gallery, agreed])
    whole = dataclasses.replace(explanation, gallery=everything, cams=(None, None))
    page = Page(browser, write_page(whole, {}, tmp_path))
    assert page.status.startswith("400 of 400 patches, page 1 of 17.")
    page.one(".outcomes [href='#right=both']").click()
    page.wait(lambda: page.ids == expected(whole, right="both")[:PAGE])
    page.choose(right="neither", either=HOSTILE)
    wanted = expected(whole, right="neither", either=HOSTILE)
    assert page.ids == wanted[:PAGE]
    assert page.status == f"{len(wanted)} of 400 patches, page 1 of {-(-len(wanted) // PAGE)}."
    assert log(browser, "browser") == []


def test_as_many_patches_as_nct_crc_has_for_testing(browser: Chrome, tmp_path: Path) -> None:
    explanation = example(7180, side=8)
    page = Page(browser, write_page(explanation, {}, tmp_path))
    assert page.status.startswith(f"{len(explanation.gallery):,} of {len(explanation.gallery):,} ")
    page.choose(right="a")
    wanted = expected(explanation, right="a")
    assert page.status.startswith(f"{len(wanted):,} of ")
    page.turn_to(40)
    assert page.ids == wanted[39 * PAGE : 40 * PAGE]
    assert len(page.all(".card")) == PAGE
    assert len(page.sheets()) < 2 * PAGE + 2 * PAGE
    assert unquote(urlsplit(browser.current_url).path) == str(tmp_path / "index.html")
    assert log(browser, "browser") == []
