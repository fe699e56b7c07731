"""Patches that lack a view: set aside, or kept with what they have."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import morefromless.ingest
from morefromless import cli
from morefromless.data.geojson import write_geojson
from morefromless.data.nuclei import ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.ingest import ingest
from morefromless.ingest.cutting import Cut
from morefromless.ingest.decoding import SAMPLE
from morefromless.ingest.listing import fingerprint
from morefromless.ingest.segmented import WithNuclei
from morefromless.sources import Datasheet, Item
from tests.ingest.made import Counting, contents, patch
from tests.ingest.test_kill import killed_at, run

LENGTH = 5


def ihc(number: int, side: int) -> np.ndarray:
    return 255 - patch(number, side)


def expression(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=LENGTH).astype(np.float32)


class Lacking(Counting):
    """Every fifth patch lacks its IHC, and every fourth its expression."""

    def datasheet(self) -> Datasheet:
        return replace(super().datasheet(), optional=frozenset({"ihc", "expression"}))

    @staticmethod
    def lacks(number: int) -> set[str]:
        return set(["ihc"] * (number % 5 == 1) + ["expression"] * (number % 4 == 2))

    def read(self, item: Item) -> dict[str, Any]:
        number = int(item.id)
        views = super().read(item) | {
            "he": patch(number, self.side),  # no copies
            "ihc": ihc(number, self.side),
            "expression": expression(number),
        }
        return {name: view for name, view in views.items() if name not in self.lacks(number)}


COUNT = 60


USABLE = [number for number in range(COUNT) if number % 11 != 3]


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    ingest(Lacking(tmp_path / "log", COUNT), tmp_path / "kept", missing="keep", progress=False)
    return Store.open(tmp_path / "kept")


def test_dropped_unless_asked_otherwise(tmp_path: Path) -> None:
    report = ingest(Lacking(tmp_path / "log", COUNT), tmp_path / "store", progress=False)
    store = Store.open(tmp_path / "store")
    complete = [number for number in USABLE if not Lacking.lacks(number)]
    assert sorted(map(int, store.table["id"])) == complete
    assert not (tmp_path / "store" / "present.parquet").exists()
    assert store.meta["absent"] == {}
    assert store.has("ihc").all()
    assert store.select("he", "ihc", "expression") is store
    reasons = pd.read_csv(tmp_path / "store" / "set_aside.csv").set_index("origin")["reason"]
    assert reasons["row 1"] == "no ihc: this patch lacks it; --missing keep takes such patches"
    assert reasons["row 6"].startswith("no expression, ihc: ")
    assert "no expression" in str(report)
    assert "without" not in str(report)
    with pytest.raises(DataError, match=r"'row 1' cannot be taken \(no ihc: .*--strict"):
        ingest(Lacking(tmp_path / "l", COUNT), tmp_path / "x", progress=False, strict=True)


def test_kept_with_what_they_have(kept: Store) -> None:
    """Rows were moved to close gaps, and presence with them."""
    assert sorted(map(int, kept.table["id"])) == USABLE
    assert (kept.table["id"].astype(int).diff().dropna() < 0).any()
    for row, name in enumerate(kept.table["id"].astype(int)):
        lacks = Lacking.lacks(name)
        assert {n for n in ("he", "ihc", "expression") if not kept.has(n)[row]} == lacks
        expected = {"ihc": ihc(name, 8), "expression": expression(name)}
        np.testing.assert_array_equal(kept.arrays["he"][row], patch(name, 8))
        for view, values in expected.items():
            held = values if view not in lacks else np.zeros_like(values)
            np.testing.assert_array_equal(kept.arrays[view][row], held)


def test_what_is_absent_is_counted_and_told(kept: Store, tmp_path: Path) -> None:
    sentences = []
    for name in ("expression", "ihc"):
        counts = {
            split: sum(
                name in Lacking.lacks(int(kept.table["id"][row])) for row in kept.indices(split)
            )
            for split in ("train", "test")
        }
        assert kept.meta["absent"][name] == counts
        left = len(kept.select(name).indices("train"))
        assert left == len(kept.indices("train")) - counts["train"]
        sentences.append(
            f"{name} is absent from {sum(counts.values())} of {len(kept.table)} patches "
            f"({counts['train']} train, {counts['test']} test)."
        )
    assert kept.caveats[-2:] == sentences
    again = ingest(
        Lacking(tmp_path / "log", COUNT), tmp_path / "kept", missing="keep", progress=False
    )
    assert again.already
    assert "; 13 without expression; 11 without ihc); " in str(again)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert "keeps 15 patches of 2 classes" in capsys.readouterr().out
    assert cli.run(["ingest", table, keep, "--missing", "keep"]) == 0
    said = capsys.readouterr().out
    assert "- ihc is absent from 5 of 20 patches (" in said
    assert "; 5 without ihc); 0 set aside." in said
    assert cli.run(["ingest", table, keep]) == 2
    assert "not made of this source with these options" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--missing fill is not known; give drop or keep"):
        ingest(Lacking(tmp_path / "log", 20), tmp_path / "x", missing="fill")  # type: ignore[arg-type]


class Black(Lacking):
    """As `Lacking`, but with zeros where it lacks something."""

    def datasheet(self) -> Datasheet:
        return Counting.datasheet(self)

    def read(self, item: Item) -> dict[str, Any]:
        zeros = {"ihc": np.zeros((8, 8, 3), np.uint8), "expression": np.zeros(LENGTH, np.float32)}
        return zeros | super().read(item)


def test_absence_is_part_of_the_hash(kept: Store, tmp_path: Path) -> None:
    ingest(Black(tmp_path / "log", COUNT), tmp_path / "black", progress=False)
    black = Store.open(tmp_path / "black")
    for name in kept.arrays:
        np.testing.assert_array_equal(kept.arrays[name], black.arrays[name])
    same = (kept.table["hash"] == black.table["hash"]).tolist()
    assert same == [not Lacking.lacks(int(name)) for name in kept.table["id"]]
    assert kept.hash != black.hash


def test_the_default_says_what_it_said_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores, plans and journals of the time before `missing` stay good."""
    monkeypatch.setattr(morefromless.ingest, "BATCH", 4)
    source = Counting(tmp_path / "log", COUNT)
    ingest(source, tmp_path / "store", progress=False)
    meta = json.loads((tmp_path / "store" / "meta.json").read_text())
    assert set(meta["made_from"]) == {
        "listing",
        "split",
        "test_share",
        "seed",
        "size",
        "resize",
        "um_per_px",
    }
    assert "optional" not in meta["datasheet"]
    # As the code before computed it, from the title, the scale, the classes and each item.
    assert fingerprint(source.items()[:2], source.datasheet()) == "fb6f18e371dc54eea55753b5e9d298cf"
    del meta["absent"]
    (tmp_path / "store" / "meta.json").write_text(json.dumps(meta))
    assert ingest(source, tmp_path / "store", progress=False).already

    destination = tmp_path / "unfinished"
    assert os.WIFSIGNALED(killed_at(40, source, destination))
    work = tmp_path / "unfinished.partial"
    plan = json.loads((work / "plan.json").read_text())
    del plan["missing"], plan["shape"]["optional"]
    (work / "plan.json").write_text(json.dumps(plan))
    lines = [json.loads(line) for line in (work / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        del line["absent"]
    assert lines
    (work / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(source, destination)
    assert {**contents(destination), "meta.json": b""} == {
        **contents(tmp_path / "store"),
        "meta.json": b"",
    }


def test_what_may_be_absent_is_part_of_the_listing(tmp_path: Path) -> None:
    source = Lacking(tmp_path / "log", COUNT)
    sheets = [replace(source.datasheet(), optional=frozenset(names)) for names in ("", "a", "ab")]
    assert len({fingerprint(source.items(), sheet) for sheet in sheets}) == 3


def test_killed_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before every fifth change to the disk, once."""
    monkeypatch.setattr(morefromless.ingest, "BATCH", 4)
    for name in ("fsync", "fdatasync"):  # a killed process loses nothing that it has written
        monkeypatch.setattr(os, name, lambda *_: None)
    run(Lacking(tmp_path / "whole.log", 24), tmp_path / "whole", missing="keep")
    expected = contents(tmp_path / "whole")
    assert "present.parquet" in expected
    step, finished = 1, False
    while not finished:
        destination = tmp_path / f"killed-{step}"
        source = Lacking(tmp_path / f"{step}.log", 24)
        finished = os.WIFEXITED(killed_at(step, source, destination, missing="keep"))
        run(source, destination, missing="keep")
        assert contents(destination) == expected
        step += 5
    assert step > 60


def test_another_policy_does_not_go_on(tmp_path: Path) -> None:
    source, destination = Lacking(tmp_path / "log", COUNT), tmp_path / "store"
    assert os.WIFSIGNALED(killed_at(40, source, destination, missing="keep"))
    with pytest.raises(DataError, match=r"--missing was keep, not drop\); remove"):
        run(source, destination)
    run(source, destination, missing="keep")
    assert Store.open(destination).meta["absent"]


class Rare(Lacking):
    """One patch alone, outside of the sample, has an IHC image; or none has."""

    def __init__(self, log: Path, count: int, only: int | None) -> None:
        super().__init__(log, count)
        self.only = only

    def datasheet(self) -> Datasheet:
        return Datasheet(title="rare", optional=frozenset({"ihc"}))

    def read(self, item: Item) -> dict[str, Any]:
        views = Counting.read(self, item)
        return views | ({"ihc": ihc(7, 8)} if int(item.id) == self.only else {})


def test_a_view_that_is_rare(tmp_path: Path) -> None:
    source = Rare(tmp_path / "log", 300, 199)
    sampled = set(np.linspace(0, 299, SAMPLE).astype(int))
    assert 199 not in sampled
    ingest(source, tmp_path / "store", missing="keep", progress=False)
    store = Store.open(tmp_path / "store")
    assert [store.table["id"][row] for row in np.flatnonzero(store.has("ihc"))] == ["199"]
    with pytest.raises(DataError, match=r"only class 'B' is left; the .* is 'no ihc: this patch"):
        ingest(source, tmp_path / "dropped", progress=False)
    said = r"None of the patches that can be used has ihc; of 27 others 'unreadable: as made' is"
    with pytest.raises(DataError, match=said):
        ingest(Rare(tmp_path / "log", 300, None), tmp_path / "none", progress=False)


def test_patches_cut_from_a_tile_lack_what_it_lacks(tmp_path: Path) -> None:
    tiles = Lacking(tmp_path / "log", 20, side=16)
    ingest(Cut(tiles, 8), tmp_path / "store", missing="keep", progress=False, workers=2)
    store = Store.open(tmp_path / "store")
    for row, name in enumerate(store.table["id"]):
        number, x, y = (int(part.lstrip("xy")) for part in name.split("_"))
        lacks = Lacking.lacks(number)
        assert {n for n in store.arrays if not store.has(n)[row]} == lacks
        if "ihc" not in lacks:
            expected = ihc(number, 16)[y : y + 8, x : x + 8]
            np.testing.assert_array_equal(store.arrays["ihc"][row], expected)
    assert not store.has("ihc").all()


def test_nuclei_beside_views_that_are_missing(tmp_path: Path) -> None:
    instances = np.zeros((16, 16), np.int32)
    instances[2:9, 3:9] = 1
    for number in range(20):
        write_geojson(
            Nuclei.typed(instances, {1: 1 + number % 2}, PANNUKE),
            PANNUKE,
            tmp_path / "masks" / f"{number}.geojson",
        )
    source = WithNuclei(Lacking(tmp_path / "log", 20, side=16), tmp_path / "masks", PANNUKE)
    ingest(source, tmp_path / "store", missing="keep", progress=False)
    store = Store.open(tmp_path / "store")
    assert store.has(ARRAY).all()
    assert set(store.meta["absent"]) == {"ihc", "expression"}
    assert len(store.nuclei) == len(store.table)
