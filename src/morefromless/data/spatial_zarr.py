"""SpatialData folders (scverse): counts, spot coordinates and H&E of one section, in zarr.

tables/NAME      an AnnData; it names the shapes of its rows, and the column of their numbers
shapes/NAME      shapes.parquet, one geometry per spot, and its coordinate systems
images/NAME      OME-Zarr (c, y, x), and its coordinate systems

They are read with zarr and anndata because the library `spatialdata` needs 48 more packages, among
them Dask, Numba and GeoPandas.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy import sparse

from morefromless.data.expression import Counts, section_counts
from morefromless.data.h5ad import MAX_RATIO, SMALL_BYTES
from morefromless.documents import parse_foreign_json, read_parquet
from morefromless.errors import ConfigError, DataError, raising_data_errors

ROOT_FILES = ("zarr.json", ".zgroup")
CODECS = {"blosc", "zstd", "gzip", "zlib", "lz4", "bz2", "shuffle", "delta", "transpose"} | {
    *("bytes", "sharding_indexed", "crc32c", "vlen-utf8", "vlen-bytes")
}
"""Accepted codecs. Others are rejected because a codec can run code, such as `pickle`."""


def is_spatialdata(folder: Path) -> bool:
    """Whether a folder is a SpatialData folder with a table."""
    return (folder / "tables").is_dir() and any((folder / name).is_file() for name in ROOT_FILES)


def section_image(folder: Path) -> Path | None:
    """The largest RGB image of a SpatialData folder, or None.

    Raises `DataError` if the folder is damaged.
    """
    _check_arrays(folder)
    shapes = {}
    for path in sorted((folder / "images").glob("[!.]*")):
        if path.is_dir():
            with _explain_errors(folder):
                array = _pixels(path)
            if array.ndim == 3 and array.shape[0] == 3 and array.dtype == np.uint8:
                shapes[path] = math.prod(array.shape)
    return max(shapes, key=lambda path: shapes[path], default=None)


def image_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image (height, width, 3) of a SpatialData folder. Raises `DataError`."""
    with _explain_errors(path):
        return np.ascontiguousarray(np.moveaxis(_pixels(path)[:], 0, -1))


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image in a SpatialData folder. Raises `DataError`."""
    with _explain_errors(path):
        _, height, width = _pixels(path).shape
    return height, width


def read_spatialdata(folder: Path, image: Path, layer: str | None = None) -> Counts:
    """Read the counts of one section, with the coordinates of the spots in px of `image`.

    Raises `DataError` if the folder is damaged, its table has several sections, or spots and image
    have no common coordinate system; `ConfigError` if the layer does not exist.
    """
    name = folder.name
    _check_arrays(folder)
    with _explain_errors(folder):
        data = _table(folder)
        link = data.uns.get("spatialdata_attrs", {})
        regions = np.atleast_1d(link.get("region")).tolist()
    if len(regions) != 1:
        raise DataError(
            f"The table of {name} has {len(regions)} sections; write each section to its own "
            "folder."
        )
    shapes = folder / "shapes" / Path(str(regions[0])).name
    if not (shapes / "shapes.parquet").is_file():
        raise DataError(
            f"{name} has no shapes/{shapes.name}/shapes.parquet, to which its table refers; "
            "write it again with a newer spatialdata."
        )
    with _explain_errors(folder):
        centres = _centres(shapes)
        to_image = _spots_to_image(_attributes(shapes), _multiscale(image))
        numbers = pd.Index(data.obs[link["instance_key"]].to_numpy())
    if to_image is None:
        raise DataError(
            f"{name} has no common coordinate system for {shapes.name} and {image.name}; "
            "write it again with one."
        )
    coordinates = centres.reindex(numbers).to_numpy() @ to_image[:2, :2].T + to_image[:2, 2]
    return section_counts(data, name, coordinates, layer)


def _table(folder: Path) -> Any:
    """The AnnData of the folder's only table, or of the one called `table`."""
    import anndata

    tables = sorted(path for path in (folder / "tables").glob("[!.]*") if path.is_dir())
    path = tables[0] if len(tables) == 1 else folder / "tables/table"
    with warnings.catch_warnings(action="ignore"):  # the content is validated in this package
        data = anndata.io.read_zarr(_group(path))
    matrices = [
        data.X,
        *data.layers.values(),
        *([] if data.raw is None else [data.raw.X]),
    ]
    for matrix in matrices:
        if sparse.issparse(matrix):
            matrix.check_format(full_check=True)  # type: ignore[attr-defined]  # csr or csc
    return data


