"""Archives: the same patches as from the folder, and no harm from hostile archives."""

import gzip
import io
import shutil
import stat
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morefromless.cli import run
from morefromless.data.archive_readers import MAX_READ_AHEAD, open_archive
from morefromless.data.images import read_rgb
from morefromless.data.store import Store
from morefromless.errors import DataError, UnreadablePatch
from morefromless.ingest import ingest, open_source
from morefromless.sources.folder import Folder
from tests.ingest.samples import folder, patch
from tests.real import real

NAMES = {
    f"{s}/{c}/{i}.png": 100 * n + 10 * t + i
    for n, s in enumerate(("train", "test"))
    for t, c in enumerate("AB")
    for i in range(3)
}


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(patch(seed)).save(buffer, "png")
    return buffer.getvalue()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return folder(tmp_path / "in", NAMES)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
@pytest.mark.parametrize("below", [None, "in"])
def test_archive_gives_the_same_patches_as_its_folder(
    root: Path, tmp_path: Path, kind: str, below: str | None
) -> None:
    base = root if below is None else root.parent
    archive = shutil.make_archive(str(tmp_path / "packed" / "in"), kind, base, below)
    before = set(tmp_path.rglob("*"))
    unpacked = ingest(open_source(str(root)), tmp_path / "folder", progress=False, workers=2).store
    packed = ingest(open_source(archive), tmp_path / "store", progress=False, workers=2).store
    assert packed.meta.splits == {"train": 6, "test": 6}
    for store in (unpacked, packed):
        for row, name in enumerate(store.table["id"]):
            assert (store.arrays["he"][row] == patch(NAMES[name])).all()
    if kind != "gztar":  # a compressed tar is read in its own order
        assert packed.hash == unpacked.hash
    after = {
        p
        for p in tmp_path.rglob("*")
        if p.relative_to(tmp_path).parts[0] not in ("folder", "store")
    }
    assert after == before  # nothing was unpacked


def test_archives_with_equal_names_are_refused(root: Path, tmp_path: Path) -> None:
    for kind in ("zip", "tar"):
        shutil.make_archive(str(tmp_path / "fetched" / "a"), kind, root)
    with pytest.raises(
        DataError, match=r"a\.tar and a\.zip in .* would both be the folder a; remove or"
    ):
        Folder(str(tmp_path / "fetched")).items()


