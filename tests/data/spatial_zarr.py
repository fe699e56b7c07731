"""Small SpatialData folders in the library's layout, written with anndata, zarr and pandas."""

import shutil
from pathlib import Path
from typing import Any, Literal

import anndata
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import zarr

from tests.data.space_ranger import SCALE, write_space_ranger

XY, CYX = ("x", "y"), ("c", "y", "x")


def write_spatialdata(
    folder: Path, seed: int, zarr_format: Literal[2, 3] = 3
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Write the section of `write_space_ranger` for a seed; return its counts and hires image.

    Shapes are in px of the full image, in the order of their numbers, which differs from the order
    of the table. There is a smaller image next to the hires image. In the coordinate system
    `hires`, the hires image is unscaled and the shapes are scaled.
    """
    from PIL import Image

    source = folder.with_name(f"{folder.name}.source")
    counts = write_space_ranger(source, seed)[:, :-1]
    image = np.asarray(Image.open(source / "spatial/tissue_hires_image.png"))
    shutil.rmtree(source)
    spots = len(counts)
    centres = np.array([(70 + 50 * (s % 6), 60 + 60 * (s // 6)) for s in range(spots)], float)
    root = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    root.attrs["spatialdata_attrs"] = {"version": "0.2" if zarr_format == 3 else "0.1"}

    images = root.create_group("images")
    for name, pixels in (("small", image[::2, ::2]), ("hires", image)):
        group = images.create_group(name)
        group.create_array("0", data=np.moveaxis(pixels, -1, 0), chunks=(3, 64, 64))
        identity = transformation(CYX, name, type="identity")
        datasets = [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1] * 3}]}
        ]
        multiscale = {
            "axes": [{"name": axis} for axis in CYX],
            "coordinateTransformations": [identity],
            "datasets": datasets,
        }
        multiscales: dict[str, Any] = {"multiscales": [multiscale]}
        group.attrs.update({"ome": multiscales} if zarr_format == 3 else multiscales)

    group = root.create_group("shapes").create_group("spots")
    group.attrs["coordinateTransformations"] = [
        transformation(XY, "global", type="identity"),
        transformation(XY, "hires", type="scale", scale=[SCALE, SCALE]),
    ]
    numbers = np.arange(spots) * 10
    geometry = shapely.to_wkb(shapely.points(centres))
    shapes = pd.DataFrame({"geometry": geometry, "radius": 9.0}, index=numbers)
    shapes.to_parquet(folder / "shapes/spots/shapes.parquet")

    order = np.random.default_rng(seed).permutation(spots)
    table = anndata.AnnData(
        X=counts[order].astype(np.float32),
        obs=pd.DataFrame(
            {
                "region": pd.Categorical(["spots"] * spots),
                "spot_id": numbers[order],
                "in_tissue": (order < spots - 1).astype(int),
                "cluster": [("tumour", "stroma")[s % 2] for s in order],
                "patient": f"P{seed // 2}",
            },
            index=[f"{seed}-{s:03}-1" for s in order],
        ),
        var=pd.DataFrame(index=[f"G{gene:02}" for gene in range(counts.shape[1])]),
        uns={
            "spatialdata_attrs": {
                "region": "spots",
                "region_key": "region",
                "instance_key": "spot_id",
            }
        },
    )
    anndata.io.write_elem(root.create_group("tables"), "table", table)
    return counts[order], image


def transformation(axes: tuple[str, ...], system: str, **parameters: object) -> dict[str, object]:
    """Transformation from an element's axes to a coordinate system."""
    named_axes = [{"name": axis} for axis in axes]
    return {
        "input": {"axes": named_axes},
        "output": {"name": system, "axes": named_axes},
        **parameters,
    }
