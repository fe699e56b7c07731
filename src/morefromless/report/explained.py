"""What `mfl explain` writes: figures with their numbers, the disagreements, and the page."""

from pathlib import Path

import numpy as np
import pandas as pd

from morefromless.analysis.explain import Explained, dense_spec
from morefromless.analysis.explanation import Explanation
from morefromless.analysis.representative import named, representative
from morefromless.data import atomic
from morefromless.report.cam_figure import write_cams
from morefromless.report.confusion import write_confusion
from morefromless.report.explain_page import PageFigure, write_page
from morefromless.report.map_figure import write_map
from morefromless.report.similarity_figure import write_diagonals, write_heat_maps


def write_explained(found: Explained) -> list[Path]:
    """Everything, in the folder that the options name; the page comes last."""
    told, options = found.explanation, found.options
    folder = options.out
    a, _ = found.sides
    matrices = {title: told.confusion(side) for side, title in enumerate(told.titles)}
    names = [told.classes[label] for label in told.labels]
    shown = (
        named(found.store, options.show)
        if options.show
        else representative(a, found.store, found.device)
    )
    denser = dense_spec(found.sides)
    beside = {a.spec: a.spec} | ({denser: denser} if denser else {})
    written = {
        "confusion": write_confusion(matrices, told.classes, folder / "confusion"),
        "cka": write_heat_maps([found.alike], folder / "cka"),
        "cka-diagonal": write_diagonals([found.alike], folder / "cka-diagonal"),
        "features": write_map(
            dict(zip(told.titles, found.features, strict=True)),
            told.ids,
            names,
            told.groups,
            folder / "features",
            options.map,
            options.seed,
        ),
        "gradcam": write_cams(
            dict(zip(told.titles, found.sides, strict=True)),
            shown,
            beside,
            folder,
            found.store,
            found.device,
        ),
    }
    apart = folder / "patches.csv"
    atomic.write_text(apart, _patches(told).to_csv(index=False))
    paths = [path for some in written.values() for path in some]
    page = write_page(told, _figures(found, paths), folder)
    return [*paths, apart, page]


def _figures(found: Explained, paths: list[Path]) -> list[PageFigure]:
    """The figures of the page; the confusion matrices stand there as tables."""
    a, b = found.explanation.titles
    between = found.alike
    highest = f"{between.mean.max():.2f}" if between.mean.size else "none"
    about = {
        "cka": (
            "How alike the layers are (CKA)",
            f"{found.options.estimator.capitalize()} CKA of every layer of A ({a}) with every "
            f"layer of B ({b}), on test patches; 1 is alike but for rotation and scale.",
            f"Heat map of CKA, {len(between.rows)} by {len(between.columns)} layers; its highest "
            f"value is {highest}.",
        ),
        "cka-diagonal": (
            "The same layer in both, from input to output",
            "CKA of each layer of A with the layer of the same name in B.",
            "A line from the first to the last layer.",
        ),
        "features": (
            "Map of the representations",
            f"{found.options.map.upper()} of each encoder's test features; at the right both in "
            "one space, the second turned onto the first (Procrustes), each line one patch.",
            "Scatter plots of test patches, coloured by class.",
        ),
        "gradcam-first": (
            "Where the first convolution looks",
            "Patches nearest to their class's mean, from training and test.",
            "A grid of GradCAM pictures, one row a patch.",
        ),
        "gradcam-stages": (
            "Where each stage looks",
            "The same patches, from the first convolution to the last stage's first.",
            "A grid of GradCAM pictures, one column a stage.",
        ),
    }
    held = {path.name for path in paths}
    return [
        PageFigure(
            title,
            caption,
            alt,
            found.options.out / f"{stem}{_kind(stem)}",
            found.options.out / f"{stem}.csv",
        )
        for stem, (title, caption, alt) in about.items()
        if f"{stem}.csv" in held
    ]


def _kind(stem: str) -> str:
    """Pictures of pixels are smaller as PNG."""
    return ".png" if stem.startswith(("gradcam", "features")) else ".svg"


def _patches(told: Explanation) -> pd.DataFrame:
    """A line a test patch: what it is, and what each encoder says of it and how surely."""
    said, sure = told.predictions, told.confidence
    names = np.array(told.classes, dtype=object)
    made = {"id": told.ids, "label": names[told.labels]}
    if told.groups is not None:
        made["group"] = told.groups
    for side, letter in enumerate("ab"):
        made[f"predicted_{letter}"] = names[said[side]]
        made[f"confidence_{letter}"] = sure[side].round(5)
    table = pd.DataFrame(made)
    return table.iloc[np.argsort(said[0] == said[1], kind="stable")]