def _centres(shapes: Path) -> pd.DataFrame:
    """x, y of each spot, by its number."""
    table = read_parquet(shapes / "shapes.parquet")
    points = shapely.centroid(shapely.from_wkb(table["geometry"].to_numpy()))
    return pd.DataFrame({"x": shapely.get_x(points), "y": shapely.get_y(points)}, table.index)


def _spots_to_image(
    spots: Mapping[str, Any], image: Mapping[str, Any]
) -> npt.NDArray[np.float64] | None:
    """Matrix (3, 3) from (x, y, 1) of spots to px of an image, through a common coordinate system.

    None if there is no common system.
    """
    first, second = (
        {t["output"]["name"]: _matrix(t, ()) for t in element["coordinateTransformations"]}
        for element in (spots, image)
    )
    common = [name for name in first if name in second]
    return np.linalg.inv(second[common[0]]) @ first[common[0]] if common else None


def _matrix(transformation: Mapping[str, Any], axes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Matrix (3, 3) of an NGFF transformation of (x, y, 1). `axes` are those of its sequence."""

    def named(side: str) -> Sequence[str]:
        system = transformation.get(side)
        return [a["name"] for a in system["axes"]] if isinstance(system, Mapping) else axes

    result, kind, inputs = np.eye(3), transformation["type"], named("input")
    if kind == "sequence":
        for part in transformation["transformations"]:
            result = _matrix(part, inputs) @ result
        return result
    if kind in ("scale", "translation"):
        values = dict(zip(inputs, transformation[kind], strict=True))
        for row, axis in enumerate("xy"):
            result[row, row if kind == "scale" else 2] = values[axis]
        return result
    if kind == "affine":
        whole = np.asarray(transformation["affine"], np.float64)
        rows = [list(named("output")).index(axis) for axis in "xy"]
        result[:2] = whole[rows][:, [*(list(inputs).index(axis) for axis in "xy"), len(inputs)]]
        return result
    if kind != "identity":
        raise DataError(f"A coordinate system has a transformation {kind}, which is not supported.")
    return result


def _pixels(path: Path) -> Any:
    """The finest level of an image, as a zarr array (c, y, x)."""
    multiscale = _multiscale(path)
    level, group = str(multiscale["datasets"][0]["path"]), _group(path)
    if [axis["name"] for axis in multiscale["axes"]] != ["c", "y", "x"]:
        raise ValueError("other axes than c, y, x")
    return dict(group.arrays())[level]


def _multiscale(image: Path) -> Mapping[str, Any]:
    attributes = _attributes(image)
    described: Mapping[str, Any] = attributes.get("ome", attributes)["multiscales"][0]
    return described


def _attributes(element: Path) -> Mapping[str, Any]:
    return dict(_group(element).attrs)


def _group(path: Path) -> Any:
    import zarr

    # Consolidated metadata are a second copy, which `_check_arrays` does not validate.
    return zarr.open_group(path, mode="r", use_consolidated=False)


@contextmanager
def _explain_errors(folder: Path) -> Iterator[None]:
    damaged = f"{folder} is not a valid SpatialData folder; download or write it again."
    with raising_data_errors(damaged):
        try:
            yield
        except ImportError as error:
            raise ConfigError(
                f"Reading {folder.name} needs anndata and zarr; install them with pip install "
                "'morefromless[expression]'."
            ) from error


def _check_arrays(folder: Path) -> None:
    """Raise `DataError` if an array is larger than its files can hold, or has a codec that may run
    code."""
    for path in (p for name in ("zarr.json", ".zarray") for p in folder.rglob(name)):
        with _explain_errors(folder):
            facts = parse_foreign_json(path.read_bytes())
            if "shape" not in facts:
                continue
            unknown = set(_codecs(facts)) - CODECS
            stored = sum(p.stat().st_size for p in path.parent.rglob("*") if p.is_file())
            claimed = math.prod(facts["shape"])
        array = path.parent.relative_to(folder)
        if unknown:
            raise DataError(
                f"{folder} packs {array} with the codec {min(unknown)}; write it with another."
            )
        if claimed > max(SMALL_BYTES, MAX_RATIO * stored):
            raise DataError(
                f"{folder} states {claimed:,} values for {array}, but stores only {stored:,} "
                "bytes; write it again."
            )


def _codecs(facts: Any) -> Iterator[str]:
    """Names of the codecs in the metadata of an array, in zarr 2 or 3, including nested ones."""
    packed = [facts.get("compressor"), *(facts.get("filters") or ())]
    yield from (codec["id"] for codec in packed if codec)
    for key in ("codecs", "index_codecs"):
        for codec in facts.get(key) or ():
            yield codec["name"]
            yield from _codecs(codec.get("configuration") or {})
