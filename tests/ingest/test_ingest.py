"""Which patches are accepted, which are rejected and why, and their splits."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image

from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.files import StorageError
from morefromless.ingest import IngestReport, ingest, open_source
from morefromless.ingest.listing import fingerprint
from morefromless.sources import Datasheet, Item
from morefromless.sources.folder import Folder
from tests.ingest.samples import Counting, folder, patch, two_classes
from tests.real import real


def run(source: Path, destination: Path, **options: object) -> IngestReport:
    return ingest(open_source(str(source)), destination, progress=False, **options)  # type: ignore[arg-type]


def nothing_written(path: Path) -> bool:
    return not [p for p in path.parent.iterdir() if p.name.startswith(path.name)]


def test_store_contains_pixels_labels_and_ids(tmp_path: Path) -> None:
    report = run(two_classes(tmp_path / "in", 30), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert report.accepted == len(store.table) == 30
    assert not report.rejected
    assert store.classes == ("A", "B")
    assert store.side == 16
    for row, entry in store.table.iterrows():
        seed = int(Path(entry["id"]).stem)
        np.testing.assert_array_equal(store.arrays["he"][row], patch(seed))
        assert entry["label"] == "AB"[seed % 2]
        assert store.classes[store.labels[row]] == entry["label"]
    train, test = store.indices("train"), store.indices("test")
    assert len(test) == 6
    assert sorted([*train, *test]) == list(range(30))
    assert len(store.indices("val")) == 0
    assert "one patient may be in both train and test" in store.caveats[0]
    assert store.groups("train") is None


def write_mixed_patches(root: Path) -> Path:
    """20 usable patches, and one of every unusable kind."""
    two_classes(root, 20)
    a = root / "A"
    (a / "text.png").write_text("I am not an image")
    (a / "empty.tif").touch()
    Image.fromarray(patch(90)).save(a / "cut.jpg")
    (a / "cut.jpg").write_bytes((a / "cut.jpg").read_bytes()[:-200])
    Image.fromarray(patch(91)[..., 0]).save(a / "grey.png")
    Image.fromarray(patch(92)[..., 0].astype(np.uint16) * 257).save(a / "deep.png")
    Image.fromarray(np.dstack([patch(93), np.full((16, 16), 128, np.uint8)])).save(a / "clear.png")
    Image.fromarray(patch(94, 20)).save(a / "large.png")
    Image.fromarray(patch(95)[:8]).save(a / "oblong.png")
    Image.fromarray(patch(96)).convert("CMYK").save(a / "print.jpg")
    Image.fromarray(patch(0)).save(a / "again.png")
    Image.fromarray(patch(2)).save(root / "B" / "again.png")
    return root


EXPECTED = {
    "A/text.png": "unreadable: not a png",
    "A/empty.tif": "empty file: 0 bytes",
    "A/cut.jpg": "unreadable: truncated",
    "A/grey.png": "grey image: convert to RGB",
    "A/deep.png": "16-bit image: convert",
    "A/clear.png": "transparent image: flatten",
    "A/large.png": "another size: 20 px, not 16",
    "A/oblong.png": "not square: 16 x 8",
    "A/print.jpg": "colours not RGB: mode CMYK",
    "A/again.png": "copy: same pixels as A/000.png",
    "B/again.png": "copy under another label: same pixels as A/002.png",
}


def test_unusable_patches_are_rejected_with_a_reason(tmp_path: Path) -> None:
    report = run(write_mixed_patches(tmp_path / "in"), tmp_path / "store")
    reasons = pd.read_csv(tmp_path / "store" / "rejected.csv").set_index("origin")["reason"]
    assert set(reasons.index) == set(EXPECTED)
    for origin, reason in EXPECTED.items():
        assert reasons[origin].startswith(reason), reasons[origin]
    assert report.accepted == 20
    assert report.rejected["unreadable"] == 2
    assert report.rejected.total() == len(EXPECTED)
    summary = str(report)
    assert "contains 20 patches of 2 classes" in summary
    assert "11 rejected (2 unreadable, " in summary

    store = Store.open(tmp_path / "store")
    for row, name in enumerate(store.table["id"]):  # rows moved into gaps kept their pixels
        np.testing.assert_array_equal(store.arrays["he"][row], patch(int(Path(name).stem)))


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "grey", "deep", "clear", "large"])
def test_strict_stops_at_the_first_unusable_patch(tmp_path: Path, kind: str) -> None:
    root = two_classes(tmp_path / "in", 10)
    bad = next((write_mixed_patches(tmp_path / "spoilt") / "A").glob(f"{kind}.*"))
    bad.rename(root / "A" / bad.name)
    with pytest.raises(DataError, match=rf"'A/{bad.name}' cannot be used .*--strict"):
        run(root, tmp_path / "store", strict=True)
    assert nothing_written(tmp_path / "store")


def test_strict_also_refuses_copies(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {"A/1.png": 1, "A/2.png": 1, "A/3.png": 2, "B/1.png": 3})
    with pytest.raises(DataError, match=r"'A/2.png' cannot be used \(copy"):
        run(root, tmp_path / "store", strict=True)
    assert nothing_written(tmp_path / "store")


def test_error_names_the_only_rejection_reason(tmp_path: Path) -> None:
    for i in range(40):
        path = tmp_path / "in" / "AB"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patch(i)[..., 0]).save(path)
    with pytest.raises(DataError, match=r"None of the 40 patches.*for 40, is 'grey image"):
        run(tmp_path / "in", tmp_path / "store")
    assert nothing_written(tmp_path / "store")


def test_single_remaining_class_names_the_most_common_reason(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {f"A/{i}.png": i for i in range(6)})
    (root / "B").mkdir()
    for i in range(3):
        (root / "B" / f"{i}.jpg").write_text("no")
    Image.fromarray(patch(9)[..., 0]).save(root / "B" / "grey.png")
    with pytest.raises(
        DataError, match=r"only class 'A' is left.*\(3 patches\) is 'unreadable: not a"
    ):
        run(root, tmp_path / "store")
    assert nothing_written(tmp_path / "store")


def test_single_class_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "in", {f"A/{i}.png": i for i in range(6)})
    with pytest.raises(DataError, match=r"in has only one class \('A'\)"):
        run(root, tmp_path / "store")
    assert nothing_written(tmp_path / "store")


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_full_disk_raises_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def raise_disk_full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    root = two_classes(tmp_path / "in")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, raise_disk_full)
        with pytest.raises(StorageError, match=r"store.partial.*full.*free some"):
            run(root, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert run(root, tmp_path / "store").accepted == 10


def test_too_small_disk_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Counting(tmp_path / "log", 100)
    needed = 100 * (8 * 8 * 3 + 32 * 32 * 4)  # pixels and a thumbnail
    with monkeypatch.context() as patched:
        usage = SimpleNamespace(free=needed - 1)
        patched.setattr("morefromless.files.shutil.disk_usage", lambda _: usage)
        with pytest.raises(StorageError, match=r"store.partial needs .* GB.*free some"):
            ingest(source, tmp_path / "store", progress=False)
        assert not (tmp_path / "store.partial").exists()
        assert len(source.readings()) < 100
        usage.free = needed
        ingest(source, tmp_path / "store", progress=False)


def test_unwritable_destination_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="choose another place"):
        run(two_classes(tmp_path / "in"), tmp_path / "file" / "store")


def test_resize_accepts_all_sizes_and_scales_um_per_px(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "in", {f"{c}/small{i}.png": i + 100 * ord(c) for c in "AB" for i in range(3)}
    )
    folder(
        root, {f"{c}/large{i}.png": 9 + i + 100 * ord(c) for c in "AB" for i in range(3)}, side=32
    )
    assert run(root, tmp_path / "as they are").accepted == 6  # a tie goes to the larger
    assert Store.open(tmp_path / "as they are").side == 32
    assert run(root, tmp_path / "small", size=16).accepted == 6
    assert run(root, tmp_path / "all", resize=8, um_per_px=0.5).accepted == 12
    store = Store.open(tmp_path / "all")
    assert store.side == 8
    assert store.um_per_px is None  # not the same for all
    assert any("Patches have 1 to 2 µm per px" in caveat for caveat in store.caveats)
    for row, entry in store.table.iterrows():
        factor = 4 if "large" in entry["id"] else 2
        assert entry["um_per_px"] == 0.5 * factor
        image = np.asarray(Image.open(root / entry["id"]), dtype=np.float64)
        expected = image.reshape(8, factor, 8, factor, 3).mean(axis=(1, 3))
        assert np.abs(store.arrays["he"][row] - expected).max() <= 0.5
    scales = {Store.open(tmp_path / name).um_per_px for name in ("as they are", "small")}
    assert scales == {None}


def test_source_splits_stay_and_copies_are_removed_from_train(tmp_path: Path) -> None:
    folders = [f"{s}/{c}" for s in ("train", "val", "test") for c in "AB"]
    names = {f"{f}/{i}.png": 100 * n + i for n, f in enumerate(folders) for i in (0, 1)}
    root = folder(tmp_path / "in", names)
    folder(root, {"train/A/leak.png": names["test/A/0.png"]})
    folder(root, {"train/B/leak.png": names["val/B/0.png"]})
    folder(root, {"train/A/twin.png": names["train/A/0.png"]})
    report = run(root, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert report.rejected == {"copy of another split's": 2}
    assert (store.table["split"] == store.table["id"].str.partition("/")[0]).all()
    assert not {"train/A/leak.png", "train/B/leak.png"} & set(store.table["id"])
    assert "train/A/twin.png" in set(store.table["id"])
    assert "unless the source's split separates patients" in store.caveats[0]


def test_different_train_and_test_classes_are_refused(tmp_path: Path) -> None:
    folders = ["train/A", "train/B", "test/A", "test/C"]
    names = {f"{f}/{i}.png": 100 * n + i for n, f in enumerate(folders) for i in range(3)}
    root = folder(tmp_path / "in", names)
    with pytest.raises(DataError, match=r"'B' in train .*'C' in test .*--split random"):
        run(root, tmp_path / "store")
    assert nothing_written(tmp_path / "store")
    assert run(root, tmp_path / "store", split="random").accepted == 12
    caveat = Store.open(tmp_path / "store").caveats[0]
    assert caveat.startswith("The source's own split (test, train) is not used, as requested")


def test_class_without_usable_test_patches_is_refused(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "in",
        {
            f"{s}/{c}/{i}.png": hash_
            for hash_, (s, c, i) in enumerate(
                (s, c, i) for s in ("train", "test") for c in "ABC" for i in range(3)
            )
        },
    )
    for path in (root / "test" / "C").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"'C' in train but not in test"):
        run(root, tmp_path / "store")
    assert nothing_written(tmp_path / "store")


def test_source_with_only_a_test_split_is_split_again(tmp_path: Path) -> None:
    two_classes(tmp_path / "in" / "test")
    report = run(tmp_path / "in", tmp_path / "store")
    assert report.splits == {"train": 8, "test": 2}
    larger_test = run(tmp_path / "in", tmp_path / "more", test_share=0.4)
    assert larger_test.splits == {"train": 6, "test": 4}
    assert "(test) is not used, because it has no train or no test" in report.notes[0]


def test_normalised_names_are_noted_once(tmp_path: Path) -> None:
    folder(tmp_path / "in", {f"{name}/{i}.png": i for i, name in enumerate(["Do\u0308l", "B"] * 5)})
    report = run(tmp_path / "in", tmp_path / "store")
    assert report.store.classes == ("B", "D\xf6l")
    (note,) = [note for note in report.notes if "normal form" in note]
    assert note == r"Names changed to their normal form: 'Do\u0308l' to 'D\xf6l'."


def test_groups_are_not_split(tmp_path: Path) -> None:
    names = {
        f"{c}/P{p}-{i}.png": 100 * p + 10 * ord(c) + i
        for c in "AB"
        for p in range(8)
        for i in range(3)
    }
    root = folder(tmp_path / "in", names)
    ingest(open_source(str(root), group=r"(P\d+)"), tmp_path / "store", progress=False)
    store = Store.open(tmp_path / "store")
    train, test = store.groups("train"), store.groups("test")
    assert train is not None
    assert test is not None
    assert store.groups_known
    assert not set(train) & set(test)
    assert set(train) | set(test) == {f"P{i}" for i in range(8)}
    assert store.caveats == [FEW_GROUPS_CAVEAT.format(f"{len(set(test))} test groups")]
    assert store.meta.split_rule == "group"
    reseeded = ingest(
        open_source(str(root), group=r"(P\d+)"), tmp_path / "other", seed=1, progress=False
    ).store
    assert set(reseeded.groups("test")) != set(test)  # type: ignore[arg-type]
    single_group = ingest(
        open_source(str(root), group="(P)"), tmp_path / "one", progress=False
    ).store
    assert (single_group.groups_known, single_group.meta.split_rule) == (True, "label")


FEW_GROUPS_CAVEAT = (
    "{} (patients or slides): no difference between arms can be shown; this needs at least "
    "6 groups, and more for several contrasts."
)


@pytest.mark.parametrize("patients", [1, 5, 6])
def test_too_few_test_groups_are_a_caveat(tmp_path: Path, patients: int) -> None:
    names = {
        f"{s}/{c}/P{s}{p}.png": 10 * ord(c) + p + 1000 * len(s)
        for c in "AB"
        for p in range(patients)
        for s in ("train", "test")
    }
    root = folder(tmp_path / "in", names)
    ingest(open_source(str(root), group=r"(P\w+\d)"), tmp_path / "store", progress=False)
    count = f"{patients} test group{'s' * (patients > 1)}"
    expected = [] if 2 / 2**patients < 0.05 else [FEW_GROUPS_CAVEAT.format(count)]
    assert Store.open(tmp_path / "store").caveats == expected


def test_groups_in_both_train_and_test_are_a_caveat(tmp_path: Path) -> None:
    names = {
        f"{s}/{c}/P{p}.png": 10 * ord(c) + p + 1000 * len(s)
        for c in "AB"
        for p in range(3)
        for s in ("train", "test")
    }
    root = folder(tmp_path / "in", names)
    ingest(open_source(str(root), group=r"(P\d)"), tmp_path / "store", progress=False)
    assert Store.open(tmp_path / "store").caveats == [
        "3 groups are in both train and test (patients or slides).",
        FEW_GROUPS_CAVEAT.format("3 test groups"),
    ]


def test_only_patch_of_a_class_is_rejected(tmp_path: Path) -> None:
    root = folder(two_classes(tmp_path / "in"), {"C/1.png": 50})
    report = run(root, tmp_path / "store")
    assert report.rejected == {"alone in its class": 1}
    with pytest.raises(DataError, match="store is already a store"):
        open_source(str(tmp_path / "store"))
    measured = folder(tmp_path / "measured", {f"{i / 7}/{i}.png": 50 + i for i in range(9)})
    with pytest.raises(DataError, match=r"^9 of 9 .* bin measured values into classes"):
        run(measured, tmp_path / "none")
    folder(tmp_path / "measured", {f"{1 / 7}/{i}.png": 90 + i for i in range(5)})
    with pytest.raises(DataError, match=r"^8 of 13 .* bin measured values into classes"):
        run(measured, tmp_path / "none")  # some values are equal
    assert Store.open(tmp_path / "store").classes == ("A", "B")


def test_workers_do_not_change_the_result(tmp_path: Path) -> None:
    root = write_mixed_patches(tmp_path / "in")
    hashes = set()
    for workers in (1, 3):
        run(root, tmp_path / f"{workers}", workers=workers)
        hashes.add(Store.open(tmp_path / f"{workers}").hash)
    run(root, tmp_path / "seed", seed=1)
    assert len(hashes) == 1
    assert Store.open(tmp_path / "seed").hash not in hashes


def test_finished_ingest_is_skipped_and_another_is_refused(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "in")
    first = run(root, tmp_path / "store")
    second = run(root, tmp_path / "store")
    assert second.already_existed
    assert ingest(
        root, tmp_path / "store", progress=False
    ).already_existed  # a path is a source too
    assert not first.already_existed
    assert second.accepted == first.accepted
    assert str(second).startswith("Already done: ")
    with pytest.raises(DataError, match="exists and was not made from this source with these opt"):
        run(root, tmp_path / "store", seed=1)
    folder(root, {"A/new.png": 70})
    with pytest.raises(DataError, match="remove it, or choose another destination"):
        run(root, tmp_path / "store")
    with pytest.raises(DataError, match="exists"):
        run(root, root)


def test_ingest_finished_by_a_concurrent_one_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store = Counting(tmp_path / "log", 60), tmp_path / "store"
    module = sys.modules["morefromless.ingest"]
    original_claim = module._claimed

    @contextmanager
    def claim_late(work: Path) -> Iterator[None]:
        monkeypatch.setattr(module, "_claimed", original_claim)
        assert not ingest(source, store, progress=False).already_existed
        with original_claim(work):
            yield

    monkeypatch.setattr(module, "_claimed", claim_late)
    assert ingest(source, store, progress=False).already_existed
    assert len(source.readings()) == 60
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "store"]


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"resize": -1}, {"test_share": 1.0}, {"seed": -1}, {"split": "same"}]
)
def test_invalid_options_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"--{next(iter(options)).replace('_', '-')} "):
        run(two_classes(tmp_path / "in"), tmp_path / "store", **options)


def test_open_source_selects_the_source(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "patches")
    assert type(open_source(str(root))).__name__ == "Folder"
    assert type(open_source(f"folder:{root},classes=none")).__name__ == "Folder"
    nct = folder(tmp_path / "nct", {"TUM-AAAFLCLY.tif": 1, "STR-TCGA-AAAFLCLY.tif": 2})
    assert type(open_source(str(nct))).__name__ == "NctCrc"
    np.savez(tmp_path / "x.npz", test_images=np.zeros((1, 8, 8, 3), np.uint8))
    assert type(open_source(str(tmp_path / "x.npz"))).__name__ == "Medmnist"
    with pytest.raises(DataError, match=rf"no file or folder .*did you mean {root}\?"):
        open_source(str(tmp_path / "patch"))
    with pytest.raises(DataError, match="check the path, or name a source"):
        open_source("/nowhere/at/all")
    with pytest.raises(DataError, match=r"did you mean folder\?"):
        open_source("foldr")
    with pytest.raises(ConfigError, match=r"did you mean folder"):
        open_source("foldr:x")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="is not a supported file; use a folder"):
        open_source(str(tmp_path / "notes.txt"))


def test_fingerprint_depends_on_all_fields_of_the_listing(tmp_path: Path) -> None:
    items = Counting(tmp_path / "log", 4).items()
    sheet = Datasheet(title="counting", um_per_px=0.5)
    reference = fingerprint(items, sheet)
    assert fingerprint(list(items), replace(sheet, licence="known later")) == reference
    changed = [
        fingerprint(items[:3], sheet),
        fingerprint(items[::-1], sheet),
        fingerprint(items, replace(sheet, title="other")),
        fingerprint(items, replace(sheet, um_per_px=1.0)),
    ]
    changed += [
        fingerprint([replace(items[0], **{field: "val"}), *items[1:]], sheet)
        for field in ("id", "label", "origin", "split", "group")
    ]
    assert len({reference, *changed}) == 10


class TwoArrays(Counting):
    """Patches with a second array; patch 5 has none, and patch 6 has it in another size."""

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        he = patch(int(item.id))
        exceptions = {"5": {}, "6": {"nuclei": he[:8, :8]}}
        return {"he": he, **exceptions.get(item.id, {"nuclei": 255 - he})}


def test_rows_of_all_arrays_match(tmp_path: Path) -> None:
    report = ingest(TwoArrays(tmp_path / "log", 40), tmp_path / "store", progress=False)
    assert report.rejected == {"other arrays": 1, "another size": 1}
    store = Store.open(tmp_path / "store")
    assert set(store.arrays) == {"he", "nuclei"}
    for row, name in enumerate(store.table["id"]):
        np.testing.assert_array_equal(store.arrays["he"][row], patch(int(name)))
        np.testing.assert_array_equal(store.arrays["nuclei"][row], 255 - patch(int(name)))


@pytest.mark.parametrize(
    ("name", "options", "accepted", "rejected", "side"),
    [
        ("prostate", {"resize": 32}, 6000, {}, 32),
        ("nct-crc-sample", {"split": "random"}, 207, {"alone in its class": 1}, 224),
        ("pathmnist/pathmnist.npz", {}, 718, {}, 28),
    ],
)
def test_real_patches_are_ingested(
    tmp_path: Path,
    name: str,
    options: dict[str, object],
    accepted: int,
    rejected: object,
    side: int,
) -> None:
    report = run(real(name), tmp_path / "store", **options)
    store = Store.open(tmp_path / "store")
    assert (report.accepted, dict(report.rejected), store.side) == (accepted, rejected, side)
    array: npt.NDArray[np.uint8] = store.arrays["he"]
    assert array.reshape(len(array), -1).std(axis=1).min() > 0  # no row was left unwritten


def test_unusual_channels_are_rejected(tmp_path: Path) -> None:
    class Mixed(Counting):
        def read(self, item: Item) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
            image = patch(int(item.id), 8)
            return {"he": image[..., :2] if item.id == "5" else image}

    report = ingest(Mixed(tmp_path / "log", 24), tmp_path / "store", progress=False)
    assert report.rejected == {"other channels": 1}
    reason = pd.read_csv(tmp_path / "store/rejected.csv")["reason"].item()
    assert reason == "other channels: 2 of uint8, not 3 of uint8"


def test_changed_store_files_are_refused(tmp_path: Path) -> None:
    ingest(Folder(str(two_classes(tmp_path / "source"))), tmp_path / "store", progress=False)
    Store.open(tmp_path / "store").verify()
    path = tmp_path / "store" / "he.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"he\.npy of .* damaged at patch B/009"):
        Store.open(tmp_path / "store")
    path.unlink()
    with pytest.raises(DataError, match=r"he\.npy is missing or damaged; remove .* ingest again"):
        ingest(Folder(str(tmp_path / "source")), tmp_path / "store", progress=False)


@pytest.mark.parametrize("linked", [False, True])
def test_replaced_image_is_refused_as_another_source(tmp_path: Path, linked: bool) -> None:
    root = two_classes(tmp_path / "source")
    if linked:  # a class that lies on another disk
        (root / "A").rename(tmp_path / "disk")
        (root / "A").symlink_to(tmp_path / "disk")
    ingest(Folder(str(root)), tmp_path / "store", progress=False)
    assert ingest(Folder(str(root)), tmp_path / "store", progress=False).already_existed
    Image.fromarray(patch(99)).save(root / "A" / "000.png")
    with pytest.raises(DataError, match="was not made from this source"):
        ingest(Folder(str(root)), tmp_path / "store", progress=False)


def test_unlabelled_patches_are_kept_and_counted(tmp_path: Path) -> None:
    names = {f"{['v', 'w', 'unlabelled'][i % 3]}/{i:03}.png": i for i in range(30)}
    root = folder(tmp_path / "in", names | {"unlabelled/000.png": 1})
    report = run(root, tmp_path / "store")
    store = report.store
    assert "contains 30 patches of 2 classes (4 test, 26 train)" in str(report)
    assert "2 classes" in repr(store)
    assert (
        "10 of 30 patches have no label (10 train): self-supervised training uses those in train"
        in report.notes[1]
    )
    # Of equal patches the labelled one stays, and their labels do not contradict each other.
    assert report.rejected == {"copy": 1}
    assert (store.table["label"] == "w").sum() == 10
    labelled = run(
        folder(tmp_path / "known", {n: i for n, i in names.items() if n[0] in "vw"}), tmp_path / "k"
    )
    test_ids = [set(s.table["id"].iloc[s.indices("test")]) for s in (store, labelled.store)]
    assert test_ids[0] == test_ids[1]
    grouped = ingest(open_source(str(root), group=r"(\d)\.png"), tmp_path / "g", progress=False)
    caveat = (
        "test groups with labels (patients or slides): no difference between arms can be shown in"
    )
    assert f"{caveat} the task tissue; this needs" in grouped.store.caveats[0]
    cohort = run(root, tmp_path / "cohort", split="test")
    assert "11 of 31 patches have no label (11 test): probes, floors" in cohort.notes[1]
    single_class = folder(
        tmp_path / "one", {f"{['A', 'unlabelled'][i % 2]}/{i}.png": i for i in range(9)}
    )
    with pytest.raises(DataError, match=r"only one class \('A'\) and unlabelled patches; comp"):
        run(single_class, tmp_path / "none")
    lone_class = folder(tmp_path / "single", {**names, "C/0.png": 99})
    lone_report = run(lone_class, tmp_path / "s")
    assert lone_report.rejected == {"alone in its class": 1}


def test_unlabelled_copies_in_another_split_are_rejected(tmp_path: Path) -> None:
    names = {
        f"{s}/{'AB'[i % 2]}/{s}{i}.png": 10 * k + i
        for k, s in enumerate(("train", "test"))
        for i in range(6)
    }
    root = folder(
        tmp_path / "in", {**names, "test/unlabelled/x.png": 2, "train/unlabelled/y.png": 14}
    )
    report = run(root, tmp_path / "store")
    assert report.rejected == {"copy of another split's": 2}
    assert report.splits == {"train": 5, "test": 7}
