"""Files as other tools wrote them, with expected results. They are not in this repository, but in
the folder `cases` next to the folder that MFL_REAL_DATA names.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morefromless.data.images import read_rgb
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import CONSEP, PANNUKE
from morefromless.errors import UnreadablePatch
from morefromless.ingest import open_source
from morefromless.ingest.segmented import WithNuclei
from morefromless.nuclei_formats.label_images import LabelImages
from morefromless.nuclei_formats.npy import Npy
from morefromless.sources.folder import Folder

CASES = Path(os.environ.get("MFL_REAL_DATA", "none")).parent / "cases"

pytestmark = pytest.mark.skipif(
    "MFL_REAL_DATA" not in os.environ or not CASES.is_dir(),
    reason="needs the folder cases beside the folder that MFL_REAL_DATA names",
)


def read(
    tmp_path: Path, name: str, image: np.ndarray, scheme=PANNUKE
) -> tuple[Nuclei, Mapping[str, int]]:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.fromarray(image).save(tmp_path / "images" / "a.png")
    file = CASES / name
    (tmp_path / "masks" / f"a{file.suffix}").write_bytes(file.read_bytes())
    source = WithNuclei(
        Folder(str(tmp_path / "images"), classes="none"), tmp_path / "masks", scheme
    )
    (item,) = source.items()
    return Nuclei.decode(source.read(item)[NUCLEI_ARRAY]), source.skipped_parts(item)


BLANK = np.full((64, 64, 3), 255, np.uint8)


@pytest.mark.parametrize(
    ("name", "areas", "n_skipped"),
    [
        ("qupath_roi_after_detections.geojson", [100], 1),
        ("qupath_roi_before_detections.geojson", [100], 1),
        ("qupath07_metadata_written_twice.geojson", [100], 0),
        ("geopandas_resaved_classification_string.geojson", [100], 0),
        ("tiatoolbox21_qupath.json", [100], 0),
    ],
)
def test_drawn_nuclei_are_read(tmp_path: Path, name: str, areas: list[int], n_skipped: int) -> None:
    nuclei, skipped = read(tmp_path, name, BLANK)
    assert nuclei.areas.tolist() == areas
    assert bool(skipped) == bool(n_skipped)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("qupath_cell_without_nucleus.geojson", "no nucleus: all 1 cells"),
        ("qupath02_tile_id.json", "not a nucleus: "),
        ("qupath03_object_type_tile.geojson", "not a nucleus: "),
    ],
)
def test_objects_that_are_not_nuclei_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UnreadablePatch, match=reason):
        read(tmp_path, name, BLANK)


@pytest.mark.parametrize("name", ["annotationstore_to_geojson.geojson", "qupath_output.json"])
def test_tiatoolbox_files_restore_the_instances(tmp_path: Path, name: str) -> None:
    truth = np.load(CASES / "tiatoolbox" / "inst.npy")
    image = np.asarray(Image.open(CASES / "tiatoolbox" / "image.png").convert("RGB"))
    nuclei, _ = read(tmp_path, f"tiatoolbox/{name}", image, CONSEP)
    overlaps = []
    for number in range(1, len(nuclei.types) + 1):
        predicted = nuclei.instances == number
        reference = truth == np.bincount(truth[predicted]).argmax()
        overlaps.append((predicted & reference).sum() / (predicted | reference).sum())
    assert len(overlaps) == 41
    assert np.mean(overlaps) >= 0.97


def test_invalid_label_images_are_refused_with_advice() -> None:
    path = CASES / "labels" / "saturated_three_nuclei.png"
    with pytest.raises(UnreadablePatch, match=r"one id in several pieces: id 255 has 3 pieces"):
        LabelImages().read(path, (64, 64))
    assert len(LabelImages("each").read(path, (64, 64)).types) == 3
    with pytest.raises(UnreadablePatch, match=r"np\.stack\(\[d\['inst_map'\]"):
        Npy().read(CASES / "labels" / "cellvit_dict.npy", (64, 64))


@pytest.mark.parametrize("image", ["", ",image=hires"])
def test_positions_are_scaled_by_the_factor_in_the_file(image: str) -> None:
    source = open_source(f"spatial:{CASES}/spatial_hires,test=S2,patch=16,genes=3{image}")
    inside = 0
    for item in source.items():
        with suppress(UnreadablePatch):
            inside += source.read(item)["he"].shape == (16, 16, 3)
    assert inside == 2 * 19 * 19  # a grid of 20 x 20 spots, the first 4 px from the edge


def test_orientation_is_applied_in_every_format() -> None:
    images = [read_rgb(CASES / "images" / f"orient6.{suffix}") for suffix in ("tif", "png", "jpg")]
    assert (images[0] == images[1]).all()
    assert np.abs(images[0].astype(int) - images[2]).max() < 40
