"""A user's own table of pairs: what is read from it, and the messages for invalid tables."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from unicodedata import normalize

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from morefromless import sources
from morefromless.data.labels import UNLABELLED
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.ingest import ingest, open_source
from morefromless.sources import Source, _files
from morefromless.sources.manifest import Manifest
from morefromless.specs import build

COUNT = 12
SIDE = 16
GENES = ["ESR1", "PGR", "ERBB2"]


def he(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def ihc(number: int) -> np.ndarray:
    """Registered to the H&E: brown where it is dark."""
    dark = he(number).mean(axis=2, keepdims=True) < 128
    return np.where(dark, np.uint8([120, 70, 30]), np.uint8([240, 240, 250]))


EXPRESSION = np.random.default_rng(99).normal(size=(COUNT, len(GENES)))
EXPRESSION.setflags(write=False)


def pairs(root: Path, **columns: Any) -> pd.DataFrame:
    """Images in `root`, and their table; `columns` replace columns, or remove them with None."""
    for stain, draw in (("he", he), ("ihc", ihc)):
        (root / stain).mkdir(parents=True, exist_ok=True)
        for number in range(COUNT):
            Image.fromarray(draw(number)).save(root / stain / f"{number}.png")
    table = pd.DataFrame(
        {
            "id": [f"{number:03}" for number in range(COUNT)],
            "he": [f"he/{number}.png" for number in range(COUNT)],
            "ihc": [f"ihc/{number}.png" for number in range(COUNT)],
            "label": ["pos", "neg"] * (COUNT // 2),
            "group": [f"P{number // 2}" for number in range(COUNT)],
            "split": (["Train"] * 6 + ["validation"] * 2 + ["test"] * 4),
            "grade": [number % 3 for number in range(COUNT)],
        }
    )
    return table.assign(**columns).dropna(axis="columns", how="all")


def write_table(root: Path, table: pd.DataFrame) -> Manifest:
    table.to_csv(root / "pairs.csv", index=False)
    return Manifest(str(root / "pairs.csv"))


def table_error(root: Path, table: pd.DataFrame) -> str:
    with pytest.raises(DataError) as error:
        write_table(root, table).items()
    return str(error.value)


def test_items_are_listed_from_the_table(tmp_path: Path) -> None:
    source = write_table(tmp_path, pairs(tmp_path))
    items = source.items()
    assert [item.id for item in items] == [f"{number:03}" for number in range(COUNT)]
    assert [item.label for item in items[:3]] == ["pos", "neg", "pos"]
    assert [item.group for item in items[:3]] == ["P0", "P0", "P1"]
    assert [item.split for item in items] == ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    assert items[3].origin == "row 5: he=he/3.png, ihc=ihc/3.png"
    assert (source.datasheet().title, source.datasheet().optional) == ("pairs.csv", frozenset())


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_paths_may_use_other_separators_and_unicode_forms(
    stored: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    table = pairs(tmp_path)
    folder = normalize(stored, "Färbung")
    (tmp_path / "he").rename(tmp_path / folder)
    for form, separator in itertools.product(("NFC", "NFD"), ("/", "\\")):
        table["he"] = [f"{normalize(form, 'Färbung')}{separator}{n}.png" for n in range(COUNT)]
        source = write_table(tmp_path, table)
        items = source.items()
        np.testing.assert_array_equal(source.read(items[5])["he"], he(5))
        assert tmp_path / folder / "5.png" in source.files()
    table.loc[3, "he"] = "Färbung/none.png"
    assert "there is no file" in table_error(tmp_path, table)


def test_images_and_vectors_are_stored_exactly(tmp_path: Path) -> None:
    """Every kind of cell is written to a store and read back."""
    table = pairs(tmp_path, split=None)
    np.save(tmp_path / "ihc.npy", np.stack([ihc(number) for number in range(COUNT)]))
    np.save(tmp_path / "vectors.npy", EXPRESSION)
    spots = pd.DataFrame(EXPRESSION, columns=GENES, index=[f"s#{k}" for k in range(COUNT)])
    spots.to_csv(tmp_path / "expression.csv")  # as R's write.csv: the first name is empty
    spots.to_parquet(tmp_path / "expression.parquet")
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "elsewhere" / "counts.npy", np.arange(COUNT * 4).reshape(COUNT, 4))
    backwards = range(COUNT)[::-1]
    table["stacked"] = [f"ihc.npy#{number}" for number in backwards]
    table["vector"] = [f"vectors.npy#{number}" for number in range(COUNT)]
    table["expression"] = [f"expression.csv#s#{number}" for number in backwards]
    table["rna"] = [f"expression.parquet#s#{number}" for number in range(COUNT)]
    table["counts"] = [f"{tmp_path}/elsewhere/counts.npy#{number}" for number in range(COUNT)]
    ingest(write_table(tmp_path, table), tmp_path / "store", progress=False)
    store = Store.open(tmp_path / "store")
    assert set(store.arrays) == {"he", "ihc", "stacked", "vector", "expression", "rna", "counts"}
    assert len(store.table) == COUNT
    exact = EXPRESSION.astype(np.float32)
    for row, entry in store.table.iterrows():
        number = int(entry["id"])
        assert entry["label"] == ["pos", "neg"][number % 2]
        np.testing.assert_array_equal(store.arrays["he"][row], he(number))
        np.testing.assert_array_equal(store.arrays["ihc"][row], ihc(number))
        np.testing.assert_array_equal(store.arrays["stacked"][row], ihc(COUNT - 1 - number))
        np.testing.assert_array_equal(store.arrays["vector"][row], exact[number])
        np.testing.assert_array_equal(store.arrays["expression"][row], exact[COUNT - 1 - number])
        np.testing.assert_array_equal(store.arrays["rna"][row], exact[number])
        np.testing.assert_array_equal(store.arrays["counts"][row], np.arange(4) + 4 * number)


def test_parquet_gives_the_same_items_as_csv(tmp_path: Path) -> None:
    table = pairs(tmp_path, group=range(COUNT))
    table.loc[3, "ihc"] = None
    expected = write_table(tmp_path, table)
    table["group"] = table["group"].astype(float)  # as pandas stores integers with missing values
    for name, frame in {"a": table, "b": table.set_index("id")}.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
        source = Manifest(str(tmp_path / f"{name}.parquet"))
        assert source.items() == expected.items()
        assert source.datasheet().optional == {"ihc"}


def test_path_to_a_table_is_opened_as_a_manifest(tmp_path: Path) -> None:
    pairs(tmp_path).to_csv(tmp_path / "pairs.CSV", index=False)
    pairs(tmp_path).to_parquet(tmp_path / "pairs.parquet")
    for name in ("pairs.CSV", "pairs.parquet"):
        assert isinstance(open_source(str(tmp_path / name)), Manifest)
        assert len(open_source(f"manifest:{tmp_path / name}").items()) == COUNT


def test_options_choose_views_label_and_group(tmp_path: Path) -> None:
    write_table(tmp_path, pairs(tmp_path, note="seen twice", blank="", split=None))
    path = f"manifest:{tmp_path / 'pairs.csv'}"

    def read(options: str) -> tuple[set[str], set[str]]:
        source = build(path + options, sources, Source)
        return set(source.read(source.items()[0])), {item.label for item in source.items()}

    assert read("") == ({"he", "ihc"}, {"pos", "neg"})
    assert read(",modalities=ihc") == ({"ihc"}, {"pos", "neg"})
    assert read(",label=grade,modalities=ihc + he") == ({"he", "ihc"}, {"0", "1", "2"})
    assert open_source(path).items()[0].split is None
    by_grade = build(path + ",group=grade", sources, Source)  # not by the column `group`
    assert {item.group for item in by_grade.items()} == {"0", "1", "2"}
    with pytest.raises(DataError, match=r"pairs.csv has only empty cells in column blank; remove"):
        read(",modalities=he+blank")
    with pytest.raises(DataError, match=r"row 2, column note: 'seen twice' is neither an image"):
        read(",modalities=he+note")
    write_table(tmp_path, pairs(tmp_path, label=None))
    assert read("") == ({"he", "ihc"}, {UNLABELLED})
    store = ingest(open_source(path), tmp_path / "store", progress=False).store
    assert store.classes == (UNLABELLED,)  # enough to train without labels
    table = pairs(tmp_path, label="")
    assert {item.label for item in write_table(tmp_path, table).items()} == {UNLABELLED}
    with pytest.raises(DataError, match=r"pairs.csv has only empty cells in column label; use an"):
        read(",label=label")
    with pytest.raises(DataError, match=r"pairs.csv has no column grad; it has grade; make the"):
        read(",label=grad")
    with pytest.raises(DataError, match=r"no column mri; it has id, he, ihc, label, group, split"):
        read(",modalities=he+mri")


def test_csv_dialects_are_read(tmp_path: Path) -> None:
    pairs(tmp_path)
    (tmp_path / "pairs.csv").write_text(
        '\ufeffid, he, ,label\n007,he/7.png,1,"a, b"\n\n  008 , he/8.png\n,,,\n', encoding="utf-8"
    )
    source = Manifest(str(tmp_path / "pairs.csv"))
    assert [item.label for item in source.items()] == ["a, b", UNLABELLED]
    text = (tmp_path / "pairs.csv").read_text(encoding="utf-8")
    (tmp_path / "pairs.csv").write_text(text.replace("8.png", "8.png,,NA"), encoding="utf-8")
    first, second = Manifest(str(tmp_path / "pairs.csv")).items()
    assert (first.id, first.label, first.origin) == ("007", "a, b", "row 2: he=he/7.png")
    assert (second.id, second.label, second.origin) == ("008", UNLABELLED, "row 4: he=he/8.png")


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_separators_are_recognised(tmp_path: Path, mark: str) -> None:
    """Excel writes semicolons if the decimal mark is a comma, and R's write.csv2 does too."""
    table = pairs(tmp_path, label=["3,5", "4"] * 6)
    expected = write_table(tmp_path, table).items()
    text = table.to_csv(index=False, sep=mark, lineterminator="\r\n")
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8-sig")
    assert Manifest(str(tmp_path / "pairs.csv")).items() == expected


