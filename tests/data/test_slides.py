"""Regions of slides against area averages in float64, for both libraries."""

import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openslide
import pytest
import tifffile

from morefromless.data.channels import channel_names
from morefromless.data.slide_files import slide_files
from morefromless.data.slide_readers import open_slide
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from tests.data.slides import RGB, drawn, write_ome, write_tiled
from tests.real import real
from tests.unreadable import refuse_to_list

EXTENT = 1024
"""Side in pixels of a plane that contains all images of this test."""


def averages(image: RGB, x: float, y: float, side: int, step: float) -> npt.NDArray[np.float64]:
    """Area averages with fractions of pixels, computed per output pixel."""
    padded = np.full((EXTENT, EXTENT, 3), 255.0)
    padded[: len(image), : len(image)] = image
    pixels, result = np.arange(EXTENT), np.zeros((side, side, 3))
    for row, column in np.ndindex(side, side):
        weights = [
            np.clip(
                np.minimum(pixels + 1, start + step) - np.maximum(pixels, start),
                0,
                None,
            )
            for start in (y + row * step, x + column * step)
        ]
        rows, columns = (np.flatnonzero(weight) for weight in weights)
        part = padded[np.ix_(rows, columns)]
        weight = weights[0][rows][:, None] * weights[1][columns]
        result[row, column] = (part * weight[..., None]).sum((0, 1)) / step**2
    return result


@pytest.mark.parametrize("step", [1, 2.5, 3])
def test_a_region_is_the_area_average_of_its_pixels(tmp_path: Path, step: float) -> None:
    image = drawn(600)
    slide = open_slide(write_ome(tmp_path / "a.ome.tif", image))
    assert (slide.size, slide.um_per_px, slide.downsamples) == ((600, 600), 0.5, (1.0, 4.0))
    region = slide.read(101, 52, 12, 12, 0.5 * step)
    expected = averages(image, 101, 52, 12, step)
    assert np.abs(region - expected).max() < 0.501
    # Pixels outside the slide are white.
    assert (slide.read(590, 0, 30, 30, 0.5)[:, 10:] == 255).all()


def test_the_nearest_finer_level_is_read(tmp_path: Path) -> None:
    image = drawn(512)
    path = write_ome(tmp_path / "a.ome.tif", image)
    with tifffile.TiffFile(path) as file:
        coarse = file.series[0].levels[1].asarray()
    slide = open_slide(path)
    assert (slide.read(64, 128, 20, 20, 2.0) == coarse[32:52, 16:36]).all()
    # A difference of 1 % counts as the same magnification; pixels are not resampled.
    assert (slide.read(64, 128, 20, 20, 2.008) == coarse[32:52, 16:36]).all()


def test_large_regions_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = open_slide(write_ome(tmp_path / "a.ome.tif", drawn(600)))
    expected = slide.read(0, 0, 240, 240, 1.25)
    monkeypatch.setattr("morefromless.data.slides.MAX_BLOCK", 100)
    assert (slide.read(0, 0, 240, 240, 1.25) == expected).all()


def test_openslide_reads_what_tifffile_reads(tmp_path: Path) -> None:
    path = write_tiled(tmp_path / "a.tif", drawn(512), 0.25)
    slide = open_slide(path)
    assert slide.um_per_px == pytest.approx(0.25)
    pixels = tifffile.imread(path)
    region = slide.read(40, 60, 64, 64, 0.25)
    assert np.abs(region.astype(int) - pixels[60:124, 40:104]).max() <= 2  # two JPEG decoders


@pytest.mark.parametrize("compression", ["jpeg2000", "webp"])
def test_tifffile_reads_compressions_that_openslide_does_not(
    tmp_path: Path, compression: str
) -> None:
    options = {"tile": (240, 112), "photometric": "rgb", "compression": compression}
    path = tmp_path / "slide.tif"
    scale = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, drawn(512), **options, **scale)
    with pytest.raises(openslide.OpenSlideError, match="Unsupported TIFF compression"):
        openslide.OpenSlide(str(path))
    slide = open_slide(path)
    assert slide.um_per_px == 0.5
    pixels = tifffile.imread(path)[200:232, 100:164]
    np.testing.assert_array_equal(slide.read(100, 200, 64, 32, 0.5), pixels)


def test_error_for_unreadable_slide_names_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiled(tmp_path / "slide.svs", drawn(512))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(
        DataError, match=r"No permission to read .*slide\.svs; change its permissions"
    ):
        open_slide(path)


def test_origin_is_read_from_the_bounds_of_the_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiled(tmp_path / "a.tif", drawn(512), 0.25)
    assert open_slide(path).origin == (0, 0)
    bounds = {"openslide.bounds-x": "128", "openslide.bounds-y": "64"}
    monkeypatch.setattr(openslide.OpenSlide, "properties", bounds)  # as in a MIRAX file
    assert open_slide(path, 0.25).origin == (128, 64)


