"""Images with any number of channels are read unchanged, or rejected with the reason."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from morefromless.data import channels
from morefromless.data.channels import channel_names, channels_shape, read_channels
from morefromless.data.images import ORIENTATION
from morefromless.errors import UnreadablePatch

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 2**16, (24, 24, 5), dtype=np.uint16)
GREY = RNG.integers(0, 256, (24, 24), dtype=np.uint8)


def test_every_format_gives_the_same_channels(tmp_path: Path) -> None:
    pages = np.moveaxis(DEEP, -1, 0)
    names = {"Name": ["DAPI", "CD3", "CD8", "CD20", "PanCK"]}
    tifffile.imwrite(tmp_path / "a.ome.tif", pages, metadata={"axes": "CYX", "Channel": names})
    tifffile.imwrite(tmp_path / "pages.tif", pages, photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "samples.tif", DEEP, photometric="minisblack", planarconfig="contig"
    )
    np.save(tmp_path / "last.npy", DEEP)
    np.save(tmp_path / "first.npy", pages)
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_channels(path), DEEP, err_msg=path.name)
    assert channel_names(tmp_path / "a.ome.tif") == tuple(names["Name"])
    assert channel_names(tmp_path / "pages.tif") == ()


def test_grey_images_of_8_and_16_bits_are_read(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "8.png")
    Image.fromarray(GREY).save(tmp_path / "8.tif")
    Image.fromarray(DEEP[..., 0].copy()).save(tmp_path / "16.png")
    Image.fromarray(DEEP[..., 0].copy()).save(tmp_path / "16.tif")
    for name in ("8.png", "8.tif"):
        np.testing.assert_array_equal(read_channels(tmp_path / name)[..., 0], GREY)
    for name in ("16.png", "16.tif"):
        pixels = read_channels(tmp_path / name)
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels[..., 0], DEEP[..., 0])


def test_grey_images_are_turned_like_rgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for name, values in (("grey.png", GREY), ("rgb.png", np.repeat(GREY[..., None], 3, axis=-1))):
        Image.fromarray(values).save(tmp_path / name, exif=exif)
        np.testing.assert_array_equal(read_channels(tmp_path / name)[..., 0], np.rot90(GREY, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_of_channels_is_turned_like_rgb(tmp_path: Path, orientation: int) -> None:
    deep, tag = DEEP[:16], [(ORIENTATION, "H", 1, orientation, True)]
    low = (deep % 256).astype(np.uint8)
    for name, values in (("deep", deep), ("grey", low[..., 0]), ("rgb", low[..., :3])):
        options = {"photometric": "rgb" if name == "rgb" else "minisblack", "extratags": tag}
        tifffile.imwrite(tmp_path / f"{name}.tif", values, planarconfig="contig", **options)
    rgb = read_channels(tmp_path / "rgb.tif")
    assert rgb.shape[:2] == channels_shape(tmp_path / "grey.tif")
    np.testing.assert_array_equal(read_channels(tmp_path / "grey.tif")[..., 0], rgb[..., 0])
    np.testing.assert_array_equal(read_channels(tmp_path / "deep.tif")[..., :3] % 256, rgb)


def test_rgb_stays_rgb(tmp_path: Path) -> None:
    rgb = np.repeat(GREY[..., None], 3, axis=-1)
    Image.fromarray(rgb).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_channels(tmp_path / "a.tif"), rgb)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((8, 8), np.float32), "holds float32; store uint8 or uint16"),
        (np.zeros((2, 3, 8, 8), np.uint8), "give (height, width) or (height, width, channels)"),
    ],
)
def test_unsupported_arrays_are_refused(tmp_path: Path, values: object, message: str) -> None:
    np.save(tmp_path / "a.npy", values)  # type: ignore[arg-type]
    with pytest.raises(UnreadablePatch) as error:
        read_channels(tmp_path / "a.npy")
    assert message in str(error.value)


def test_damaged_and_huge_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 8, 8), np.uint16), imagej=True)
    monkeypatch.setattr(channels, "MAX_ARRAY_BYTES", 100)
    with pytest.raises(UnreadablePatch, match="too large"):
        read_channels(path)
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UnreadablePatch, match="damaged"):
        read_channels(path)