def test_missing_value_words_are_empty_cells(tmp_path: Path) -> None:
    """R and pandas write these words, which must not become classes or missing files."""
    labels = ["NA", "N/A", "nan", "None", "pos", "neg"] * 2
    table = pairs(tmp_path, label=labels, split=None)
    table.loc[3, "ihc"] = "NA"
    source = write_table(tmp_path, table)
    report = ingest(source, tmp_path / "store", progress=False, missing="keep")
    assert report.store.classes == ("None", "neg", "pos", UNLABELLED)
    assert report.notes[0] == (
        "Column label holds NA, N/A or NaN in 6 of 12 rows, which is read as an empty cell."
    )
    assert report.notes[1].startswith("Column ihc holds NA, N/A or NaN in 1 of 12 rows")
    assert report.store.meta.absent == {"ihc": {"train": 1}}
    message = table_error(tmp_path, table.assign(group=labels[::-1]))
    assert "row 5, column group: the cell holds NA or NaN; fill this cell like" in message


def _set(row: int, column: str, value: object) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[row - 2, column] = value

    return change


def _named(old: str, new: str) -> Callable[[pd.DataFrame], None]:
    return lambda table: table.rename(columns={old: new}, inplace=True)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_set(5, "id", "001"), "row 5, column id: row 3 has the same id '001'; every patch needs"),
        (_set(5, "id", " "), "row 5, column id: the cell is empty; give every patch an id"),
        (_set(4, "group", ""), "row 4, column group: the cell is empty; fill this cell like"),
        (_set(9, "split", None), "row 9, column split: the cell is empty; fill this cell li"),
        (_set(9, "split", "tset"), "row 9, column split: 'tset' is not a split; use train, val"),
        (_set(6, "ihc", "ihc/nil.png"), "row 6, column ihc: there is no file {}/ihc/nil.png; corr"),
        (_set(6, "ihc", "x" * 300 + ".png"), "row 6, column ihc: there is no file"),
        (_set(6, "ihc", "ihc/4.pgn"), "row 6, column ihc: 'ihc/4.pgn' is neither an image file"),
        (_set(6, "ihc", "x.npy#1"), "row 6, column ihc: there is no file {}/x.npy; correct it, or"),
        (_set(6, "ihc", "x.h5ad#1"), "row 6, column ihc: 'x.h5ad#1' is neither an image file"),
        (_set(6, "ihc", "v.npy#1"), "this cell names vectors of 3 values, but row 2 names images"),
        (_named("id", "ID"), "has no column id; it has ID; make the two names the same."),
        (_named("id", "patch"), "no column id; it has patch, he, ihc, label, group, split, grade."),
        (_named("split", "Splits"), "has a column Splits but no column split; rename it to split"),
        (_named("group", "groups"), "has a column groups but no column group"),
        (
            _named("group", "Patient ID"),
            "has a column Patient ID but no column group; rename it to",
        ),
        (_named("label", "Label"), "has a column Label but no column label"),
        (_named("ihc", "he"), "pairs.csv has two columns called he; rename one."),
        (_named("ihc", ""), "pairs.csv has views in a column without a name; add the name in"),
        (_named("he", "H&E"), "has views in column H&E, a name that views cannot have; rename"),
        (_named("he", "../he"), "has views in column ../he, a name that views cannot have"),
        (_named("he", "nuclei"), "has views in column nuclei, a name that views cannot have"),
        (lambda t: t.drop(columns=["he", "ihc"], inplace=True), "has no column of views; add one"),
        (lambda t: t.drop(index=t.index, inplace=True), "has a header but no rows"),
    ],
)
def test_invalid_tables_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[pd.DataFrame], None],
    expected: str,
) -> None:
    """The error is one sentence, raised before any image is opened."""
    monkeypatch.setattr(_files, "read_channels", pytest.fail)
    monkeypatch.setattr(_files, "channels_shape", pytest.fail)
    table = pairs(tmp_path)
    np.save(tmp_path / "v.npy", EXPRESSION)
    change(table)
    message = table_error(tmp_path, table)
    assert expected.format(tmp_path) in message
    assert message.startswith("pairs.csv")
    assert message.endswith(".")


