"""Layouts of folders, and names of NCT-CRC-HE."""

from pathlib import Path

import pytest
from PIL import Image

from morefromless.errors import DataError
from morefromless.sources.folder import Folder
from morefromless.sources.nct_crc import NctCrc
from tests.unreadable import refuse_to_list


def touch(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def test_class_folders_may_have_any_depth(tmp_path: Path) -> None:
    items = Folder(touch(tmp_path, "ADI/1.png", "TUM/slide 7/2.jpg", "TUM/3.tiff")).items()
    assert [(i.id, i.label, i.split, i.group) for i in items] == [
        ("ADI/1.png", "ADI", None, None),
        ("TUM/3.tiff", "TUM", None, None),
        ("TUM/slide 7/2.jpg", "TUM", None, None),
    ]


def test_split_folders_are_recognised(tmp_path: Path) -> None:
    names = ("Train/A/1.png", "validation/A/x/1.png", "test/B/1.png")
    items = Folder(touch(tmp_path, *names)).items()
    assert [(i.label, i.split) for i in items] == [("A", "train"), ("B", "test"), ("A", "val")]


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    items = Folder(touch(tmp_path, "test/1.png", "control/1.png")).items()
    assert [(i.label, i.split) for i in items] == [("control", None), ("test", None)]


def test_classes_are_read_from_file_names(tmp_path: Path) -> None:
    items = Folder(touch(tmp_path, "gland-1.png", "tumor-a-2.png")).items()
    assert [i.label for i in items] == ["gland", "tumor"]


@pytest.mark.parametrize("split", ["", "train/"])
def test_class_folders_in_patient_folders_are_recognised(tmp_path: Path, split: str) -> None:
    names = [f"{split}P{p}/{c}/1.png" for p in (1, 2) for c in ("tumour", "normal")]
    source = Folder(touch(tmp_path, *names))
    items = source.items()
    assert {(i.label, i.group) for i in items} == {
        (c, p) for c in ("tumour", "normal") for p in ("P1", "P2")
    }
    assert {i.split for i in items} == {"train" if split else None}
    assert "PATIENT/CLASS" in source.remarks()[0]


@pytest.mark.parametrize(
    "names",
    [
        ["benign/40X/1.png", "malignant/40X/2.png"],
        ["C1/P1/1.png", "C2/P1/1.png", "C1/P2/1.png", "C1/P3/2.png"],
        ["C1/train/1.png", "C2/train/1.png"],
        ["P1/tumour/1.png", "P2/tumour/1.png", "P2/1.png"],
    ],
)
def test_subfolders_of_class_folders_are_not_classes(tmp_path: Path, names: list[str]) -> None:
    source = Folder(touch(tmp_path, *names))
    assert [i.label for i in source.items()] == [i.id.split("/")[0] for i in source.items()]
    assert not source.remarks()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no png, jpg or tif files"),
        (["A/1.png", "B/1.png", "map.png"], "'map.png' is in .* but not in a class folder"),
        (["1.png", "2.png"], "no class folders, and '1.png'"),
        (["train/A/1.png", "test/A/1.png", "more/A/1.png"], "test and train in addition to more"),
        (["train/A/1.png", "test/1.png"], "'test/1.png' in .* not in a class folder"),
    ],
)
def test_unclear_layouts_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Folder(touch(tmp_path, *names)).items()


@pytest.mark.parametrize("source", [Folder, NctCrc])
def test_missing_folder_is_refused(tmp_path: Path, source: type[Folder] | type[NctCrc]) -> None:
    with pytest.raises(DataError, match=r"There is no folder .*nowhere; check the path"):
        source(str(tmp_path / "nowhere")).items()


def test_nct_names_give_class_and_published_split(tmp_path: Path) -> None:
    names = (
        "NCT/TUM/TUM-AAAFLCLY.tif",
        "VAL/TUM/TUM-TCGA-AACGSRHD.tif",
        "VAL/ADI-TCGA-AACGSRHD.tif",
    )
    root = touch(tmp_path, *names)
    assert NctCrc.recognises(names)
    assert [(i.label, i.split) for i in NctCrc(root).items()] == [
        ("TUM", "train"),
        ("ADI", "test"),
        ("TUM", "test"),
    ]
    assert NctCrc(root).datasheet().um_per_px == 0.5


def test_one_nct_set_alone_has_no_split(tmp_path: Path) -> None:
    items = NctCrc(touch(tmp_path, "TUM-AAAFLCLY.tif", "ADI-AAAFLCLY.png")).items()
    assert {i.split for i in items} == {None}


def test_other_names_are_not_recognised_as_nct(tmp_path: Path) -> None:
    root = touch(tmp_path, "TUM-AAAFLCLY.tif", "TUM-1.tif")
    assert not NctCrc.recognises(["TUM-AAAFLCLY.tif", "TUM-1.tif"])
    with pytest.raises(DataError, match=r"'TUM-1.tif' .* is not named like .*folder:"):
        NctCrc(root).items()
    assert not NctCrc.recognises([])


def test_skipped_files_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.gif", "b/2.GIF", "b/notes", "b/.hidden", "c/1.png", "d/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert Folder(str(tmp_path)).skipped_files() == {
        "file ending in '.gif'": 2,
        "file without an ending": 1,
    }
    refuse_to_list(monkeypatch, tmp_path / "c")
    assert Folder(str(tmp_path)).skipped_files()["folder 'c' (permission denied)"] == 1


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_further_pages_are_counted(tmp_path: Path, suffix: str) -> None:
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    pages[0].save(tmp_path / f"a/1.{suffix}", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / f"b/1.{suffix}")
    source = Folder(str(tmp_path))
    items = source.items()
    for item in items:
        source.read(item)
    counts = [sum(source.skipped_parts(item).values()) for item in items]
    assert counts == [2, 0]
