"""The page of `mfl explain`: where two encoders disagree, how sure they are, where they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt

from morefromless.analysis.explain import Disagreements
from morefromless.report import pages
from morefromless.report.content import Picture
from morefromless.report.pages import sheets
from morefromless.report.words import minus

VIEWS = {
    "primary": "primary view",
    "privileged": "privileged view",
    "cam-a": "GradCAM of A",
    "cam-b": "GradCAM of B",
}
"""Pictures of a patch: name of the sheets to caption."""
_MAX_SHADE = 10

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """The patches with one label and one prediction: count, share of the row, shade and link.

    `shade` is 0-10, and negative if B has more in a difference. `address` selects these patches in
    the gallery.
    """

    count: str
    share: str
    shade: int
    address: str
    about: str


@dataclass(frozen=True)
class Matrix:
    """One confusion matrix. A row has a class, its number of test patches, and its cells."""

    key: str
    rows: list[tuple[str, int, list[Cell]]]


def write_page(disagreements: Disagreements, figures: Mapping[str, Picture], folder: Path) -> Path:
    """Write `folder/index.html` and the pictures that it loads, `folder/sheets/*.webp`.

    `figures`, by title, are in `folder`. Sheets of an earlier call that are not needed are removed.
    """
    packed = {
        name: sheets.pack(name, pictures, folder / "sheets")
        for name, pictures in _pictures(disagreements).items()
    }
    page = folder / "index.html"
    pages.write(
        page,
        "explain",
        _data(disagreements, packed),
        disagreements=disagreements,
        **_summary(disagreements),
        matrices=_matrices(disagreements),
        figures=figures,
        files=pages.Pictures(folder),
        views={name: VIEWS[name] for name in packed},
    )
    sheets.remove_others(folder / "sheets", VIEWS, set(chain.from_iterable(packed.values())))
    return page


def _pictures(disagreements: Disagreements) -> dict[str, npt.NDArray[np.uint8]]:
    """Pictures of the gallery's patches in its order, so that a page of it needs few sheets.

    Views also have all other test patches, which may be neighbours; GradCAMs do not.
    """
    order = _order(disagreements)
    views = {"primary": disagreements.primary, "privileged": disagreements.privileged}
    cams = {"cam-a": disagreements.cams[0], "cam-b": disagreements.cams[1]}
    return {
        **{name: pictures[order] for name, pictures in views.items() if pictures is not None},
        **{name: pictures for name, pictures in cams.items() if pictures is not None},
    }


def _order(disagreements: Disagreements) -> npt.NDArray[np.int64]:
    """Rows of all test patches (N,), those of the gallery first."""
    all_rows = np.arange(len(disagreements.ids))
    rest = np.setdiff1d(all_rows, disagreements.gallery)
    return np.concatenate([disagreements.gallery, rest])


def _data(disagreements: Disagreements, packed: dict[str, list[str]]) -> dict[str, Any]:
    """The data for `explain.js`, with probabilities and neighbours only of the gallery."""
    gallery = disagreements.gallery
    return {
        "classes": disagreements.classes,
        "ids": disagreements.ids,
        "groups": disagreements.groups,
        "labels": disagreements.labels.tolist(),
        "predictions": disagreements.predictions.tolist(),
        "gallery": gallery.tolist(),
        "permille": (1000 * disagreements.probabilities[:, gallery]).round().astype(int).tolist(),
        "neighbours": disagreements.neighbours[:, gallery].tolist(),
        "places": np.argsort(_order(disagreements)).tolist(),
        "side": disagreements.primary.shape[1],
        "columns": sheets.COLUMNS,
        "gutter": sheets.GUTTER,
        "sheets": {name: [f"sheets/{file}" for file in files] for name, files in packed.items()},
    }


def _summary(disagreements: Disagreements) -> dict[str, Any]:
    """How many test patches each encoder is right on, and how many of them are in the gallery.

    The gallery may hold all test patches, or some of the disagreements only.
    """
    predictions, gallery = disagreements.predictions, disagreements.gallery
    groups = disagreements.groups
    a, b = predictions == disagreements.labels
    disagreeing = predictions[0] != predictions[1]
    outcomes = {"both": a & b, "a": a & ~b, "b": b & ~a, "neither": ~a & ~b}
    return {
        "right": (int(a.sum()), int(b.sum())),
        "apart": int(disagreeing.sum()),
        "agreeing": int((~disagreeing[gallery]).sum()),
        "outcomes": {
            name: (int(mask.sum()), int(mask[gallery].sum())) for name, mask in outcomes.items()
        },
        "differently": int((outcomes["neither"] & disagreeing).sum()),
        "groups": sorted({groups[i] for i in gallery}) if groups else [],
    }


def _matrices(disagreements: Disagreements) -> list[Matrix]:
    """The matrices of A, of B, and of A minus B."""
    a, b = disagreements.confusion(0), disagreements.confusion(1)
    totals = np.bincount(disagreements.labels, minlength=len(disagreements.classes))
    return [
        _matrix("a", "predicted {} by A", a, totals, disagreements.classes),
        _matrix("b", "predicted {} by B", b, totals, disagreements.classes),
        _matrix(
            "either", "predicted {}, A minus B", a - b, totals, disagreements.classes, signed=True
        ),
    ]


def _matrix(
    key: str,
    about: str,
    counts: Counts,
    totals: Counts,
    classes: Sequence[str],
    signed: bool = False,
) -> Matrix:
    shares = counts / np.maximum(totals, 1)[:, None]
    # Differences are small compared with whole rows, so the largest one is the darkest. The square
    # root keeps confusions visible next to a much larger diagonal.
    largest = max(np.abs(shares).max(), 1e-9) if signed else 1.0
    shades = np.sign(shares) * np.ceil(_MAX_SHADE * np.sqrt(np.abs(shares) / largest) - 1e-9)
    sign = "+" if signed else ""
    rows = []
    for true, name in enumerate(classes):
        cells = [
            Cell(
                _number(counts[true, predicted], f"{sign},d"),
                _number(100 * shares[true, predicted], f"{sign}.1f"),
                int(shades[true, predicted]),
                f"#{urlencode({'true': name, key: other})}",
                f"labelled {name}, {about.format(other)}",
            )
            for predicted, other in enumerate(classes)
        ]
        rows.append((name, int(totals[true]), cells))
    return Matrix(key, rows)


def _number(value: float, form: str) -> str:
    return minus(f"{value:{form}}") if value else "0"