def test_invalid_references_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", EXPRESSION)
    np.save(tmp_path / "flat.npy", np.zeros(4))
    np.save(tmp_path / "deep.npy", np.zeros((4, 8, 8, 3), np.int16))
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:-8])
    spots = pd.DataFrame(EXPRESSION, columns=GENES, index=[f"spot{k}" for k in range(COUNT)])
    spots.to_csv(tmp_path / "e.csv")
    spots.reset_index(drop=True).rename(index=lambda row: row + 1).to_csv(tmp_path / "numbered.csv")
    spots.iloc[:, ::-1].to_csv(tmp_path / "other-order.csv")
    spots.iloc[:, :2].to_csv(tmp_path / "two.csv")
    mixed = ["0.5", None, *"12345", "<LOD", *"6789"]
    spots.assign(MKI67=mixed).to_csv(tmp_path / "words.csv")
    spots.assign(MKI67="1e400").to_csv(tmp_path / "large.csv")
    spots.assign(MKI67="1.5").to_parquet(tmp_path / "quoted.parquet")
    spots.assign(cluster=True).to_parquet(tmp_path / "words.parquet")
    spots.rename(index={"spot3": "spot2"}).to_csv(tmp_path / "twice.csv")
    spots.iloc[:, :0].to_csv(tmp_path / "names.csv")
    spots.to_csv(tmp_path / "semicolons.csv", sep=";")
    spots.to_csv(tmp_path / "short.csv", header=GENES, index_label=False)
    (tmp_path / "no.parquet").write_bytes(b"no table")
    for cell, expected in {
        "v.npy#12": "v.npy has no row 12; it has 12 rows, counted from 0",
        "v.npy#-1": "v.npy has no row -1",
        "v.npy#last": "v.npy has no row last",
        "flat.npy#0": "flat.npy holds float64 (4,); save it as images (N, H, W, C)",
        "deep.npy#0": "deep.npy holds int16 (4, 8, 8, 3); save",
        "words.npy#0": "words.npy holds <U1 (1, 1); save",
        "objects.npy#0": "objects.npy holds Python objects, which are not read",
        "cut.npy#0": "cut.npy is not a valid .npy file",
        "e.csv#Spot1": "e.csv has no row 'Spot1'; it has 'spot1'",
        "e.csv#0": "e.csv has no row '0'; row names are in its first",
        "numbered.csv#002": "numbered.csv has no row '002'; it has '2'",
        "words.csv#spot1": "words.csv has text in column MKI67, row spot7; every column",
        "large.csv#spot1": "large.csv has text in column MKI67, row spot0; every",
        "quoted.parquet#spot1": "quoted.parquet has text in column MKI67; every",
        "words.parquet#spot1": "words.parquet has text in column cluster, row spot0",
        "twice.csv#spot1": "twice.csv has two rows named 'spot2'",
        "names.csv#spot1": "names.csv has no numbers",
        "semicolons.csv#spot1": "semicolons.csv is separated by semicolons",
        "short.csv#spot1": "short.csv has more cells in its rows than in its header",
        "no.parquet#a": "no.parquet is not a valid table",
        "two.csv#spot1": "names vectors of 2 values, but row 2 names vectors of 3 values; all",
        "other-order.csv#spot1": "other-order.csv and e.csv (row 2) differ in their columns",
    }.items():
        cells = [f"e.csv#spot{k}" for k in range(COUNT)]
        cells[3] = cell
        message = table_error(tmp_path, pairs(tmp_path, expression=cells))
        assert message.startswith("pairs.csv, row 5, column expression: ")
        assert expected in message
        assert message.endswith(".")
        assert not message.endswith("..")
    table = pairs(tmp_path, he=None, ihc=None, expression="v.npy#0")
    assert "has no images, only vectors of 3 values; every patch needs an image" in table_error(
        tmp_path, table
    )


