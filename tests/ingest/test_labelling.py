"""Labels and groups from paths; classes merged, renamed and dropped; another cohort as test."""

from pathlib import Path

import pytest

from morefromless.cli import run
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError, MoreFromLessError
from morefromless.ingest import ingest, open_source
from tests.conftest import TINY
from tests.ingest.samples import folder, two_classes

NAMES = {
    f"{patient}_{tissue}_{i}.png": 100 * p + 10 * t + i
    for p, patient in enumerate(["P01", "P02", "P03", "P04"])
    for t, tissue in enumerate(["TUM", "MUS", "STR"])
    for i in range(3)
}


@pytest.fixture
def flat_folder(tmp_path: Path) -> Path:
    return folder(tmp_path / "in", {**NAMES, "overview.png": 999})


def test_ingest_reads_labels_and_groups_from_names(
    flat_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ingest", str(flat_folder), str(tmp_path / "store")]
    arguments += ["--label", "_([A-Z]+)_", "--group", r"^(P\d+|overview)"]
    assert run([*arguments, "--classes", "MUS+STR=muscle", "TUM=tumour"]) == 0
    output = capsys.readouterr().out
    assert "1 x patch with a path that --label does not match" in output
    store = Store.open(tmp_path / "store")
    assert store.classes == ("muscle", "tumour")
    names = store.table["id"].str.split("_", expand=True)
    assert (store.table["group"] == names[0]).all()
    assert store.table["label"].tolist() == ["tumour" if n == "TUM" else "muscle" for n in names[1]]


def test_dropped_classes_are_counted(flat_folder: Path, tmp_path: Path) -> None:
    source = open_source(str(flat_folder), label="_([A-Z]+)_", drop=["STR"])
    report = ingest(source, tmp_path / "store", progress=False)
    assert report.store.classes == ("MUS", "TUM")
    assert report.store.meta.omitted["patch of the class STR"] == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "_(X)_"}, r"--label _\(X\)_ does not match any of 37 paths, such as 'P01_MUS"),
        ({"label": "_(X)?"}, "does not match any of 37 paths"),
        ({"label": r"P\d"}, "--label .* has 0 capturing groups"),
        ({"label": "("}, "--label .* is not a valid regular expression"),
        ({"label": "_([A-Z]+)_", "group": "(P01)"}, r"--group .* does not match 'P02"),
        ({"label": "_([A-Z]+)_", "drop": ["TUN"]}, "no class 'TUN'; did you mean TUM"),
        ({"label": "_([A-Z]+)_", "drop": ["tum"]}, "no class 'tum'; did you mean TUM"),
        (
            {"label": "_([A-Z]+)_", "classes": ["ADI=a"]},
            "no class 'ADI'; there are 'MUS', 'STR', 'TUM'",
        ),
        (
            {"label": "_([A-Z]+)_", "classes": ["TUM"]},
            "--classes TUM is invalid; write it as OLD=NEW",
        ),
        ({"label": "_([A-Z]+)_", "classes": ["A=b", "A=c"]}, "gives 'A' two new names"),
        ({}, "find the class in the path with --label, or use --unlabelled"),
    ],
)
def test_invalid_labelling_options_are_refused(
    flat_folder: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(MoreFromLessError, match=message) as error:
        open_source(str(flat_folder), **options).items()  # type: ignore[arg-type]
    assert isinstance(error.value, ConfigError | DataError)


def test_classes_of_synthetic_tissue_are_merged(tmp_path: Path) -> None:
    spec = "synthetic:patches=36,patients=4,size=16"
    source = open_source(spec, classes=["MUS+STR=muscle"], group="patch (.)")
    store = ingest(source, tmp_path / "store", split="test", progress=False).store
    plain = ingest(spec, tmp_path / "plain", split="test", progress=False).store
    assert "muscle" in store.classes
    assert len(store.table) == 36
    assert (store.main == plain.main).all()


def test_classes_of_a_published_set_keep_their_order(tmp_path: Path) -> None:
    names = {
        f"{c}-AAAAAAA{x}.tif": 30 * n + i
        for n, c in enumerate(["TUM", "MUS", "ADI", "STR"])
        for i, x in enumerate("ABCD")
    }
    source = open_source(str(folder(tmp_path / "in", names)), classes=["MUS+STR=muscle"])
    store = ingest(source, tmp_path / "store", progress=False).store
    assert store.classes == ("ADI", "muscle", "TUM")
    descriptions = source.datasheet().classes
    assert descriptions["TUM"]
    assert descriptions["muscle"] == ""


def test_split_test_puts_all_patches_in_test(tmp_path: Path) -> None:
    root = two_classes(tmp_path / "in")
    report = ingest(open_source(str(root)), tmp_path / "store", split="test", progress=False)
    assert report.splits == {"test": 10}
    assert "intervals treat patches as independent" in report.notes[0]
    folder(root, {"A/copy.png": 0})  # copies within a cohort stay, because no split is drawn
    names = {f"train/A/P{i}.png": 100 + i for i in range(7)}
    source = open_source(str(folder(tmp_path / "one", names)), group=r"(P\d)")
    store = ingest(source, tmp_path / "cohort", split="test", progress=False).store
    assert store.classes == ("A",)
    assert store.caveats == [
        "The source's own split (train) is not used, as requested: every patch is in test."
    ]


def test_compare_refuses_a_store_without_training_patches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = two_classes(tmp_path / "in")
    ingest(open_source(str(root)), tmp_path / "store", split="test", progress=False)
    assert run(["compare", str(tmp_path / "store"), "--out", str(tmp_path / "runs")]) == 2
    assert "no training patches" in capsys.readouterr().err


def test_ingest_suggests_a_label_column_for_unlabelled_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "in", {f"{i}.png": i for i in range(20)}, side=32)
    rows = "\n".join(f"{i},{i}.png,{i % 2}" for i in range(20))
    (root / "table.csv").write_text(f"id,he,grade\n{rows}\n")
    store = tmp_path / "a store"
    assert run(["ingest", str(root / "table.csv"), str(store)]) == 0
    output = capsys.readouterr().out
    assert "manifest:TABLE,label=COLUMN" in output
    # The path is quoted for the shell.
    assert f"Next: mfl views '{store}', then mfl train '{store}' --out RUN" in output


def test_store_without_labels_can_be_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(tmp_path / "in", {f"{i}.png": i for i in range(20)}, side=32)
    assert run(["ingest", str(root), str(tmp_path / "store"), "--unlabelled"]) == 0
    tiny = [word for name, value in TINY.items() for word in (f"--{name}", str(value))]
    tiny[tiny.index("--batch") + 1] = "8"
    arguments = ["train", str(tmp_path / "store"), "--width", "16", *tiny]
    arguments += ["--out", str(tmp_path / "run")]
    assert run(arguments) == 0
    assert "mfl probe" in capsys.readouterr().out
    assert run(["probe", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "the task tissue cannot be evaluated" in error
    assert "cell" not in error  # the store has no nuclei