def test_archives_in_a_folder_are_read_like_folders(root: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.make_archive(str(tmp_path / "fetched" / split), "zip", root / split)
    (tmp_path / "fetched/below").mkdir()
    for name in ("val.7z", "below/val.zip"):
        (tmp_path / "fetched" / name).write_bytes(b"not opened")
    source = Folder(str(tmp_path / "fetched"))
    items = source.items()
    assert sorted(item.id for item in items) == sorted(NAMES)
    assert {item.split for item in items} == {"train", "test"}
    assert source.skipped_files() == {"file ending in '.7z'": 1, "file ending in '.zip'": 1}


def test_archive_names_lose_only_their_last_suffix(tmp_path: Path) -> None:
    write_zip(tmp_path / "slide.1.zip", {"A/1.png": png(1), "B/2.png": png(2)})
    write_zip(tmp_path / "slide.2.zip", {"A/1.png": png(3), "B/2.png": png(4)})
    (tmp_path / "._slide.1.zip").write_bytes(b"of macOS, and no archive")
    items = Folder(str(tmp_path)).items()
    assert [item.id for item in items] == [
        f"slide.{n}/{f}" for n in (1, 2) for f in ("A/1.png", "B/2.png")
    ]


def test_compressed_tar_may_have_any_suffix(root: Path, tmp_path: Path) -> None:
    path = shutil.make_archive(str(tmp_path / "a"), "gztar", root)
    archive = open_archive(Path(path).rename(tmp_path / "a.tar"))
    assert (read_rgb(archive.read("test/A/1.png")) == patch(NAMES["test/A/1.png"])).all()


def test_compressed_tar_is_read_in_any_order(tmp_path: Path) -> None:
    names = {f"A/{i:03}.png": i for i in range(2 * MAX_READ_AHEAD)}
    path = shutil.make_archive(str(tmp_path / "a"), "gztar", folder(tmp_path / "in", names))
    archive = open_archive(Path(path))
    order = [*archive.names[::-7], *archive.names, *archive.names[::31]]
    with ThreadPoolExecutor(3) as pool:
        for name, data in zip(order, pool.map(archive.read, order), strict=True):
            assert (read_rgb(data) == patch(names[name])).all()


def test_unsafe_archive_members_are_skipped(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip",
        {
            "A/1.png": png(1),
            "../out.png": png(2),
            "/abs.png": png(3),
            "C:/drive.png": png(4),
            "A\\2.png": png(5),
            "B/x/../../../3.png": png(6),
            "B/4.png": png(7),
            "B/movie.avi": b"",
            "__MACOSX/A/._1.png": b"",
        },
    )
    link = zipfile.ZipInfo("A/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    source = Folder(str(path))
    assert [item.id for item in source.items()] == ["A/1.png", "A/2.png", "B/4.png"]
    assert source.skipped_files() == {
        "member whose path leads out of the archive": 4,
        "link": 1,
        "file ending in '.avi'": 1,
    }
    assert (source.read(source.items()[1])["he"] == patch(5)).all()
    ingest(source, tmp_path / "store", split="test", progress=False)
    assert {file.name for file in tmp_path.iterdir()} == {"a.zip", "store"}
    assert not (tmp_path.parent / "out.png").exists()

    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (
            ("A/1.png", tarfile.REGTYPE),
            ("A/2.png", tarfile.SYMTYPE),
            ("A/3.png", tarfile.LNKTYPE),
            ("A/4.png", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            data = png(1) if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    archive = open_archive(tmp_path / "a.tar")
    assert (archive.names, dict(archive.skipped_files)) == (
        ["A/1.png"],
        {"link": 2, "device, pipe or sparse file": 1},
    )


def test_zip_names_in_undeclared_utf8_and_cp437_are_decoded(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"AAAA/1.png": png(1), "BBBB/2.png": png(2)})
    data = path.read_bytes()
    data = data.replace(b"AAAA", "éé".encode()).replace(b"BBBB", b"T\x81m_")  # ü in cp437
    path.write_bytes(data)
    assert {item.label for item in Folder(str(path)).items()} == {"éé", "Tüm_"}


def test_a_bomb_and_an_encrypted_member_are_rejected(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"A/1.png": png(1), "A/0.png": bytes(2**22)})
    archive = open_archive(path)
    with pytest.raises(UnreadablePatch, match=r"too large: it unpacks from .* to 4,194,304 bytes"):
        archive.read("A/0.png")
    assert archive.read("A/1.png") == png(1)
    data = bytearray(write_zip(tmp_path / "b.zip", {"A/1.png": png(1)}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(UnreadablePatch, match="encrypted"):
        open_archive(tmp_path / "b.zip").read("A/1.png")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("A/1.png")
        info.size = 2**28
        tar.fileobj.write(info.tobuf())  # a header alone, which `addfile` refuses from Python 3.13
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        open_archive(tmp_path / "c.tar.gz")


def test_damaged_members_are_rejected_and_damaged_archives_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = Path(shutil.make_archive(str(tmp_path / "a"), "zip", root)).read_bytes()
    offset = content.index(png(NAMES["train/A/0.png"])[:8]) if png(0)[:8] in content else 200
    (tmp_path / "b.zip").write_bytes(content[: offset + 60] + b"xxxx" + content[offset + 64 :])
    assert run(["ingest", str(tmp_path / "b.zip"), str(tmp_path / "store")]) == 0
    assert "1 unreadable" in " ".join(capsys.readouterr().out.split())
    for kind in ("zip", "tar", "gztar"):
        path = Path(shutil.make_archive(str(tmp_path / "c"), kind, root))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert run(["ingest", str(path), str(tmp_path / "other")]) == 2
        error = capsys.readouterr().err.strip()
        assert "is not a valid archive" in error
        assert "download it again." in error
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("cut", ["at a member", "within a header", "damaged header"])
@pytest.mark.parametrize("kind", ["tar", "gztar"])
def test_truncated_tar_is_refused(tmp_path: Path, cut: str, kind: str) -> None:
    """Python's own reader accepts each of these as a complete archive with fewer members."""
    content = many_files(tmp_path / "a.tar", 12).read_bytes()
    offset = content.index(b"A/0000008.bmp")
    parts = {
        "at a member": content[:offset],
        "within a header": content[: offset + 100],
        "damaged header": content[: offset + 10] + b"xxxx" + content[offset + 14 :],
    }
    path = tmp_path / "b.tar"
    path.write_bytes(parts[cut] if kind == "tar" else gzip.compress(parts[cut]))
    with pytest.raises(
        DataError, match=rf"is not a valid archive \(no header at byte {offset:,}\)"
    ):
        open_archive(path)


def many_files(path: Path, count: int) -> Path:
    """A tar of small files: every fourth is an image of 8 px, the others are empty."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "bmp")
    header = buffer.getvalue()[:-192]
    pixels = np.random.default_rng(0).integers(0, 256, (count, 192), np.uint8)
    with path.open("wb") as file:
        for number in range(count):
            info = tarfile.TarInfo(f"{'AB'[number // 4 % 2]}/{number:07}.bmp")
            data = b"" if number % 4 else header + pixels[number].tobytes()
            info.size = len(data)
            file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512))
        file.write(bytes(1024))
    return path


def memory(field: str) -> int:
    """Bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def test_memory_of_a_tar_with_many_files_is_limited(tmp_path: Path) -> None:
    ingest(str(many_files(tmp_path / "few.tar", 40)), tmp_path / "few", progress=False)  # imports
    count = 20_000
    path = many_files(tmp_path / "many.tar", count)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is used now
    before = memory("VmRSS")
    report = ingest(str(path), tmp_path / "store", progress=False)
    grown = memory("VmHWM") - before
    assert (report.accepted, report.rejected) == (5000, {"empty file": 15_000})
    assert grown < 4000 * count


@pytest.mark.parametrize("suffix", ["bmp", "webp"])
def test_bmp_and_webp_images_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"1.{suffix}"
    Image.fromarray(patch(1)).save(path, lossless=True)
    assert (read_rgb(path) == patch(1)).all()


def test_published_nct_crc_archive_is_recognised(tmp_path: Path) -> None:
    sample = real("nct-crc-sample")
    files = sorted(sample.rglob("*.tif"))[:60]
    with zipfile.ZipFile(tmp_path / "NCT-CRC-HE-100K.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in files:
            file.write(path, f"NCT-CRC-HE-100K/{path.relative_to(sample)}")
    source = open_source(str(tmp_path / "NCT-CRC-HE-100K.zip"))
    assert type(source).__name__ == "NctCrc"
    store = ingest(source, tmp_path / "store", split="test", progress=False).store
    assert len(store.table) == 60
    row = int(store.table.index[store.table["id"].str.endswith(files[7].name)][0])
    assert (Store.open(tmp_path / "store").arrays["he"][row] == read_rgb(files[7])).all()


@pytest.mark.parametrize("size", ["-512", "9" * 30])
def test_impossible_member_size_is_refused(tmp_path: Path, size: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("A/1.png")
        info.pax_headers = {"size": size}
        tar.addfile(info, io.BytesIO(png(1)))
    with pytest.raises(DataError, match=r"is not a valid archive|unpacks to more"):
        open_archive(tmp_path / "a.tar")