def test_invalid_table_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    for data, message in {
        "id,he,label\n1,a.png,größer\n".encode("latin1"): "pairs.csv is not encoded in UTF-8; sa",
        "id,he,label\n".encode("utf-16"): "pairs.csv is not encoded in UTF-8",
        b"id,he\n1,a.png,x\n": r"pairs.csv is not a valid table .Expected 2 fields in line 2, saw",
        b'id,he\n1,"a.png\n': r"pairs.csv is not a valid table .EOF inside string",
        b"": r"pairs.csv is not a valid table .No columns",
    }.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            Manifest(str(path)).items()
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"pairs.parquet is not a valid table"):
        Manifest(str(tmp_path / "pairs.parquet")).items()
    with pytest.raises(DataError, match=r"There is no file .*nil.csv; check the path"):
        Manifest(str(tmp_path / "nil.csv")).items()
    with pytest.raises(DataError, match=r"pairs.xlsx is not a table of pairs; save it as .csv"):
        Manifest(str(tmp_path / "pairs.xlsx")).items()


def test_rejected_patches_name_row_and_column(tmp_path: Path) -> None:
    table = pairs(tmp_path)
    vectors = EXPRESSION.copy()
    vectors[4, 1], vectors[5, 2] = np.nan, 1e300
    np.save(tmp_path / "v.npy", vectors)
    spots = pd.DataFrame(EXPRESSION.copy(), columns=GENES, index=table["id"])
    spots.iloc[6, 2] = np.inf
    spots.to_csv(tmp_path / "e.csv", na_rep="NA")
    table["expression"] = [f"v.npy#{k}" for k in range(COUNT)]
    table["rna"] = [f"e.csv#{name}" for name in table["id"]]
    table.loc[7, ["he", "ihc"]] = None
    content = (tmp_path / "ihc" / "8.png").read_bytes()
    (tmp_path / "ihc" / "8.png").write_bytes(content[: len(content) // 2])
    Image.fromarray(he(9)[..., 0]).save(tmp_path / "he" / "9.png")
    source = write_table(tmp_path, table)
    reasons = {}
    for item in source.items():
        try:
            assert source.read(item)["rna"].dtype == np.float32
        except UnreadablePatch as error:
            reasons[item.id] = str(error)
    assert reasons == {
        "004": "not finite: row 6, column expression: v.npy has nan for 1",
        "005": "not finite: row 7, column expression: v.npy has 1e+300 for 2",
        "006": "not finite: row 8, column rna: e.csv has inf for ERBB2",
        "007": "no image: row 9 has none; every patch needs an image",
        "008": "unreadable: row 10, column ihc: truncated or damaged; download it again",
    }
    assert source.read(source.items()[9])["he"].shape == (*he(9).shape[:2], 1)  # grey is read


def test_shapes_are_read_from_file_headers(tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.zeros((COUNT, 9, 7, 3), np.uint8))
    table = pairs(tmp_path)
    table["he"] = [f"i.npy#{k}" for k in range(COUNT)]
    table.loc[1:2, "he"] = None
    table.loc[2, "ihc"] = None
    content = (tmp_path / "ihc" / "1.png").read_bytes()
    (tmp_path / "ihc" / "1.png").write_bytes(content[: len(content) // 2])
    source = write_table(tmp_path, table)
    stacked, truncated, nothing = source.items()[:3]
    assert source.shape(stacked) == (9, 7)
    assert source.shape(truncated) == (SIDE, SIDE)
    with pytest.raises(UnreadablePatch, match="no image: row 4"):
        source.shape(nothing)
    (tmp_path / "ihc" / "1.png").write_bytes(b"")
    with pytest.raises(UnreadablePatch, match="empty file: row 3, column ihc: 0 bytes"):
        source.shape(truncated)


def test_several_threads_read_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    open_npy = _files.open_npy
    monkeypatch.setattr(_files, "open_npy", lambda path: (opened.append(path), open_npy(path))[1])
    np.save(tmp_path / "v.npy", EXPRESSION)
    table = pairs(tmp_path, expression=[f"v.npy#{k}" for k in range(COUNT)])
    items = write_table(tmp_path, table).items()
    source = Manifest(str(tmp_path / "pairs.csv"))
    opened.clear()
    # No thread has listed the items yet; from Python 3.12 on, several threads may list them.
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(source.read, items))
    assert set(opened) == {tmp_path / "v.npy"}
    opened.clear()
    with ThreadPoolExecutor(8) as pool:  # after the listing, nothing is opened again
        list(pool.map(source.read, items))
    assert not opened
    for number, arrays in enumerate(results):
        np.testing.assert_array_equal(arrays["he"], he(number))
        np.testing.assert_array_equal(arrays["expression"], EXPRESSION[number].astype(np.float32))


def test_changed_reference_is_refused_as_another_source(tmp_path: Path) -> None:
    table = pairs(tmp_path, split=None)
    ingest(write_table(tmp_path, table), tmp_path / "store", progress=False)
    assert ingest(write_table(tmp_path, table), tmp_path / "store", progress=False).already_existed
    table.loc[0, "ihc"] = "ihc/1.png"
    with pytest.raises(DataError, match="was not made from this source"):
        ingest(write_table(tmp_path, table), tmp_path / "store", progress=False)


def test_changed_channels_are_refused_as_another_source(tmp_path: Path) -> None:
    path = write_table(tmp_path, pairs(tmp_path, split=None)).path
    ingest(Manifest(str(path)), tmp_path / "store", progress=False)
    with pytest.raises(DataError, match="was not made from this source with these options"):
        ingest(Manifest(str(path), channels="R+G+B"), tmp_path / "store", progress=False)


def test_channels_are_reordered_to_the_first_file(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    names, pixels = ["DAPI", "CD3", "CK", "CD8"], np.arange(4, dtype=np.uint16)[:, None, None]
    orders = {0: [0, 1, 2, 3], 1: [3, 1, 0, 2], 2: [0, 1, 2, 3]}
    for number in range(COUNT):
        order = orders.get(number, orders[0])
        channel_names = [names[k] for k in order]
        if number == 2:
            channel_names[3] = "FOXP3"
        tifffile.imwrite(
            tmp_path / f"{number}.ome.tif",
            np.broadcast_to(pixels[order], (4, SIDE, SIDE)),
            photometric="minisblack",
            metadata={"axes": "CYX", "Channel": {"Name": channel_names}},
        )
    table = pairs(tmp_path, ihc=[f"{number}.ome.tif" for number in range(COUNT)])
    source = write_table(tmp_path, table)
    items = source.items()
    for number in (0, 1):
        assert source.read(items[number])["ihc"][0, 0].tolist() == [0, 1, 2, 3]
    with pytest.raises(UnreadablePatch, match=r"other channels: row 4, column ihc: .*FOXP3"):
        source.read(items[2])
    # Names that are given set the order; unknown names replace those of the first file.
    for channels, expected in (("CD8+CK+CD3+DAPI", [3, 2, 1, 0]), ("a+b+c+d", [0, 1, 2, 3])):
        source = Manifest(str(source.path), channels=channels)
        assert source.datasheet().channels["ihc"] == tuple(channels.split("+"))
        for item in source.items()[:2]:
            assert source.read(item)["ihc"][0, 0].tolist() == expected
    with pytest.raises(
        ConfigError, match=r"names 2 channels, but no column .* he has 3, ihc has 4"
    ):
        Manifest(str(source.path), channels="DAPI+CD3").datasheet()
    # If the first file cannot be read, another one gives the order.
    (tmp_path / "0.ome.tif").write_bytes(b"II*")
    source = Manifest(str(source.path))
    assert source.datasheet().channels["ihc"] == tuple(names[k] for k in orders[1])
    for number in (1, 3):
        assert source.read(source.items()[number])["ihc"][0, 0].tolist() == orders[1]


def test_table_values_keep_their_names(tmp_path: Path) -> None:
    values = pd.DataFrame(EXPRESSION, columns=GENES)
    values.insert(0, "id", [f"{number:03}" for number in range(COUNT)])
    values.to_csv(tmp_path / "rna.csv", index=False)
    table = pairs(tmp_path, rna=[f"rna.csv#{number:03}" for number in range(COUNT)])
    assert write_table(tmp_path, table).datasheet().channels["rna"] == tuple(GENES)


def test_patient_and_partition_columns_are_recognised(tmp_path: Path) -> None:
    table = pairs(tmp_path)
    expected = write_table(tmp_path, table).items()
    renamed = table.rename(columns={"group": "Patient", "split": "partition"})
    assert write_table(tmp_path, renamed).items() == expected
    with_all_names = table.assign(patient="P1", partition="first")
    # The columns group and split take precedence.
    assert write_table(tmp_path, with_all_names).items() == expected
    invalid = renamed.assign(partition="first")
    assert "row 2, column partition: 'first' is not a split" in table_error(tmp_path, invalid)


def test_equivalent_labels_are_merged(tmp_path: Path) -> None:
    labels = ["1", "1.0", "1\u200b", "a\u0301", "\u00e1", " \u00e1"] * 2
    items = write_table(tmp_path, pairs(tmp_path, label=labels)).items()
    assert [item.label for item in items] == ["1", "1", "1", "\u00e1", "\u00e1", "\u00e1"] * 2
    unlabelled = write_table(
        tmp_path, pairs(tmp_path, label=["Unlabelled", "unlabeled", ""] * 4)
    ).items()
    assert {item.label for item in unlabelled} == {"unlabelled"}
    assert "control character" in table_error(tmp_path, pairs(tmp_path, label=["a\x07", "b"] * 6))
    table = pairs(tmp_path, label=["TUM", "tum"] * 6)
    with pytest.raises(DataError, match="'TUM' and 'tum' differ only in spelling"):
        ingest(write_table(tmp_path, table), tmp_path / "store", progress=False)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([["a"], ["b"]], "a ndarray"),
        ([b"a", b"b"], "a bytes"),
        ([2.0**63, 1.0], "too large to be exact"),
    ],
)
def test_non_text_labels_are_refused(tmp_path: Path, labels: list[Any], reason: str) -> None:
    pairs(tmp_path).assign(label=labels * 6).to_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(DataError, match="column label") as error:
        Manifest(str(tmp_path / "pairs.parquet")).items()
    assert reason in str(error.value)
