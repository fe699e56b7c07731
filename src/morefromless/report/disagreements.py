"""The output of `mfl explain`: figures with their numbers, the disagreements, and the page."""

from pathlib import Path

import numpy as np
import pandas as pd

from morefromless import files
from morefromless.analysis.explain import Disagreements, dense_modality
from morefromless.analysis.representative import shown_patches
from morefromless.devices import resolve_device
from morefromless.report.cam_figure import write_cams
from morefromless.report.confusion import write_confusion
from morefromless.report.content import Picture
from morefromless.report.explain_page import write_page
from morefromless.report.map_figure import write_map
from morefromless.report.similarity_figure import write_diagonals, write_heat_maps


def write(disagreements: Disagreements) -> list[Path]:
    """Write all files to the configured folder; returns their paths, the page last."""
    config = disagreements.config
    folder, titles, classes = config.out, disagreements.titles, disagreements.classes
    first = disagreements.answers[0]
    device = resolve_device(config.analysis.device)
    matrices = {title: disagreements.confusion(side) for side, title in enumerate(titles)}
    names = [classes[label] for label in disagreements.labels]
    patches = shown_patches(first, disagreements.store, device, config.analysis.show)
    denser, spec = dense_modality(disagreements.answers), first.frozen.modality_spec
    extra_columns = {spec: spec} | ({denser: denser} if denser else {})
    paths = [
        *write_confusion(matrices, classes, folder / "confusion"),
        *write_heat_maps([disagreements.cka], folder / "cka"),
        *write_diagonals([disagreements.cka], folder / "cka-diagonal"),
        *write_map(
            dict(zip(titles, disagreements.features, strict=True)),
            disagreements.ids,
            names,
            disagreements.groups,
            folder / "features",
            config.map,
            config.analysis.seed,
        ),
        *write_cams(
            dict(zip(titles, disagreements.answers, strict=True)),
            patches,
            extra_columns,
            folder,
            disagreements.store,
            device,
        ),
    ]
    table = folder / "patches.csv"
    files.write_csv(table, _patches(disagreements))
    page = write_page(disagreements, _figures(disagreements, paths), folder)
    return [*paths, table, page]


def _figures(disagreements: Disagreements, paths: list[Path]) -> dict[str, Picture]:
    """The figures of the page by title; the page has the confusion matrices as tables."""
    a, b = disagreements.titles
    between = disagreements.cka
    highest = f"{between.mean.max():.2f}" if between.mean.size else "none"
    descriptions = {
        "cka": (
            "Similarity of the layers (CKA)",
            f"{disagreements.config.analysis.estimator.capitalize()} CKA of every layer of A ({a}) "
            f"with every layer of B ({b}), on test patches; 1 is equal up to rotation and scale.",
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
            f"{disagreements.config.map.upper()} of each encoder's test features; below, both in "
            "one space, the second rotated onto the first (Procrustes); a line joins the two "
            "places of a patch.",
            "Scatter plots of test patches, coloured by class, by group, and by encoder.",
        ),
        "gradcam-first": (
            "GradCAM of the first convolution",
            "The patches nearest to the mean of their class, of training and of test.",
            "A grid of GradCAM pictures, one row per patch.",
        ),
        "gradcam-stages": (
            "GradCAM of each stage",
            "The same patches, from the first convolution to the first one of the last stage.",
            "A grid of GradCAM pictures, one column per stage.",
        ),
    }
    written = {path.name for path in paths}
    return {
        title: Picture(f"{stem}{_suffix(stem)}", caption, alt)
        for stem, (title, caption, alt) in descriptions.items()
        if f"{stem}.csv" in written
    }


def _suffix(stem: str) -> str:
    """Suffix of a figure: pictures of pixels are smaller as PNG."""
    return ".png" if stem.startswith(("gradcam", "features")) else ".svg"


def _patches(disagreements: Disagreements) -> pd.DataFrame:
    """One row per test patch: its label, and the prediction and confidence of each encoder."""
    predicted, confidence = disagreements.predictions, disagreements.confidence
    names = np.array(disagreements.classes, dtype=object)
    columns = {"id": disagreements.ids, "label": names[disagreements.labels]}
    if disagreements.groups is not None:
        columns["group"] = disagreements.groups
    for side, letter in enumerate("ab"):
        columns[f"predicted_{letter}"] = names[predicted[side]]
        columns[f"confidence_{letter}"] = confidence[side].round(5)
    table = pd.DataFrame(columns)
    return table.iloc[np.argsort(predicted[0] == predicted[1], kind="stable")]
