"""Space Ranger folders: counts, coordinates and columns are read; errors are one sentence."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from morefromless.data.sections import find_sections, scale_factor
from morefromless.data.space_ranger import MATRIX, read_space_ranger
from morefromless.errors import ConfigError, DataError
from morefromless.sources.spatial import Spatial
from tests.data.space_ranger import write_space_ranger


@pytest.mark.parametrize("old", [False, True])
def test_counts_coordinates_and_columns_are_read(tmp_path: Path, old: bool) -> None:
    counts = write_space_ranger(tmp_path / "T1/outs", 1, old=old)
    table, image = find_sections(tmp_path)["T1"]
    assert image == tmp_path / "T1/outs/spatial/tissue_hires_image.png"
    section = read_space_ranger(table)
    assert section.file == "T1"
    assert section.genes[:3] == ("TWICE ENSG0", "TWICE ENSG1", "G00")
    np.testing.assert_array_equal(section.values.toarray(), counts[:, :-1])  # without antibodies
    assert section.coordinates[7].tolist() == [120, 120]
    assert section.in_tissue.tolist() == [True] * 23 + [False]
    assert section.table["cluster"].tolist() == ["1", "2", "3"] * 8
    assert section.table["region"].tolist() == ["tumour", "stroma"] * 12
    assert scale_factor(section, image) == 0.5


def test_spots_are_patches_of_the_hires_or_the_full_image(tmp_path: Path) -> None:
    for seed in range(4):
        write_space_ranger(tmp_path / f"T{seed}", seed)
    options = {"patch": 16, "genes": 5, "label": "region"}
    source = Spatial(str(tmp_path), test="T2+T3", **options)  # type: ignore[arg-type]
    items = source.items()
    assert {(item.group, item.split) for item in items} == {("P0", "train"), ("P1", "test")}
    assert source.remarks() == [
        "Groups are read from the obs column patient: sections of one patient are one group."
    ]
    image = np.asarray(Image.open(tmp_path / "T0/spatial/tissue_hires_image.png"))
    np.testing.assert_array_equal(source.read(items[7])["he"], image[52:68, 52:68])
    full = np.random.default_rng(9).integers(0, 256, (300, 400, 3), np.uint8)
    Image.fromarray(full).save(tmp_path / "T0.tif")
    source = Spatial(str(tmp_path), test="T2+T3", **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(source.read(source.items()[7])["he"], full[112:128, 112:128])
    with pytest.raises(ConfigError, match="is from Space Ranger and has no layers"):
        Spatial(str(tmp_path), test="T2", layer="raw", **options).items()  # type: ignore[arg-type]


def _no_positions(folder: Path) -> None:
    (folder / "spatial/tissue_positions.csv").unlink()


def _other_section(folder: Path) -> None:
    path = folder / "spatial/tissue_positions.csv"
    path.write_text(path.read_text().replace("1-007-1", "1-999-1"))


def _truncated(folder: Path) -> None:
    path = folder / "filtered_feature_bc_matrix.h5"
    path.write_bytes(path.read_bytes()[:3000])


def _beyond(folder: Path) -> None:
    with h5py.File(folder / "filtered_feature_bc_matrix.h5", "r+") as file:
        file["matrix/indices"][0] = 10**6


def _latin(folder: Path) -> None:
    (folder / "mine.csv").write_bytes("Barcode,gruppe\n1-000-1,Dr\u00fcse\n".encode("latin-1"))


def _repeated(folder: Path) -> None:
    (folder / "mine.csv").write_text("Barcode,region\n1-000-1,tumour\n1-000-1,stroma\n")


def _no_factor(folder: Path) -> None:
    (folder / "spatial/scalefactors_json.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_positions, "There is no .*/tissue_positions.csv; download"),
        (
            _other_section,
            "does not have all spots of filtered_feature_bc_matrix.h5; give both files",
        ),
        (_truncated, "is not a valid file of Space Ranger; download it again"),
        (_beyond, "whose indices do not match its shape"),
        (_latin, r"mine\.csv is not a table in UTF-8; correct it, or move it"),
        (_repeated, r"mine\.csv lists the spot 1-000-1 twice; keep one"),
        (_no_factor, "scalefactors_json.json is missing or damaged; download the folder"),
    ],
)
def test_faults_are_refused_in_one_sentence(tmp_path: Path, spoil: object, message: str) -> None:
    write_space_ranger(tmp_path / "T1", 1)
    assert callable(spoil)
    spoil(tmp_path / "T1")
    with pytest.raises(DataError, match=message):
        read_space_ranger(tmp_path / "T1")


@pytest.mark.parametrize("folder", [".", "outs"])
def test_a_section_in_two_formats_is_refused(tmp_path: Path, folder: str) -> None:
    """One of the two used to be skipped silently."""
    (tmp_path / "A" / folder).mkdir(parents=True)
    for name in (f"A/{folder}/{MATRIX}", "A.h5ad", "A.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"has section A twice, as A and A\.h5ad; keep one"):
        find_sections(tmp_path)
