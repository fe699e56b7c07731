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
    new_page = Page(browser, folder / "index.html")
    yield new_page
    # Sometimes Chromium logs that the focus is already elsewhere when a dialog opens.
    assert [entry for entry in log(browser, "browser") if entry["level"] != "INFO"] == []
    assert {urlsplit(address).scheme for address in new_page.requested()} <= {"file", "data"}
    assert new_page.failed == []


def log(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """Entries logged since the last call."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


class Page:
    """The page as readers use it."""

    def __init__(self, browser: Chrome, location: Path | str, hash: str = "") -> None:
        self.browser = browser
        self.address = location.as_uri() if isinstance(location, Path) else location
        self.failed: list[str] = []
        self._requests: list[str] = []
        browser.get("about:blank")
        for kind in ("performance", "browser"):
            log(browser, kind)
        self.open(hash)

    def open(self, hash: str = "") -> None:
        self.browser.get("about:blank")
        self.browser.get(self.address + hash)

    def find(self, css: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def find_all(self, css: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> None:
        WebDriverWait(self.browser, 60).until(lambda _: condition())

    def choose(self, **filters: str) -> None:
        for name, value in filters.items():
            if name == "id":
                self.find("[name=id]").send_keys(value)
            else:
                options = Select(self.find(f"[name={name}]")).options
                next(o for o in options if o.get_property("value") == value).click()

    def turn_to(self, page: int) -> None:
        self.find("#page").send_keys(Keys.CONTROL, "a", Keys.NULL, str(page), Keys.ENTER)

    def press(self, *keys: str) -> None:
        self.browser.switch_to.active_element.send_keys(*keys)

    def texts(self, css: str) -> list[str]:
        texts: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", css
        )
        return texts

    @property
    def ids(self) -> list[str]:
        """Ids of the shown cards."""
        return self.texts("#cards .id")

    @property
    def status(self) -> str:
        return self.find("#status").text

    @property
    def focus(self) -> str:
        """The id of the patch whose card has the focus, or the focused element's own id."""
        patch_id: str = self.run(
            "const e = document.activeElement;"
            "return e.closest('.card')?.querySelector('.id').textContent ?? e.id"
        )
        return patch_id

    def requested(self) -> list[str]:
        """Addresses requested since the page was opened."""
        for entry in log(self.browser, "performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._requests.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.loadingFailed":
                self.failed.append(str(message["params"]))
        return self._requests

    def sheets(self) -> set[str]:
        return {Path(urlsplit(a).path).name for a in self.requested() if a.endswith(".webp")}


def matching_ids(explanation: Disagreements, **filters: str) -> list[str]:
    """Matching ids of the gallery in its order, computed by loops over the data."""
    names, groups = explanation.ids, explanation.groups
    labels, predictions = explanation.labels, explanation.predictions
    ids = []
    for patch in explanation.gallery:
        label = CLASSES[labels[patch]]
        a, b = (CLASSES[k] for k in predictions[:, patch])
        right = (
            "both" if a == b == label else "a" if a == label else "b" if b == label else "neither"
        )
        values = {"true": label, "a": a, "b": b, "right": right}
        values["group"] = groups[patch] if groups else ""
        matches = all(values[name] == value for name, value in filters.items() if name in values)
        if "either" in filters:
            matches &= filters["either"] in (a, b)
        if matches and filters.get("id", "").lower() in names[patch].lower():
            ids.append(names[patch])
    return ids


def test_page_opens_from_disk_and_loads_only_visible_sheets(
    page: Page, explanation: Disagreements
) -> None:
    assert page.browser.title == f"{explanation.titles[0]} against {explanation.titles[1]}"
    assert page.status == f"{len(explanation.gallery)} of {len(explanation.gallery)} patches, " + (
        f"page 1 of {-(-len(explanation.gallery) // PAGE)}."
    )
    assert page.ids == matching_ids(explanation)[:PAGE]
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
    expected_ids = matching_ids(explanation, **filters)
    assert page.status.startswith(
        f"{len(expected_ids)} of {len(explanation.gallery)} patches, page 1 "
    )
    assert page.ids == expected_ids[:PAGE]
    page.find("[type=reset]").click()
    page.wait(lambda: page.ids == matching_ids(explanation)[:PAGE])


def test_order_can_start_with_correct_patches_of_one_encoder(
    page: Page, explanation: Disagreements
) -> None:
    page.choose(first="b")
    right, rest = matching_ids(explanation, right="b"), matching_ids(explanation)
    assert page.ids == [*right, *(patch_id for patch_id in rest if patch_id not in right)][:PAGE]
    assert page.texts("#cards [data-text=mark-b]") == ["✓ right"] * min(PAGE, len(right))
    assert page.texts("#cards [data-text=mark-a]") == ["✗ wrong"] * min(PAGE, len(right))


def test_cards_show_label_predictions_and_confidence(
    page: Page, explanation: Disagreements
) -> None:
    gallery = explanation.gallery[:PAGE]
    labels = [CLASSES[k] for k in explanation.labels[gallery]]
    assert page.texts("#cards [data-text=label]") == labels
    for side, name in enumerate("ab"):
        predicted = [CLASSES[k] for k in explanation.predictions[side, gallery]]
        right = [prediction == label for prediction, label in zip(predicted, labels, strict=True)]
        assert page.texts(f"#cards [data-text={name}]") == predicted
        confidences = [f"{100 * p:.1f} %" for p in explanation.confidence[side, gallery]]
        assert page.texts(f"#cards [data-text=sure-{name}]") == confidences
        marks = ["✓ right" if correct else "✗ wrong" for correct in right]
        assert page.texts(f"#cards [data-text=mark-{name}]") == marks


def test_pages_turn_by_buttons_number_and_keys(page: Page, explanation: Disagreements) -> None:
    expected_ids = matching_ids(explanation)
    last = -(-len(expected_ids) // PAGE)
    page.find("#on").click()
    assert page.ids == expected_ids[PAGE : 2 * PAGE]
    page.find("#back").click()
    assert page.ids == expected_ids[:PAGE]
    page.find("#back").click()
    assert page.status.endswith(f"page 1 of {last}.")
    page.turn_to(999)
    assert page.ids == expected_ids[(last - 1) * PAGE :]
    assert page.find("#page").get_property("value") == str(last)
    page.turn_to(1)
    page.find("#on").click()
    page.press("n")  # the focus is on the button
    assert page.ids == expected_ids[2 * PAGE : 3 * PAGE]
    page.run("document.querySelector('.opens').focus()")
    page.press("p")
    assert page.ids == expected_ids[PAGE : 2 * PAGE]
    assert page.focus == expected_ids[PAGE]  # moves to the first card
    page.press("p", "p", "p")
    assert page.ids == expected_ids[:PAGE]


def test_keys_typed_into_fields_do_not_turn_pages(page: Page, explanation: Disagreements) -> None:
    page.choose(id="png")
    assert page.find("[name=id]").get_property("value") == "png"
    assert f"page 1 of {-(-len(explanation.gallery) // PAGE)}." in page.status
    page.find("#page").send_keys("n")
    assert "page 1 " in page.status
    page.run("document.querySelector('.opens').focus()")
    page.press(Keys.CONTROL + "n" + Keys.NULL)
    assert "page 1 " in page.status


def test_patch_opens_steps_and_restores_the_focus(page: Page, explanation: Disagreements) -> None:
    expected_ids = matching_ids(explanation)
    page.run("document.querySelectorAll('.opens')[22].focus()")
    page.press(Keys.ENTER)
    assert page.find("dialog").get_property("open")
    assert page.find("#patch-name").text == expected_ids[22]
    patch = explanation.ids.index(expected_ids[22])
    for row, name in enumerate(CLASSES):
        cells = " ".join(page.find_all(".probabilities tbody tr")[row].text.split())
        label = " label" if explanation.labels[patch] == row else ""
        a, b = 100 * explanation.probabilities[:, patch, row]
        assert cells == f"{name}{label} {a:.1f} {b:.1f}"
    for side, name in enumerate("ab"):
        neighbours = explanation.neighbours[side, patch]
        pictures = page.find_all(f"#near-{name} ~ ol .picture")
        assert [p.accessible_name for p in pictures] == [
            f"Primary view of {explanation.ids[k]}" for k in neighbours
        ]
        labels = page.texts(f"#near-{name} ~ ol [data-text=label]")
        assert labels == [CLASSES[explanation.labels[k]] for k in neighbours]
        equal_labels = sum(explanation.labels[k] == explanation.labels[patch] for k in neighbours)
        assert page.find(f"#near-{name}").text.endswith(
            f"{equal_labels} of {len(neighbours)} have this label"
        )
    page.press(Keys.ARROW_LEFT)
    assert page.find("#patch-name").text == expected_ids[21]
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.find("#patch-name").text == expected_ids[24]  # on the next page
    page.press(Keys.ESCAPE)
    page.wait(lambda: not page.find("dialog").get_property("open"))
    page.wait(lambda: page.focus == expected_ids[24])
    assert page.ids == expected_ids[PAGE : 2 * PAGE]
    page.press(Keys.ENTER)
    page.find("dialog form button").click()
    page.wait(lambda: page.focus == expected_ids[24])


def test_stepping_stops_at_the_first_and_last_patch(page: Page, explanation: Disagreements) -> None:
    expected_ids = matching_ids(explanation, right="neither")
    page.choose(right="neither")
    page.find(".opens").click()
    page.press(Keys.ARROW_LEFT)
    assert page.find("#patch-name").text == expected_ids[0]
    assert page.find("[data-step='-1']").get_attribute("aria-disabled") == "true"
    for _ in range(len(expected_ids) + 2):
        page.press(Keys.ARROW_RIGHT)
    assert page.find("#patch-name").text == expected_ids[-1]
    assert page.find("[data-step='1']").get_attribute("aria-disabled") == "true"


def test_address_restores_the_page(page: Page, explanation: Disagreements) -> None:
    expected_ids = matching_ids(explanation, right="a", a=HOSTILE)
    page.choose(right="a", a=HOSTILE)
    page.find("#on").click()
    page.run("document.querySelector('.opens').click()")
    name = page.find("#patch-name").text
    assert name == expected_ids[PAGE]
    parameters = {"a": HOSTILE, "right": "a", "page": "2", "patch": name}
    page.wait(lambda: page.browser.current_url.endswith(f"#{urlencode(parameters, safe='*')}"))
    page.browser.refresh()
    assert page.ids == expected_ids[PAGE : 2 * PAGE]
    assert page.find("#patch-name").text == name
    assert page.find("[name=a]").get_property("value") == HOSTILE
    page.press(Keys.ESCAPE)
    page.wait(lambda: page.focus == name)
    page.find("[type=reset]").click()
    page.wait(lambda: "#" not in page.browser.current_url)


def test_unknown_values_in_the_address_are_ignored(page: Page, explanation: Disagreements) -> None:
    page.open("#true=no+class&right=both&first=x&page=1e9&patch=none")
    assert not page.find("dialog").get_property("open")
    for name in ("true", "right", "first"):
        assert page.find(f"[name={name}]").get_property("selectedIndex") == 0
    assert page.ids == matching_ids(explanation)[(len(explanation.gallery) - 1) // PAGE * PAGE :]
    page.open("#page=-3")
    assert page.ids == matching_ids(explanation)[:PAGE]


@pytest.mark.parametrize("key", ["a", "b", "either"])
def test_matrix_numbers_link_to_their_patches(
    page: Page, explanation: Disagreements, key: str
) -> None:
    # The hostile class, correctly predicted.
    link = page.find_all(f".matrix-{key} tr:nth-child(2) a")[1]
    if key != "either":
        count = int((explanation.predictions["ab".index(key), explanation.labels == 1] == 1).sum())
        assert link.accessible_name.startswith(f"{count}, labelled {HOSTILE}")
    link.click()
    expected_ids = matching_ids(explanation, true=HOSTILE, **{key: HOSTILE})
    page.wait(lambda: page.ids == expected_ids[:PAGE])
    assert page.focus == "gallery"
    assert link.get_attribute("aria-current") == "true"
    summary = f"{len(expected_ids)} of {len(explanation.gallery)} patches"
    assert page.status.startswith(summary)
    if key != "either":
        assert f" {count - len(expected_ids)} more test patches match" in page.status
    page.browser.back()
    page.wait(lambda: page.ids == matching_ids(explanation)[:PAGE])


def test_outcomes_link_to_their_patches(page: Page, explanation: Disagreements) -> None:
    page.find(".outcomes [href='#right=b']").click()
    page.wait(lambda: page.ids == matching_ids(explanation, right="b")[:PAGE])
    assert page.browser.current_url.endswith("#right=b")


def test_skip_link_changes_no_filter(page: Page, explanation: Disagreements) -> None:
    page.open("#right=b")
    skip = page.find(".skip")
    assert not on_screen(page, skip)
    page.press(Keys.TAB)  # it is visible when it has the focus
    assert page.browser.switch_to.active_element == skip
    page.wait(lambda: on_screen(page, skip))
    page.press(Keys.ENTER)
    page.wait(lambda: page.browser.current_url.endswith("#right=b"))
    assert page.browser.switch_to.active_element != skip
    assert page.ids == matching_ids(explanation, right="b")[:PAGE]


def on_screen(page: Page, element: WebElement) -> bool:
    visible: bool = page.run(
        "const r = arguments[0].getBoundingClientRect(); return r.top >= 0 && r.bottom > r.top;",
        element,
    )
    return visible


def test_matrices_show_per_cent_and_follow_arrow_keys(page: Page) -> None:
    links = page.find_all(".matrix-a a")
    counts = [link.text for link in links]
    page.find_all("[name=units]")[1].click()
    assert [link.text for link in links] == [link.get_attribute("data-share") for link in links]
    assert links[0].accessible_name.startswith(f"{links[0].text} %, labelled")
    page.find_all("[name=units]")[0].click()
    assert [link.text for link in links] == counts
    assert sum(link.get_property("tabIndex") == 0 for link in links) == 1
    position_script = "const cell = document.activeElement.parentElement;" + (
        "return [cell.parentElement.rowIndex, cell.cellIndex]"
    )
    page.run("arguments[0].focus()", links[0])
    page.press(Keys.ARROW_DOWN)
    assert page.run(position_script) == [2, 1]
    page.press(Keys.ARROW_DOWN)
    assert page.run(position_script) == [4, 1]  # over the class without patches
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert page.run(position_script) == [4, 1]
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
    pixels = np.asarray(Image.open(io.BytesIO(picture.screenshot_as_png)).convert("RGB"))
    assert np.ptp(pixels.reshape(-1, 3), axis=0).max() < 40  # no colour of a neighbour at the edge
    return np.asarray(pixels.mean((0, 1)))


def test_cards_show_the_pictures_of_their_patch(page: Page, explanation: Disagreements) -> None:
    page.open("#page=4")  # GradCAMs of the second sheet
    assert explanation.privileged is not None
    for position in (0, 5, 23):
        card = page.find_all(".card")[position]
        rank = 3 * PAGE + position
        patch = explanation.gallery[rank]
        expected_pictures = [explanation.primary[patch], explanation.privileged[patch]]
        expected_pictures += [cams[rank] for cams in explanation.cams if cams is not None]
        pictures = card.find_elements(By.CSS_SELECTOR, ".picture")
        views = [picture.get_attribute("data-view") for picture in pictures]
        assert views == ["primary", "privileged", "cam-a", "cam-b"]
        for picture, expected_picture in zip(pictures, expected_pictures, strict=True):
            np.testing.assert_allclose(
                mean_colour(page, picture), expected_picture.mean((0, 1)), atol=8
            )
    card.find_element(By.CSS_SELECTOR, ".opens").send_keys(Keys.ENTER)
    for side in (0, 1):
        neighbour_pictures = page.find_all(f".neighbours[data-side='{side}'] .picture")
        for picture, neighbour in zip(
            neighbour_pictures, explanation.neighbours[side, patch], strict=True
        ):
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
def test_numbers_are_readable_on_every_shade(page: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    contrasts = page.run(CONTRAST)
    paper = page.run("return getComputedStyle(document.documentElement).backgroundColor")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert len({round(contrast, 4) for contrast in contrasts.values()}) == 21  # all shades differ
    assert min(contrasts.values()) >= 4.5


def unnamed_elements(root: WebElement) -> Sequence[str]:
    """Visible controls, pictures and landmarks without a name for screen readers."""
    css = "a, button, select, input, img, [role=img], section, nav"
    return [
        str(element.get_attribute("outerHTML"))[:80]
        for element in root.find_elements(By.CSS_SELECTOR, css)
        if element.is_displayed() and not element.accessible_name.strip()
    ]


def test_all_elements_have_names_for_screen_readers(page: Page) -> None:
    assert unnamed_elements(page.find("body")) == []
    assert page.find("#status").aria_role == "status"
    page.find(".opens").click()
    dialog = page.find("dialog")
    assert dialog.aria_role == "dialog"
    assert dialog.accessible_name == page.find("#patch-name").text
    assert unnamed_elements(dialog) == []
    levels = page.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1


def test_page_without_groups_privileged_views_or_feature_maps(
    browser: Chrome, explanation: Disagreements, tmp_path: Path
) -> None:
    reduced = dataclasses.replace(without_groups(explanation), privileged=None, cams=(None, None))
    page = Page(browser, write_page(reduced, {}, tmp_path))
    assert len(page.find_all(".card")) == PAGE
    assert len(page.find_all(".card .picture")) == PAGE
    page.find(".opens").click()
    assert (
        page.find("dialog header p").text == f"Label {CLASSES[reduced.labels[reduced.gallery[0]]]}"
    )
    assert log(browser, "browser") == []


def test_empty_gallery(browser: Chrome, explanation: Disagreements, tmp_path: Path) -> None:
    no_patches = np.zeros(0, np.int64)
    agreeing = dataclasses.replace(explanation, gallery=no_patches, cams=(None, None))
    page = Page(browser, write_page(agreeing, {}, tmp_path))
    assert page.status == "0 of 0 patches, page 1 of 1."
    page.find("#on").click()
    assert page.ids == []
    assert log(browser, "browser") == []


def test_gallery_of_all_test_patches(
    browser: Chrome, explanation: Disagreements, tmp_path: Path
) -> None:
    agreed = np.setdiff1d(np.arange(400), explanation.gallery)
    all_patches = np.concatenate([explanation.gallery, agreed])
    complete = dataclasses.replace(explanation, gallery=all_patches, cams=(None, None))
    page = Page(browser, write_page(complete, {}, tmp_path))
    assert page.status.startswith("400 of 400 patches, page 1 of 17.")
    page.find(".outcomes [href='#right=both']").click()
    page.wait(lambda: page.ids == matching_ids(complete, right="both")[:PAGE])
    page.choose(right="neither", either=HOSTILE)
    expected_ids = matching_ids(complete, right="neither", either=HOSTILE)
    assert page.ids == expected_ids[:PAGE]
    assert (
        page.status
        == f"{len(expected_ids)} of 400 patches, page 1 of {-(-len(expected_ids) // PAGE)}."
    )
    assert log(browser, "browser") == []


def test_page_holds_all_test_patches_of_nct_crc(browser: Chrome, tmp_path: Path) -> None:
    explanation = example(7180, side=8)
    page = Page(browser, write_page(explanation, {}, tmp_path))
    assert page.status.startswith(f"{len(explanation.gallery):,} of {len(explanation.gallery):,} ")
    page.choose(right="a")
    expected_ids = matching_ids(explanation, right="a")
    assert page.status.startswith(f"{len(expected_ids):,} of ")
    page.turn_to(40)
    assert page.ids == expected_ids[39 * PAGE : 40 * PAGE]
    assert len(page.find_all(".card")) == PAGE
    assert len(page.sheets()) < 2 * PAGE + 2 * PAGE
    assert unquote(urlsplit(browser.current_url).path) == str(tmp_path / "index.html")
    assert log(browser, "browser") == []
