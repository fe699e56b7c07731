"""The page of `mfl explain` as a file: its content, what it loads, and the files next to it."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from PIL import Image

from morefromless.analysis.explain import Disagreements, disagreements
from morefromless.data.store import Store
from morefromless.report.content import Picture
from morefromless.report.explain_page import write_page
from morefromless.report.pages import sheets
from tests.data.meta import store_meta

HOSTILE = "</script><img src=x onerror=alert(1)>"
CLASSES = ("gland & stroma", HOSTILE, "absent", "tu\"mor'")
"""The third has no test patches."""


def example(
    patches: int = 300, side: int = 12, neighbours: int = 5, classes: tuple[str, ...] = CLASSES
) -> Disagreements:
    """Patches in random plain colours; both encoders are right more often than not, A more often
    than B. Every tenth id is hostile."""
    rng = np.random.default_rng(0)
    labels = rng.choice([k for k in range(len(classes)) if k != 2], patches)
    logits = rng.normal(size=(2, patches, len(classes)))
    logits[:, np.arange(patches), labels] += [[1.5], [1.0]]
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    gallery = disagreements(probabilities)

    def colours(number: int) -> np.ndarray:
        plain = rng.integers(0, 256, (number, 1, 1, 3), dtype=np.uint8)
        return np.broadcast_to(plain, (number, side, side, 3)).copy()

    table = pd.DataFrame(
        {
            "id": [f"{i:05}/{HOSTILE if i % 10 == 0 else 'é'}.png" for i in range(patches)],
            "group": [f"slide <{k}>" for k in rng.integers(0, 6, patches)],
            "label": np.array(classes, dtype=object)[labels],
        }
    )
    return Disagreements(
        config=None,  # type: ignore[arg-type]
        store=Store(Path(), store_meta(classes=classes), table, {}, None),
        answers=None,  # type: ignore[arg-type]
        cka=None,  # type: ignore[arg-type]
        titles=("asymmetric <b>s0</b>", "symmetric s0"),
        facts=(("arm", "asymmetric", "symmetric"), ("accuracy", HOSTILE, "70 %")),
        notes=("No patients are known & that matters.",),
        rows=np.arange(patches),
        probabilities=probabilities.astype(np.float32),
        features=None,  # type: ignore[arg-type]
        neighbours=rng.integers(0, patches, (2, patches, neighbours)),
        primary=colours(patches),
        privileged=colours(patches),
        gallery=gallery,
        cams=(colours(len(gallery)), colours(len(gallery))),
    )


def without_groups(explanation: Disagreements) -> Disagreements:
    """The explanation without known patients or slides."""
    store = explanation.store
    meta = replace(store.meta, groups_known=False)
    ungrouped = Store(store.path, meta, store.table, store.arrays, store.present)
    return dataclasses.replace(explanation, store=ungrouped)


class Parsed(HTMLParser):
    """Tags with attributes, scripts, styles, all other text, and tables by class as rows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self._in_cell = False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows = self.tables.setdefault(dict(attrs)["class"] or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)
        elif self.cdata_elem == "style":
            self.styles.append(data)
        else:
            self.text += data
            if self._in_cell:
                self._rows[-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def data(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.scripts[0])
        return content


def read_thumbnail(path: Path, number: int, side: int) -> np.ndarray:
    """Picture `number` of a sheet, by counting: eight per row, each with a border of one pixel."""
    row, column = divmod(number, 8)
    top, left = row * (side + 2) + 1, column * (side + 2) + 1
    return np.asarray(Image.open(path).convert("RGB"))[top : top + side, left : left + side]


def test_page_is_one_file_and_loads_only_its_sheets(tmp_path: Path) -> None:
    explanation = example()
    assert write_page(explanation, {}, tmp_path / "page") == tmp_path / "page" / "index.html"
    assert {path.name for path in tmp_path.iterdir()} == {"page"}
    files = {str(path.relative_to(tmp_path / "page")) for path in tmp_path.glob("page/**/*.*")}
    rows, cams = -(-300 // 64), -(-len(explanation.gallery) // 64)
    expected = {f"sheets/{n}-{k:03}.webp" for n in ("primary", "privileged") for k in range(rows)}
    expected |= {f"sheets/cam-{side}-{k:03}.webp" for side in "ab" for k in range(cams)}
    assert files == {"index.html", *expected}
    page = Parsed(tmp_path / "page" / "index.html")
    assert {name for file_names in page.data["sheets"].values() for name in file_names} == expected
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "formaction", "data", "poster"):
            assert re.match(r"(#|data:|$)", attributes.get(name) or ""), attributes
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    for text in (*page.scripts[1:], *page.styles):
        assert not re.search(r"https?://|@import|innerHTML|eval\(", text)


def test_policy_allows_only_scripts_and_styles_of_the_page(tmp_path: Path) -> None:
    page = Parsed(write_page(example(), {}, tmp_path))
    [policy] = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "'self' data: file:"
    for kind, [text] in (("script-src", page.scripts[1:]), ("style-src", page.styles)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"


def test_names_are_escaped(tmp_path: Path) -> None:
    explanation = example()
    page = Parsed(write_page(explanation, {}, tmp_path))
    assert page.all("img") == []
    assert len(page.scripts) == 2
    assert page.data["ids"] == list(explanation.ids)
    assert page.data["classes"] == list(CLASSES)
    option_values = [o["value"] for o in page.all("option")]
    assert option_values[1:5] == list(CLASSES)
    assert sorted(set(explanation.groups or ())) == [
        g for g in option_values if g.startswith("slide")
    ]
    assert HOSTILE in page.text
    assert "asymmetric <b>s0</b>" in page.text


def test_data_match_the_gallery(tmp_path: Path) -> None:
    explanation = example(neighbours=3)
    data = Parsed(write_page(explanation, {}, tmp_path)).data
    assert data["gallery"] == explanation.gallery.tolist()
    assert data["labels"] == explanation.labels.tolist()
    for side in (0, 1):
        for rank, patch in enumerate(explanation.gallery):
            assert data["neighbours"][side][rank] == explanation.neighbours[side, patch].tolist()
            np.testing.assert_allclose(
                np.array(data["permille"][side][rank]) / 1000,
                explanation.probabilities[side, patch],
                atol=0.0005001,
            )


def test_outcomes_are_counted(tmp_path: Path) -> None:
    explanation = example()
    page = Parsed(write_page(explanation, {}, tmp_path))
    count = {"both": 0, "a": 0, "b": 0, "neither": 0}
    disagreeing = 0
    for label, (a, b) in zip(explanation.labels, explanation.predictions.T, strict=True):
        right = {(True, True): "both", (True, False): "a", (False, True): "b"}
        count[right.get((a == label, b == label), "neither")] += 1
        disagreeing += a != b
    widths = {r["class"].removeprefix("outcome-"): int(r["width"]) for r in page.all("rect")}
    assert widths == count
    assert f"They disagree on {disagreeing} " in page.text
    assert f"A is right on {count['both'] + count['a']} " in page.text
    links = {a["href"] for a in page.all("a") if a["href"].startswith("#right")}
    assert links == {"#right=a", "#right=b", "#right=neither"}  # the gallery has no "both"


def test_matrices_count_patches_and_link_to_them(tmp_path: Path) -> None:
    explanation = example()
    page = Parsed(write_page(explanation, {}, tmp_path))
    naive = np.zeros((2, 4, 4), int)
    for side in (0, 1):
        for label, predicted in zip(explanation.labels, explanation.predictions[side], strict=True):
            naive[side, label, predicted] += 1
    counts = {"a": naive[0], "b": naive[1], "either": naive[0] - naive[1]}
    total = naive[0].sum(1)
    for key, expected in counts.items():
        header, *rows = page.tables[f"matrix matrix-{key}"]
        assert header == ["Label", *CLASSES, "patches"]
        assert rows[2] == ["absent", "no test patches", "0"]
        for true in (0, 1, 3):
            name, *cells, patches = rows[true]
            assert (name, patches) == (CLASSES[true], str(total[true]))
            signed = "+" if key == "either" else ""
            texts = [f"{n:{signed}d}".replace("-", "−") if n else "0" for n in expected[true]]
            assert cells == texts
        for link in page.all("a"):
            query = parse_qs(link["href"][1:])
            if key not in query or "data-count" not in link:
                continue
            true, predicted = CLASSES.index(query["true"][0]), CLASSES.index(query[key][0])
            assert int(link["data-count"].replace("−", "-")) == expected[true, predicted] != 0
            share = float(link["data-share"].replace("−", "-"))
            assert share == pytest.approx(100 * expected[true, predicted] / total[true], abs=0.0501)


def test_shades_grow_with_the_share_of_a_row(tmp_path: Path) -> None:
    probabilities = np.zeros((2, 100, 2), np.float32)
    probabilities[0, :, 0] = 1  # A always predicts the first class, which is correct
    probabilities[1, :96, 0] = probabilities[1, 96:, 1] = 1
    base = example(100)
    explanation = dataclasses.replace(
        base,
        store=base.store.relabelled(("one", "two"), np.zeros(100, np.int64)),
        probabilities=probabilities,
    )
    page = Parsed(write_page(explanation, {}, tmp_path))
    shades = [c["class"] for c in page.all("td") if c.get("class", "").startswith("shade")]
    # A: all and none; B: 0.96 and 0.04 of the row; the difference: +0.04 and -0.04, its largest.
    assert shades == ["shade10", "shade0", "shade10", "shade2", "shade10", "shade-10"]


def test_thumbnails_are_where_the_page_expects_them(tmp_path: Path) -> None:
    explanation = example()
    write_page(explanation, {}, tmp_path)
    rest = np.setdiff1d(np.arange(len(explanation.ids)), explanation.gallery)
    order = [*explanation.gallery, *rest]  # the gallery's first, so that its pages need few sheets
    assert explanation.privileged is not None
    expected = {
        "primary": explanation.primary[order],
        "privileged": explanation.privileged[order],
        "cam-a": explanation.cams[0],
        "cam-b": explanation.cams[1],
    }
    for name, pictures in expected.items():
        assert pictures is not None
        for number, picture in enumerate(pictures):
            path = tmp_path / "sheets" / f"{name}-{number // 64:03}.webp"
            thumbnail = read_thumbnail(path, number % 64, 12)
            np.testing.assert_allclose(thumbnail.mean((0, 1)), picture.mean((0, 1)), atol=6)
            # Not even the outermost pixels have a neighbour's colour.
            assert np.abs(thumbnail.astype(int) - picture).max() < 40


def test_page_without_privileged_views_groups_or_feature_maps(tmp_path: Path) -> None:
    explanation = dataclasses.replace(without_groups(example()), privileged=None, cams=(None, None))
    page = Parsed(write_page(explanation, {}, tmp_path))
    assert {path.name[:-9] for path in tmp_path.glob("sheets/*")} == {"primary"}
    views = {s["data-view"] for s in page.all("span") if "data-view" in s}
    assert views == {"primary"}
    assert page.data["groups"] is None
    assert "group" not in {s["name"] for s in page.all("select")}
    for side in "AB":
        assert f"{side} has no feature maps" in page.text
    with_one_map = dataclasses.replace(explanation, cams=(example().cams[0], None))
    page = Parsed(write_page(with_one_map, {}, tmp_path))
    assert "B has no feature maps" in page.text
    assert "A has no feature maps" not in page.text


def test_encoders_that_agree_have_an_empty_gallery(tmp_path: Path) -> None:
    explanation = example(20)
    agreeing = dataclasses.replace(
        explanation,
        probabilities=np.repeat(explanation.probabilities[:1], 2, axis=0),
        gallery=np.zeros(0, np.int64),
        cams=(explanation.primary[:0], explanation.primary[:0]),
    )
    page = Parsed(write_page(agreeing, {}, tmp_path))
    assert page.data["gallery"] == []
    assert page.data["sheets"]["cam-a"] == []
    assert not [a for a in page.all("a") if a["href"].startswith("#right")]


def test_truncated_gallery_states_its_size(tmp_path: Path) -> None:
    explanation = example()
    disagreeing, [a, b] = len(explanation.gallery), explanation.cams
    assert a is not None
    assert b is not None
    truncated = dataclasses.replace(
        explanation, gallery=explanation.gallery[:7], cams=(a[:7], b[:7])
    )
    sentence = f"The 7 most confident of {disagreeing} disagreements."
    assert sentence in Parsed(write_page(truncated, {}, tmp_path)).text
    assert "most confident of" not in Parsed(write_page(explanation, {}, tmp_path)).text


def test_gallery_can_include_patches_with_agreement(tmp_path: Path) -> None:
    explanation = dataclasses.replace(example(), cams=(None, None))
    agreed = np.setdiff1d(np.arange(300), explanation.gallery)
    wrong = explanation.predictions[0, agreed] != explanation.labels[agreed]
    assert 0 < wrong.sum() < len(agreed)
    default_page = Parsed(write_page(explanation, {}, tmp_path))
    all_patches = np.concatenate([explanation.gallery, agreed])
    complete = dataclasses.replace(explanation, gallery=all_patches)
    page = Parsed(write_page(complete, {}, tmp_path))
    predicted, right = explanation.predictions, explanation.predictions == explanation.labels
    different_and_wrong = int(((predicted[0] != predicted[1]) & ~right.any(0)).sum())
    for parsed in (default_page, page):
        assert f"with different predictions on {different_and_wrong}" in parsed.text
    assert f"The {len(agreed)} patches on which both agree come last." in page.text
    assert "The patches, disagreements first" in page.text
    assert "The patches on which they disagree" in default_page.text
    assert "both" in [option["value"] for option in page.all("option")]
    assert "both" not in [option["value"] for option in default_page.all("option")]
    assert "#right=both" in [link["href"] for link in page.all("a")]


def test_second_call_removes_only_sheets_of_the_first(tmp_path: Path) -> None:
    write_page(example(200), {}, tmp_path)
    foreign_names = ("mine.webp", "primary-000.png", "x-000.webp")
    foreign = [tmp_path / "sheets" / name for name in foreign_names]
    for path in foreign:
        path.touch()
    write_page(dataclasses.replace(example(60), privileged=None), {}, tmp_path)
    remaining = {path.name for path in tmp_path.glob("sheets/*")}
    new_sheets = {"primary-000.webp", "cam-a-000.webp", "cam-b-000.webp"}
    assert remaining == new_sheets | {path.name for path in foreign}


def test_figures_are_inside_the_page_and_their_files_are_linked(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for kind in ("svg", "pdf", "csv"):
        (tmp_path / f"figures/cka map.{kind}").write_text(f"<svg/> {kind}")
    pictures = {"CKA": Picture("figures/cka map.svg", "A < B", 'a "map"')}
    page = Parsed(write_page(example(20), pictures, tmp_path))
    [image] = page.all("img")
    kind, encoded = image["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(encoded) == b"<svg/> svg"
    assert image["alt"] == 'a "map"'
    assert "A < B" in page.text
    links = [unquote(a["href"]) for a in page.all("a") if not a["href"].startswith("#")]
    assert links == ["figures/cka map.svg", "figures/cka map.pdf", "figures/cka map.csv"]


def test_the_page_is_readable_without_scripts(tmp_path: Path) -> None:
    page = Parsed(write_page(example(), {}, tmp_path))
    assert "need JavaScript" in page.text
    scripted = [a for _, a in page.tags if "scripted" in (a.get("class") or "")]
    assert scripted
    assert all("hidden" in attributes for attributes in scripted)
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert max(np.diff(headings)) <= 1
    scopes = [a.get("scope") for a in page.all("th")]
    assert set(scopes) == {"row", "col"}


def test_sheets_are_filled_in_order(tmp_path: Path) -> None:
    pictures = np.zeros((65, 4, 4, 3), np.uint8)
    assert sheets.pack("some", pictures, tmp_path) == ["some-000.webp", "some-001.webp"]
    assert sheets.pack("none", pictures[:0], tmp_path) == []
    assert Image.open(tmp_path / "some-001.webp").size == (48, 48)
