"""Patches with missing views: rejected, or accepted with the views that they have."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from morefromless import cli
from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.ingest import decoding, ingest, shards
from morefromless.ingest.cutting import Cut
from morefromless.ingest.decoding import SAMPLE
from morefromless.ingest.listing import fingerprint
from morefromless.ingest.segmented import WithNuclei
from morefromless.sources import Datasheet, Item
from tests.ingest.samples import Counting, contents, patch
from tests.ingest.test_kill import kill_at_step, run

LENGTH = 5


def ihc(number: int, side: int) -> np.ndarray:
    return 255 - patch(number, side)


def expression(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=LENGTH).astype(np.float32)


class MissingViews(Counting):
    """Every fifth patch has no IHC, and every fourth has no expression."""

    def datasheet(self) -> Datasheet:
        return replace(super().datasheet(), optional=frozenset({"ihc", "expression"}))

    @staticmethod
    def missing_views(number: int) -> set[str]:
        return set(["ihc"] * (number % 5 == 1) + ["expression"] * (number % 4 == 2))

    def read(self, item: Item) -> dict[str, Any]:
        number = int(item.id)
        views = super().read(item) | {
            "he": patch(number, self.side),  # no copies
            "ihc": ihc(number, self.side),
            "expression": expression(number),
        }
        return {
            name: view for name, view in views.items() if name not in self.missing_views(number)
        }


COUNT = 60


USABLE = [number for number in range(COUNT) if number % 11 != 3]


@pytest.fixture
def incomplete(tmp_path: Path) -> Store:
    ingest(
        MissingViews(tmp_path / "log", COUNT),
        tmp_path / "incomplete",
        missing="keep",
        progress=False,
    )
    return Store.open(tmp_path / "incomplete")


def test_incomplete_patches_are_dropped_by_default(tmp_path: Path) -> None:
    report = ingest(MissingViews(tmp_path / "log", COUNT), tmp_path / "store", progress=False)
    store = Store.open(tmp_path / "store")
    complete = [number for number in USABLE if not MissingViews.missing_views(number)]
    assert sorted(map(int, store.table["id"])) == complete
    assert not (tmp_path / "store" / "present.parquet").exists()
    assert store.meta.absent == {}
    assert store.has("ihc").all()
    assert store.select("he", "ihc", "expression") is store
    reasons = pd.read_csv(tmp_path / "store" / "rejected.csv").set_index("origin")["reason"]
    assert reasons["row 1"] == "no ihc: this patch has none; --missing keep accepts such patches"
    assert reasons["row 6"].startswith("no expression, ihc: ")
    assert "no expression" in str(report)
    assert "without" not in str(report)
    with pytest.raises(DataError, match=r"'row 1' cannot be used \(no ihc: .*--strict"):
        ingest(MissingViews(tmp_path / "l", COUNT), tmp_path / "x", progress=False, strict=True)


def test_missing_keep_accepts_incomplete_patches(incomplete: Store) -> None:
    """Rows are moved to close gaps, together with their presence."""
    assert sorted(map(int, incomplete.table["id"])) == USABLE
    assert (incomplete.table["id"].astype(int).diff().dropna() < 0).any()
    for row, name in enumerate(incomplete.table["id"].astype(int)):
        missing_views = MissingViews.missing_views(name)
        assert {
            n for n in ("he", "ihc", "expression") if not incomplete.has(n)[row]
        } == missing_views
        expected = {"ihc": ihc(name, 8), "expression": expression(name)}
        np.testing.assert_array_equal(incomplete.arrays["he"][row], patch(name, 8))
        for view, values in expected.items():
            stored = values if view not in missing_views else np.zeros_like(values)
            np.testing.assert_array_equal(incomplete.arrays[view][row], stored)


class WithoutMain(Counting):
    """Every fifth patch has only its IHC, which has a quarter of the pixels of H&E."""

    def datasheet(self) -> Datasheet:
        return replace(super().datasheet(), optional=frozenset({"he"}))

    def read(self, item: Item) -> dict[str, Any]:
        number = int(item.id)
        he = {"he": patch(number, 16)} if number % 5 else {}
        return {**he, "ihc": ihc(number, 8)}


def test_patch_without_main_image_keeps_its_magnification(tmp_path: Path) -> None:
    source = WithoutMain(tmp_path / "log", COUNT)
    store = ingest(source, tmp_path / "store", missing="keep", progress=False).store
    assert (store.has("he").sum(), set(store.table["um_per_px"])) == (COUNT * 4 // 5, {0.5})
    assert (store.scale("he"), store.scale("ihc")) == (0.5, 1.0)


def test_channel_ranges_ignore_missing_views(tmp_path: Path) -> None:
    class Grey(MissingViews):
        def read(self, item: Item) -> dict[str, Any]:
            views = super().read(item)
            return views | ({"ihc": 100 + views["ihc"][..., :1] // 2} if "ihc" in views else {})

    ingest(Grey(tmp_path / "log", COUNT), tmp_path / "store", missing="keep", progress=False)
    store = Store.open(tmp_path / "store").select("ihc")
    expected = np.percentile(store.arrays["ihc"][store.indices("train")], [0.1, 99.9])
    np.testing.assert_allclose(store.meta.arrays["ihc"].ranges, [expected], atol=1)


def test_missing_views_are_counted_in_caveats_and_report(incomplete: Store, tmp_path: Path) -> None:
    sentences = []
    for name in ("expression", "ihc"):
        counts = {
            split: sum(
                name in MissingViews.missing_views(int(incomplete.table["id"][row]))
                for row in incomplete.indices(split)
            )
            for split in ("train", "test")
        }
        assert incomplete.meta.absent[name] == counts
        remaining = len(incomplete.select(name).indices("train"))
        assert remaining == len(incomplete.indices("train")) - counts["train"]
        sentences.append(
            f"{name} is missing in {sum(counts.values())} of {len(incomplete.table)} patches "
            f"({counts['train']} train, {counts['test']} test)."
        )
    assert incomplete.caveats[-2:] == sentences
    second_report = ingest(
        MissingViews(tmp_path / "log", COUNT), incomplete.path, missing="keep", progress=False
    )
    assert second_report.already_existed
    assert "; 13 without expression; 11 without ihc); " in str(second_report)


def test_missing_option_works_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["id,he,ihc,label"]
    for number in range(20):
        for stain in ("he", "ihc"):
            Image.fromarray(patch(number + 100 * (stain == "he"))).save(
                tmp_path / f"{stain}{number}.png"
            )
        second = f"ihc{number}.png" if number % 4 else ""
        lines.append(f"{number},he{number}.png,{second},{'AB'[number % 2]}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    table, drop, keep = (str(tmp_path / name) for name in ("pairs.csv", "drop", "keep"))
    assert cli.run(["ingest", table, drop]) == 0
    assert "contains 15 patches of 2 classes" in capsys.readouterr().out
    assert cli.run(["ingest", table, keep, "--missing", "keep"]) == 0
    output = capsys.readouterr().out
    assert "- ihc is missing in 5 of 20 patches (" in output
    assert "; 5 without ihc); 0 rejected." in output
    assert cli.run(["ingest", table, keep]) == 2
    assert "not made from this source with these options" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--missing fill is unknown; give drop or keep"):
        ingest(MissingViews(tmp_path / "log", 20), tmp_path / "x", missing="fill")  # type: ignore[arg-type]


class ZeroFilled(MissingViews):
    """As `MissingViews`, but with zeros in place of missing views."""

    def datasheet(self) -> Datasheet:
        return Counting.datasheet(self)

    def read(self, item: Item) -> dict[str, Any]:
        zeros = {"ihc": np.zeros((8, 8, 3), np.uint8), "expression": np.zeros(LENGTH, np.float32)}
        return zeros | super().read(item)


def test_hash_depends_on_missing_views(incomplete: Store, tmp_path: Path) -> None:
    ingest(ZeroFilled(tmp_path / "log", COUNT), tmp_path / "black", progress=False)
    zero_filled = Store.open(tmp_path / "black")
    for name in incomplete.arrays:
        np.testing.assert_array_equal(incomplete.arrays[name], zero_filled.arrays[name])
    equal_hashes = (incomplete.table["hash"] == zero_filled.table["hash"]).tolist()
    assert equal_hashes == [
        not MissingViews.missing_views(int(name)) for name in incomplete.table["id"]
    ]
    assert incomplete.hash != zero_filled.hash


def test_meta_records_the_options_that_determine_the_store(tmp_path: Path) -> None:
    source = Counting(tmp_path / "log", COUNT)
    ingest(source, tmp_path / "store", progress=False)
    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    assert set(meta["provenance"]) == {
        "listing",
        "files",
        "split",
        "test_share",
        "seed",
        "size",
        "resize",
        "um_per_px",
        "missing",
    }
    assert "optional" not in meta["datasheet"]
    # Of the title, the scale, the classes and every item; equal for all versions.
    assert fingerprint(source.items()[:2], source.datasheet()) == "fb6f18e371dc54eea55753b5e9d298cf"


def test_fingerprint_depends_on_optional_views(tmp_path: Path) -> None:
    source = MissingViews(tmp_path / "log", COUNT)
    sheets = [replace(source.datasheet(), optional=frozenset(names)) for names in ("", "a", "ab")]
    assert len({fingerprint(source.items(), sheet) for sheet in sheets}) == 3


def test_killed_ingest_resumes_only_with_the_same_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_ITEMS", 4)
    monkeypatch.setattr(decoding, "PENDING_BATCHES", 2)
    run(MissingViews(tmp_path / "whole.log", COUNT), tmp_path / "whole", missing="keep")
    source, destination = MissingViews(tmp_path / "log", COUNT), tmp_path / "store"
    assert os.WIFSIGNALED(kill_at_step(60, source, destination, missing="keep"))
    assert list((tmp_path / "store.partial" / "shards").iterdir())
    with pytest.raises(DataError, match=r"--missing was keep, now drop\); remove"):
        run(source, destination)
    run(source, destination, missing="keep")
    assert contents(destination) == contents(tmp_path / "whole")
    assert Store.open(destination).meta.absent


class Rare(MissingViews):
    """Only one patch, outside of the sample, has an IHC image; or none has one."""

    def __init__(self, log: Path, count: int, only: int | None) -> None:
        super().__init__(log, count)
        self.only = only

    def datasheet(self) -> Datasheet:
        return Datasheet(title="rare", optional=frozenset({"ihc"}))

    def read(self, item: Item) -> dict[str, Any]:
        views = Counting.read(self, item)
        return views | ({"ihc": ihc(7, 8)} if int(item.id) == self.only else {})


def test_view_of_a_single_patch_is_stored(tmp_path: Path) -> None:
    source = Rare(tmp_path / "log", 300, 199)
    sampled = set(np.linspace(0, 299, SAMPLE).astype(int))
    assert 199 not in sampled
    ingest(source, tmp_path / "store", missing="keep", progress=False)
    store = Store.open(tmp_path / "store")
    assert [store.table["id"][row] for row in np.flatnonzero(store.has("ihc"))] == ["199"]
    with pytest.raises(DataError, match=r"none is left; the .* is 'no ihc: this patch"):
        ingest(source, tmp_path / "dropped", progress=False)
    message = (
        r"None of the usable patches has ihc; 27 patches were rejected: 'unreadable: as drawn'"
    )
    with pytest.raises(DataError, match=message):
        ingest(Rare(tmp_path / "log", 300, None), tmp_path / "none", progress=False)


def test_cut_patches_inherit_missing_views(tmp_path: Path) -> None:
    tiles = MissingViews(tmp_path / "log", 20, side=16)
    ingest(Cut(tiles, 8), tmp_path / "store", missing="keep", progress=False, workers=2)
    store = Store.open(tmp_path / "store")
    for row, name in enumerate(store.table["id"]):
        number, x, y = (int(part.lstrip("xy")) for part in name.split("_"))
        missing_views = MissingViews.missing_views(number)
        assert {n for n in store.arrays if not store.has(n)[row]} == missing_views
        if "ihc" not in missing_views:
            expected = ihc(number, 16)[y : y + 8, x : x + 8]
            np.testing.assert_array_equal(store.arrays["ihc"][row], expected)
    assert not store.has("ihc").all()


def test_nuclei_are_stored_with_missing_views(tmp_path: Path) -> None:
    instances = np.zeros((16, 16), np.int32)
    instances[2:9, 3:9] = 1
    for number in range(20):
        write_geojson(
            Nuclei.typed(instances, {1: 1 + number % 2}, PANNUKE),
            PANNUKE,
            tmp_path / "masks" / f"{number}.geojson",
        )
    source = WithNuclei(MissingViews(tmp_path / "log", 20, side=16), tmp_path / "masks", PANNUKE)
    ingest(source, tmp_path / "store", missing="keep", progress=False)
    store = Store.open(tmp_path / "store")
    assert store.has(NUCLEI_ARRAY).all()
    assert set(store.meta.absent) == {"ihc", "expression"}
    assert len(store.nuclei) == len(store.table)
