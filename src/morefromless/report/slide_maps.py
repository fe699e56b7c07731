"""Heat maps of a slide: an OME-TIFF of probabilities, an overlay, and tiles for QuPath."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from morefromless import files
from morefromless.data.colours import class_colours
from morefromless.data.tissue import OVERVIEW_UM_PER_PX
from morefromless.inference.slides import SlidePatches
from morefromless.report.style import write_figure

OPACITY = 0.6
DPI = 150
HATCH, CONTOUR_POINTS = "////", 4
"""Hatching of tiles without a class, and points of their contour along a tile's side."""


def write_maps(patches: SlidePatches, predictions: pd.DataFrame, folder: Path) -> list[Path]:
    """Write `SLIDE.ome.tif`, `SLIDE.png` and `SLIDE.geojson` of a slide's predictions to `folder`.

    The OME-TIFF has one pixel per tile and one channel per class, then `outlier_percentile`. Tiles
    without tissue are nan, and the pixel size is that of a tile. The GeoJSON uses QuPath's frame.
    """
    rows = predictions[predictions["input"] == patches.name]
    columns = map(str, predictions)
    classes = [name.removeprefix("p_") for name in columns if name.startswith("p_")]
    colours = class_colours(classes)
    paths = [folder / f"{patches.name}{suffix}" for suffix in (".ome.tif", ".png", ".geojson")]
    _write_ome_tiff(patches, rows, classes, paths[0])
    _write_overlay(patches, rows, colours, paths[1])
    files.write_json(paths[2], feature_collection(patches, rows, colours))
    return paths


def probability_map(
    patches: SlidePatches, rows: pd.DataFrame, columns: list[str]
) -> npt.NDArray[np.float32]:
    """(columns, tiles down, tiles across), nan where no tile was read."""
    width, height = (int(np.ceil(side / patches.side_level0)) for side in patches.slide.size)
    grid = np.full((len(columns), height, width), np.nan, np.float32)
    across, down = (
        np.rint(rows[name].to_numpy(float) / patches.side_level0) for name in ("x", "y")
    )
    grid[:, down.astype(int), across.astype(int)] = rows[columns].to_numpy(np.float32).T
    return grid


def feature_collection(
    patches: SlidePatches, rows: pd.DataFrame, colours: dict[str, tuple[int, int, int]]
) -> dict[str, Any]:
    """One square per tile with its class and its measurements. Coordinates are px of the slide's
    finest level, from the origin of QuPath's frame."""
    side = patches.side_level0
    across, down = patches.slide.origin
    features = []
    for row in rows.to_dict("records"):
        left, top = float(row["x"]) - across, float(row["y"]) - down
        right, bottom = left + side, top + side
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        name = row["class"]
        properties: dict[str, Any] = {
            "objectType": "tile",
            "measurements": {
                str(key).removeprefix("p_"): round(float(value), 4)
                for key, value in row.items()
                if str(key).startswith("p_") or key == "outlier_percentile"
            },
        }
        if name:
            properties["classification"] = {"name": name, "color": list(colours[name])}
        geometry = {"type": "Polygon", "coordinates": [[list(corner) for corner in corners]]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def _write_ome_tiff(
    patches: SlidePatches, rows: pd.DataFrame, classes: list[str], path: Path
) -> None:
    import tifffile  # already needed to read the slide

    columns = [*(f"p_{name}" for name in classes), "outlier_percentile"]
    assert patches.side is not None
    assert patches.um_per_px is not None
    tile = patches.side * patches.um_per_px
    with files.replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            probability_map(patches, rows, columns),
            ome=True,
            photometric="minisblack",
            metadata={
                "axes": "CYX",
                "Channel": {"Name": [*classes, "outlier_percentile"]},
                "PhysicalSizeX": tile,
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": tile,
                "PhysicalSizeYUnit": "µm",
            },
        )


def _write_overlay(
    patches: SlidePatches,
    rows: pd.DataFrame,
    colours: dict[str, tuple[int, int, int]],
    path: Path,
) -> None:
    """Write the slide in grey with each tile in the colour of its class; the more probable, the
    more opaque. Tiles without a class are hatched."""
    overview = patches.tissue.overview
    height, width = overview.shape[:2]
    (probability,) = probability_map(patches, rows, ["probability"])
    codes = {name: k for k, name in enumerate(colours)}
    numbered = rows.assign(code=rows["class"].map(codes).astype(float))
    (code,) = probability_map(patches, numbered, ["code"])
    overlay = np.zeros((*code.shape, 4), np.float32)
    for name, k in codes.items():
        overlay[code == k, :3] = np.array(colours[name]) / 255
    overlay[..., 3] = np.where(np.isnan(code), 0, OPACITY * np.nan_to_num(probability))
    figure = Figure(figsize=(max(4, min(12, width / DPI)), 0), dpi=DPI, layout="constrained")
    figure.set_figheight(max(3, figure.get_figwidth() * height / width) + 0.6)
    axes = figure.add_subplot()
    axes.imshow(overview.mean(-1), cmap="gray", vmin=0, vmax=255)
    tile = patches.side_level0 / patches.slide.scale(OVERVIEW_UM_PER_PX)
    down, across = code.shape
    axes.imshow(
        overlay,
        extent=(-0.5, across * tile - 0.5, down * tile - 0.5, -0.5),
        interpolation="nearest",
    )
    present = [name for name in colours if (rows["class"] == name).any()]
    handles = [Patch(color=tuple(np.array(colours[n]) / 255), label=n) for n in present]
    unclassified = np.pad(~np.isnan(probability) & np.isnan(code), 1)
    if unclassified.any():
        # A contour has oblique corners, which are small with several points per side of a tile. To
        # hatch each tile separately takes a minute per slide.
        fine = np.kron(unclassified, np.ones((CONTOUR_POINTS, CONTOUR_POINTS)))
        y, x = (((np.arange(n) + 0.5) / CONTOUR_POINTS - 1) * tile - 0.5 for n in fine.shape)
        axes.contourf(x, y, fine, levels=[0.5, 1.5], colors="none", hatches=[HATCH])
        handles.append(Patch(facecolor="none", hatch=HATCH, label="tile without a class"))
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_axis_off()
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    write_figure(figure, path)