def test_implausible_scale_is_ignored(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", drawn(64), resolution=(72, 72), resolutionunit="INCH")
    slide = open_slide(tmp_path / "a.tif")
    assert slide.um_per_px is None
    with pytest.raises(DataError, match=r"does not state its µm per pixel; give it with --um-per"):
        slide.read(0, 0, 8, 8, 0.5)
    assert open_slide(tmp_path / "a.tif", 0.5).read(0, 0, 8, 8, 1.0).shape == (8, 8, 3)


@pytest.mark.parametrize("write", [write_ome, write_tiled])
def test_damaged_tile_affects_no_other_region(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    image = drawn(512)
    path = write(tmp_path / "a.ome.tif" if write is write_ome else tmp_path / "a.tif", image)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[3], page.databytecounts[3]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\0" * count
    path.write_bytes(content)
    slide = open_slide(path)
    with pytest.raises(UnreadablePatch, match=r"damaged: .* x 300, y 300"):
        slide.read(300, 300, 64, 64, 0.5)
    assert np.abs(slide.read(0, 0, 64, 64, 0.5).astype(int) - image[:64, :64]).mean() < 8


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.svs", b"II*\0 not a slide", "not a slide that OpenSlide can read"),
        ("a.tif", b"not a tiff", "cannot be opened as a slide"),
    ],
)
def test_files_that_are_not_slides_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_slide(tmp_path / name)


def test_grey_slides_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((300, 300), np.uint16))
    with pytest.raises(DataError, match="no RGB image"):
        open_slide(tmp_path / "a.tif")


def test_unreadable_folder_is_not_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.svs", "b/2.svs", "b/._2.svs", ".hidden/3.svs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert slide_files([tmp_path]) == [tmp_path / "a/1.svs", tmp_path / "b/2.svs"]
    refuse_to_list(monkeypatch, tmp_path / "b")
    with pytest.raises(PermissionError, match="/b"):
        slide_files([tmp_path])


def test_a_folder_of_dicom_files_is_one_slide(tmp_path: Path) -> None:
    for name in ("a/1.dcm", "a/2.dcm", "b.svs", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert slide_files([tmp_path]) == [tmp_path / "a/1.dcm", tmp_path / "b.svs"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no slides"):
        slide_files([tmp_path / "empty"])


def test_real_slides() -> None:
    slide = open_slide(real("wsi") / "cmu-1-small-region.svs")
    assert (slide.size, slide.um_per_px) == ((2220, 2967), 0.499)
    kidney = open_slide(real("wsi") / "kidney-48-5.tif")
    assert (kidney.size, kidney.um_per_px) == ((1493, 901), None)


def write_description(path: Path, xml: str) -> Path:
    tifffile.imwrite(path, drawn(64), photometric="rgb", description=xml, metadata=None)
    return path


BOMB = "".join(f"<!ENTITY a{k + 1} '{f'&a{k};' * 50}'>" for k in range(20))


@pytest.mark.parametrize(
    ("xml", "is_refused"),
    [
        ("<OME/>", False),
        ("<OME><Image>", False),
        ("<OME><Image><Pixels PhysicalSizeX='a'/></Image></OME>", True),
        ("<OME><Image/><Image/></OME>", True),
        (f"<!DOCTYPE OME [<!ENTITY a0 'ha'>{BOMB}]><OME><Image>&a20;</Image></OME>", True),
    ],
    ids=["empty", "cut", "words", "two", "entities in entities"],
)
def test_invalid_description_is_refused_or_ignored(
    tmp_path: Path, xml: str, is_refused: bool
) -> None:
    path = write_description(tmp_path / "a.ome.tif", f"<?xml version='1.0'?>{xml}")
    assert channel_names(path) == ()
    if is_refused:
        with pytest.raises(DataError, match=r"cannot be opened as a slide \(damaged\)"):
            open_slide(path)
    else:
        assert open_slide(path).um_per_px is None


def test_size_larger_than_the_pixels_is_refused(tmp_path: Path) -> None:
    for name, write in (("a.ome.tif", write_ome), ("b.tif", write_tiled)):
        path = write(tmp_path / name, drawn(512))
        with tifffile.TiffFile(path, mode="r+") as file:
            file.pages.first.tags["ImageWidth"].overwrite(2**31)
        with pytest.raises(DataError, match=r"download it again\."):
            open_slide(path)


@pytest.mark.parametrize("library", ["tifffile", "openslide", "zarr"])
def test_missing_library_of_the_extra_is_named(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", drawn(64))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match="need the extra slides"):
        open_slide(path)
