"""Images are read exactly as stored, or rejected."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morefromless.data import images
from morefromless.data.images import image_shape, list_images, read_rgb
from morefromless.errors import DataError, UnreadablePatch
from tests.data.test_near_duplicates import tissue

RGB = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff"])
def test_lossless_formats_return_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(read_rgb(tmp_path / f"x.{suffix}"), RGB)


def test_opaque_alpha_and_palettes_lose_nothing(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, np.full((6, 6), 255, np.uint8)])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), RGB)
    Image.fromarray(RGB).quantize(36).save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(read_rgb(tmp_path / "p.png"), image.convert("RGB"))


def png(depth: int) -> bytes:
    """A 2 x 2 RGB png with `depth` bits per channel, by hand: Pillow cannot write 16-bit RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\0" + bytes(range(6 * depth // 8))) * 2
    header = struct.pack(">IIBBBBB", 2, 2, depth, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(depth: int) -> bytes:
    """A 2 x 2 RGB tif with `depth` bits per channel, by hand."""
    bits, pixels = 200, 210
    tags = [
        (256, 3, 1, 2),
        (257, 3, 1, 2),
        (258, 3, 3, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, pixels),
        (277, 3, 1, 3),
        (278, 3, 1, 2),
        (279, 4, 1, 12 * depth // 8),
    ]
    data = b"II*\0" + struct.pack("<IH", 8, len(tags))
    data += b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    data = data.ljust(bits, b"\0") + struct.pack("<HHH", depth, depth, depth)
    return data.ljust(pixels, b"\0") + bytes(12 * depth // 8)


@pytest.mark.parametrize("make", [png, tiff])
def test_16_bit_rgb_is_not_read_as_8_bit(tmp_path: Path, make: object) -> None:
    assert callable(make)
    (tmp_path / "8.png").write_bytes(make(8))
    assert read_rgb(tmp_path / "8.png").shape == (2, 2, 3)
    (tmp_path / "16.png").write_bytes(make(16))
    with pytest.raises(UnreadablePatch, match="16-bit image"):
        read_rgb(tmp_path / "16.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.png")
    for limit in (10, 30):  # rejected by Pillow at twice the limit, by read_rgb at the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(UnreadablePatch, match="too large"):
            read_rgb(tmp_path / "x.png")


def test_only_the_known_formats_are_tried(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.png", format="GIF")
    with pytest.raises(UnreadablePatch, match="not a png, jpg, tif"):
        read_rgb(tmp_path / "x.png")


def test_deleted_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePatch, match="no longer exists"):
        read_rgb(tmp_path / "x.png")


def test_files_are_listed_in_order_and_link_loops_end(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/10.jpeg", "a/x/1.tif", ".hidden/1.png", "b/._1.png", "b/note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert list_images(tmp_path)[0] == ["a/x/1.tif", "b/10.jpeg", "b/2.PNG"]


def test_links_that_lead_out_of_the_folder_are_followed(tmp_path: Path) -> None:
    """As documented in docs/security.md."""
    for name in ("out/1.png", "out/deep/2.png", "in/b/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in" / "a").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "c").symlink_to(tmp_path / "out")  # the same folder again
    (tmp_path / "in" / "b" / "4.png").symlink_to(tmp_path / "out" / "1.png")
    listed = list_images(tmp_path / "in")[0]
    assert listed == ["a/1.png", "a/deep/2.png", "b/3.png", "b/4.png"]


def test_unprintable_file_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad\udcff.png").touch()
    with pytest.raises(DataError, match=r"unprintable characters.*rename it"):
        list_images(tmp_path)


@pytest.mark.parametrize("suffix", ["tif", "jpg", "png"])
def test_a_stated_orientation_is_applied_in_every_format(tmp_path: Path, suffix: str) -> None:
    image = Image.new("RGB", (32, 16), "white")
    image.paste("black", (0, 0, 16, 16))  # left half: upright, 6 turns it to the top
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"turned.{suffix}"
    image.save(path, exif=exif)
    pixels = read_rgb(path)
    assert pixels.shape == (32, 16, 3)
    assert image_shape(path) == (32, 16)
    assert pixels[:12].max() < 40
    assert pixels[-12:].min() > 215


def test_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(UnreadablePatch, match="not a file"):
        read_rgb(tmp_path / "x.png")


@pytest.mark.parametrize(
    "options", [{}, {"quality": 30, "subsampling": 2}, {"progressive": True}, {"keep_rgb": True}]
)
def test_the_fast_decoder_gives_pillows_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, int]
) -> None:
    assert images._simplejpeg() is not None
    path = tmp_path / "x.jpg"
    Image.fromarray(tissue(1, side=97)[0]).save(path, **options)
    fast = images.read_rgb(path)
    monkeypatch.setattr(images, "_simplejpeg", lambda: None)
    np.testing.assert_array_equal(fast, images.read_rgb(path))


def test_the_fast_decoder_refuses_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(tissue(1)[0]).save(path)
    for missing_bytes in (2, 60, 900):
        with pytest.raises(UnreadablePatch, match="truncated or damaged"):
            images.read_rgb(path.read_bytes()[:-missing_bytes])
