"""Sections with counts per spot: synthetic ones, and the real ones."""

import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from morefromless import sources
from morefromless.cli import run
from morefromless.data import sections
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.ingest import ingest
from morefromless.modalities.vector import Vector
from morefromless.sources import Source
from morefromless.sources.spatial import Spatial
from morefromless.specs import build
from tests.real import real

GENES = [f"G{number:02}" for number in range(30)]
SPOTS = [f"{column}x{row}" for row in range(3) for column in range(4)]
PLACES = np.array(
    [[30.0 + 45 * column, 25.0 + 70 * row] for row in range(3) for column in range(4)]
)
SMALL: dict[str, Any] = {"test": "C", "patch": 16, "genes": 5}


def genes(source: Spatial) -> tuple[str, ...]:
    """Names of the values in `expression`, in their order."""
    return source.datasheet().channels["expression"]


def section(root: Path, name: str, seed: int, **overrides: Any) -> np.ndarray:
    """A section of 200 x 180 px with 12 spots; `overrides` replaces its parts by name."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*overrides.get("shape", (180, 200)), 3), dtype=np.uint8)
    counts = overrides.get(
        "counts", rng.poisson(rng.uniform(0.2, 9, 30), (12, 30)).astype(np.float32)
    )
    table = pd.DataFrame({"cluster": [str(k % 3) for k in range(12)]}, index=SPOTS)
    for column, values in overrides.get("table", {}).items():
        table[column] = values
    data = anndata.AnnData(counts, obs=table, var=pd.DataFrame(index=overrides.get("genes", GENES)))
    data.obsm["spatial"] = overrides.get("places", PLACES)
    data.uns.update(overrides.get("uns", {}))
    data.write_h5ad(root / f"{name}.h5ad")
    Image.fromarray(image).save(root / f"{name}.png")
    return image


@pytest.fixture
def images(tmp_path: Path) -> dict[str, np.ndarray]:
    """Sections A, B and C in `tmp_path`."""
    return {name: section(tmp_path, name, seed) for seed, name in enumerate("ABC")}


def test_items_are_listed_from_the_sections(tmp_path: Path, images: dict[str, np.ndarray]) -> None:
    source = build(f"spatial:{tmp_path},test=C,patch=16,genes=5,um_per_px=0.5", sources, Source)
    items = source.items()
    assert [item.id for item in items] == [f"{name}/{spot}" for name in images for spot in SPOTS]
    assert [item.label for item in items] == ["0", "1", "2"] * 12
    assert {(item.group, item.split) for item in items} == {
        ("A", "train"),
        ("B", "train"),
        ("C", "test"),
    }
    assert items[1].origin == "A.h5ad, spot 1x0"
    sheet = source.datasheet()
    title = f"Spatial transcriptomics: {tmp_path.name} (A, B | C), 5 of 30 common genes, 16 px"
    assert (sheet.title, sheet.um_per_px) == (title, 0.5)
    assert source.shape(items[0]) == (16, 16)


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("given", "train", "test"),
    [
        ({"test": "C", "sections": "A+C"}, "A", "C"),
        ({"test": "B+C"}, "A", "BC"),
        ({"test": "A", "train": "C"}, "C", "A"),
        ({"test": "A", "train": "C", "sections": "A+B+C"}, "C", "A"),
    ],
)
def test_options_choose_sections(tmp_path: Path, given: Any, train: str, test: str) -> None:
    items = Spatial(str(tmp_path), **{**SMALL, **given}).items()
    assert {item.group for item in items if item.split == "train"} == set(train)
    assert {item.group for item in items if item.split == "test"} == set(test)


def test_patches_are_centred_on_their_spots(
    tmp_path: Path, images: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: Counter[str] = Counter()
    open_image = sections._opened
    source = Spatial(str(tmp_path), **SMALL)
    items = source.items()
    monkeypatch.setattr(sections, "_opened", lambda p: (decoded.update([p.stem]), open_image(p))[1])
    with ThreadPoolExecutor(8) as pool:
        patches = list(pool.map(source.read, items))
    assert decoded == {"A": 1, "B": 1, "C": 1}
    assert len(source._images._values) == 2
    for item, arrays in zip(items, patches, strict=True):
        x, y = PLACES[SPOTS.index(item.id.partition("/")[2])].astype(int)
        expected = images[str(item.group)][y - 8 : y + 8, x - 8 : x + 8]
        np.testing.assert_array_equal(arrays["he"], expected)
        assert arrays["expression"].dtype == np.float32
        assert arrays["expression"].shape == (5,)


def test_expression_matches_a_naive_loop(tmp_path: Path, images: Any) -> None:
    source = Spatial(str(tmp_path), **SMALL)
    logs, by_id = [], {}
    for name in images:
        counts = anndata.read_h5ad(tmp_path / f"{name}.h5ad").X.astype(np.float64)
        for spot, row in zip(SPOTS, counts, strict=True):
            by_id[f"{name}/{spot}"] = [np.log1p(1e4 * n / sum(row)) for n in row]
            if name != "C":
                logs.append(by_id[f"{name}/{spot}"])
    variance = [float(np.var([row[gene] for row in logs])) for gene in range(30)]
    chosen = sorted(sorted(range(30), key=lambda gene: -variance[gene])[:5])
    assert genes(source) == tuple(GENES[gene] for gene in chosen)
    for item in source.items():
        expected = [by_id[item.id][gene] for gene in chosen]
        np.testing.assert_allclose(source.read(item)["expression"], expected, rtol=1e-6)
    store = ingest(source, tmp_path / "store", progress=False, workers=1).store
    assert store.channels("expression") == genes(source)


@pytest.mark.usefixtures("images")
def test_test_sections_do_not_influence_the_genes(tmp_path: Path) -> None:
    before = Spatial(str(tmp_path), **SMALL)
    expected = {item.id: before.read(item) for item in before.items() if item.split == "train"}
    extreme = np.zeros((12, 30), np.float32)
    extreme[:, 0] = 1
    unchosen = [k for k, gene in enumerate(GENES) if gene not in genes(before)]
    extreme[::2, unchosen] = 1000
    section(tmp_path, "C", 2, counts=extreme)
    after = Spatial(str(tmp_path), **SMALL)
    assert genes(after) == genes(before)
    for item in after.items():
        if item.split == "train":
            expression = after.read(item)["expression"]
            np.testing.assert_array_equal(expression, expected[item.id]["expression"])
    assert genes(Spatial(str(tmp_path), **{**SMALL, "test": "A"})) != genes(before)


@pytest.mark.usefixtures("images")
def test_order_of_genes_does_not_matter(tmp_path: Path) -> None:
    before = Spatial(str(tmp_path), **SMALL)
    counts = anndata.read_h5ad(tmp_path / "B.h5ad").X
    section(tmp_path, "B", 1, counts=counts[:, ::-1], genes=GENES[::-1])
    after = Spatial(str(tmp_path), **SMALL)
    assert genes(after) == genes(before)
    for item in after.items():
        np.testing.assert_array_equal(
            after.read(item)["expression"], before.read(item)["expression"]
        )


@pytest.mark.usefixtures("images")
def test_only_common_genes_are_used(tmp_path: Path) -> None:
    section(tmp_path, "B", 1, genes=[*GENES[:4], *(f"ENSG{k}" for k in range(26))])
    source = Spatial(str(tmp_path), **{**SMALL, "genes": 4})
    assert genes(source) == tuple(GENES[:4])
    assert "4 of 4 common genes" in source.datasheet().title
    with pytest.raises(DataError, match=r"all 3 share 4, fewer than genes=5, and B has the fewest"):
        Spatial(str(tmp_path), **SMALL).items()
    with pytest.raises(ConfigError, match="genes=31 is more than the 30 genes of section A"):
        Spatial(str(tmp_path), **{**SMALL, "genes": 31}).items()


@pytest.mark.usefixtures("images")
def test_unusable_spots_are_rejected(tmp_path: Path) -> None:
    places, counts = PLACES.copy(), np.ones((12, 30), np.float32)
    places[0], places[1], places[2], places[3] = [8, 8], [7.4, 90], [192, 172], [192, 172.5]
    counts[4] = 0
    labels = [*"012012", np.nan, "", *"0120"]
    section(tmp_path, "B", 1, places=places, counts=counts, table={"cluster": labels})
    source = Spatial(str(tmp_path), **SMALL)
    reasons = {}
    for item in source.items():
        try:
            assert source.read(item)["he"].shape == (16, 16, 3)
        except UnreadablePatch as error:
            reasons[item.id] = str(error).partition(":")[0]
            with pytest.raises(UnreadablePatch):
                source.shape(item)
    assert reasons == {
        "B/1x0": "outside the image",
        "B/3x0": "outside the image",
        "B/0x1": "no counts",
    }
    assert [item.label for item in source.items()[12 + 6 : 12 + 8]] == ["unlabelled"] * 2


@pytest.mark.usefixtures("images")
def test_options_choose_labels_and_groups(tmp_path: Path) -> None:
    section(tmp_path, "A", 0, table={"type": [0, 1] * 6, "donor": "P1"})
    section(tmp_path, "C", 0, table={"type": [0.0, np.nan] * 6, "donor": ["P2"] * 11 + [None]})
    chosen = {**SMALL, "sections": "A+C", "label": "type"}
    items = Spatial(str(tmp_path), **chosen).items()
    assert {item.label for item in items} == {"0", "1", "unlabelled"}
    with pytest.raises(DataError, match=r"C.h5ad has no donor for spot 3x2; "):
        Spatial(str(tmp_path), **chosen, group="donor").items()
    section(tmp_path, "C", 0, table={"donor": "P2", "none": np.nan})
    section(tmp_path, "A", 0, table={"donor": "P1", "none": np.nan})
    items = Spatial(str(tmp_path), **{**chosen, "label": "cluster"}, group="donor").items()
    assert {item.group for item in items} == {"P1", "P2"}
    with pytest.raises(DataError, match=r"A.h5ad has no obs column type \(it has cluster, donor"):
        Spatial(str(tmp_path), **chosen).items()
    with pytest.raises(DataError, match=r"has no none for any spot; .*, or use label=none"):
        Spatial(str(tmp_path), **{**chosen, "label": "none"}).items()
    # Often only one section of a patient is annotated, or none.
    section(tmp_path, "C", 0, table={"type": np.nan})
    section(tmp_path, "A", 0, table={"type": [0, 1] * 6})
    labels = [item.label for item in Spatial(str(tmp_path), **chosen).items()]
    assert labels == ["0", "1"] * 6 + ["unlabelled"] * 12
    source = build(f"spatial:{tmp_path},test=C,patch=16,genes=5,label=none", sources, Source)
    assert {item.label for item in source.items()} == {"unlabelled"}


@pytest.mark.usefixtures("images")
def test_genes_are_read_from_a_list_or_a_store(tmp_path: Path) -> None:
    first = ingest(Spatial(str(tmp_path), **SMALL), tmp_path / "store", progress=False).store
    (tmp_path / "genes.txt").write_text("G07\n\nG03\n", "utf-8-sig")
    listed = {**SMALL, "genes": str(tmp_path / "genes.txt")}
    assert genes(Spatial(str(tmp_path), **listed)) == ("G07", "G03")
    # Another cohort, all in test, with the genes and order that an encoder of the first takes.
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    section(cohort, "D", 7, genes=GENES[::-1])
    chosen = {**SMALL, "test": "D", "genes": str(first.path)}
    source = Spatial(str(cohort), **chosen)
    assert genes(source) == first.channels("expression")
    assert first.path / "meta.json" in source.files()
    counts = anndata.read_h5ad(cohort / "D.h5ad")
    place = list(counts.var_names).index(genes(source)[0])
    expected = np.log1p(1e4 * counts.X[0, place] / counts.X[0].sum())
    assert source.read(source.items()[0])["expression"][0] == pytest.approx(expected)
    section(cohort, "D", 7, genes=[f"H{number}" for number in range(30)])
    with pytest.raises(
        DataError, match=r"Section D has no counts of 5 of the 5 genes of .*, such as G"
    ):
        Spatial(str(cohort), **chosen).items()
    (tmp_path / "genes.txt").write_text("G07\nG07\n")
    with pytest.raises(DataError, match="lists the gene G07 twice"):
        Spatial(str(tmp_path), **listed).items()
    with pytest.raises(DataError, match="is not a list of genes; set genes= to a number"):
        Spatial(str(tmp_path), **{**SMALL, "genes": "G07+G03"}).items()


@pytest.mark.usefixtures("images")
def test_spots_that_do_not_fit_the_image_are_refused(tmp_path: Path) -> None:
    section(tmp_path, "B", 1, places=PLACES * 50)
    with pytest.raises(
        DataError, match=r"B.h5ad does not fit B.png: no patch of 16 px lies within"
    ):
        Spatial(str(tmp_path), **SMALL).items()
    with pytest.raises(DataError, match=r"200 x 180 px"):
        Spatial(str(tmp_path), **{**SMALL, "sections": "A+C", "patch": 256}).items()


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test": "D"}, "has no section 'D'; it has A, B, C"),
        ({"sections": "A+B"}, "Section C is in test= or train= but not in sections="),
        ({"test": "A+B+C"}, "All sections of .* are in test"),
        ({"test": "A", "train": "A+B"}, "name at least one section in test"),
        ({"test": ""}, "name at least one section in test"),
        ({"patch": 0}, "cannot use patch=0"),
        ({"genes": 0}, "genes=0"),
        ({"um_per_px": float("nan")}, "um_per_px=nan"),
    ],
)
def test_invalid_options_are_refused(tmp_path: Path, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Spatial(str(tmp_path), **{**SMALL, **given}).items()


def test_invalid_images_are_refused(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    source = Spatial(str(tmp_path), **SMALL)
    with warnings.catch_warnings(action="error"):
        assert source.read(source.items()[0])["he"].shape == (16, 16, 3)
    monkeypatch.setattr(sections, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match=r"A.png has 200 x 180 px, more than 1,000"):
        Spatial(str(tmp_path), **SMALL).items()
    monkeypatch.undo()
    Image.fromarray(images["A"]).save(tmp_path / "A.jpg")
    with pytest.raises(DataError, match=r"has both A.jpg and A.png"):
        Spatial(str(tmp_path), **SMALL).items()
    (tmp_path / "A.jpg").unlink()
    content = (tmp_path / "A.png").read_bytes()
    (tmp_path / "A.png").write_bytes(content[: len(content) // 2])
    source = Spatial(str(tmp_path), **SMALL)
    for item in source.items()[:2]:
        with pytest.raises(DataError, match=r"A.png is truncated or damaged"):
            source.read(item)
    (tmp_path / "A.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"A.png is not a jpg, png or tif image"):
        Spatial(str(tmp_path), **SMALL).items()
    Image.new("L", (200, 180)).save(tmp_path / "A.png")
    with pytest.raises(DataError, match=r"A.png is not RGB with 8 bits"):
        Spatial(str(tmp_path), **SMALL).items()
    (tmp_path / "A.png").unlink()
    assert {item.group for item in Spatial(str(tmp_path), **SMALL).items()} == {"B", "C"}
    with pytest.raises(DataError, match=r"has A.h5ad but no image A.jpg"):
        Spatial(str(tmp_path), **SMALL, sections="A+B+C").items()
    with pytest.raises(DataError, match="There is no folder"):
        Spatial(str(tmp_path / "none"), **SMALL).items()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no section"):
        Spatial(str(tmp_path / "empty"), **SMALL).items()


@pytest.mark.parametrize("suffix", ["jpg", "tif", "tiff", "jpeg"])
def test_jpg_and_tif_images_are_read(tmp_path: Path, images: Any, suffix: str) -> None:
    (tmp_path / "A.png").unlink()
    Image.fromarray(images["A"]).save(tmp_path / f"A.{suffix}")
    stored = np.asarray(Image.open(tmp_path / f"A.{suffix}"))
    source = Spatial(str(tmp_path), **SMALL)
    np.testing.assert_array_equal(source.read(source.items()[0])["he"], stored[17:33, 22:38])


def test_the_legend_names_the_genes_of_each_class(tmp_path: Path) -> None:
    for seed, name in enumerate("ABC"):
        counts = np.random.default_rng(seed).poisson(5, (12, 30)).astype(np.float32)
        for spot in range(12):
            counts[spot, 10 + spot % 3] += 60
        section(tmp_path, name, seed, counts=counts)
    store = ingest(
        f"spatial:{tmp_path},test=C,patch=16,genes=5", tmp_path / "s", progress=False
    ).store
    assert store.channels("expression") == genes(Spatial(str(tmp_path), **SMALL))
    legend = Vector(5).legend(store)
    assert legend.startswith("Highest in expression against the other classes: 0 G10, ")
    assert "; 1 G11, " in legend
    assert "; 2 G12, " in legend


def test_real_sections_are_read() -> None:
    source = Spatial(str(real("her2st")), test="C5", sections="C2+C5")
    items = source.items()
    assert Counter(item.id[:2] for item in items) == {"C2": 187, "C5": 181}
    assert {item.group for item in items} == {"C"}  # sections of one patient
    labels = {name: {i.label for i in items if i.id[:2] == name} for name in ("C2", "C5")}
    assert labels["C2"] == labels["C5"] == {*"0123456", "unlabelled"}
    assert len(genes(source)) == 1000
    patches = [source.read(item) for item in items[::20] if item.label != "unlabelled"]
    for arrays in patches:
        assert arrays["he"].shape == (256, 256, 3)
        assert (arrays["expression"] > 0).sum() > 50
    red, green, blue = np.mean([arrays["he"] for arrays in patches], axis=(0, 1, 2))
    assert min(red, blue) > green + 10  # pink and violet
    assert 60 < green < 225


@pytest.mark.parametrize(
    ("value", "value_text"), [(np.nan, "NaN"), (-3.0, "-3"), (np.inf, "inf"), (0.5, "0.5")]
)
def test_invalid_counts_are_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float, value_text: str
) -> None:
    (tmp_path / "sections").mkdir()
    section(tmp_path / "sections", "A", 0)
    counts = np.ones((12, 30), np.float32)
    counts[4, 7] = value
    section(tmp_path / "sections", "B", 1, counts=counts)
    spec = f"spatial:{tmp_path / 'sections'},test=B,patch=16,genes=5"
    assert run(["ingest", spec, str(tmp_path / "store")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in ("B.h5ad", SPOTS[4], GENES[7], value_text):
        assert word.lower() in error.lower()
    assert not (tmp_path / "store").exists()


def test_a_spot_at_infinity_is_refused(tmp_path: Path) -> None:
    section(tmp_path, "A", 0, places=np.where(np.eye(12, 2) > 0, np.inf, PLACES))
    section(tmp_path, "C", 1)
    with pytest.raises(DataError, match=f"has no coordinates for spot {SPOTS[0]}"):
        Spatial(str(tmp_path), **SMALL).items()


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("shapes", "given"), [({"hires": (180, 200, 3)}, {}), ({}, {"image": "hires"})]
)
def test_spots_may_be_in_pixels_of_the_full_image(tmp_path: Path, shapes: Any, given: Any) -> None:
    plain = Spatial(str(tmp_path), **SMALL)
    expected = [plain.read(item)["he"] for item in plain.items()]
    described = {
        "images": {name: np.zeros(shape, np.uint8) for name, shape in shapes.items()},
        "scalefactors": {"tissue_hires_scalef": 0.1, "tissue_lowres_scalef": 0.03},
    }
    for seed, name in enumerate("ABC"):
        section(tmp_path, name, seed, places=PLACES * 10, uns={"spatial": {"lib": described}})
    scaled = Spatial(str(tmp_path), **SMALL, **given)
    for item, patch in zip(scaled.items(), expected, strict=True):
        np.testing.assert_array_equal(scaled.read(item)["he"], patch)
    with pytest.raises(DataError, match=r"image=hires \(x 0\.1\)"):
        Spatial(str(tmp_path), **SMALL, image="fullres").items()


@pytest.mark.usefixtures("images")
def test_mostly_outside_spots_are_refused(tmp_path: Path) -> None:
    section(tmp_path, "B", 1, places=PLACES * 2.2)
    with pytest.raises(DataError, match=r"B.h5ad does not fit B.png: only \d of 12 patches"):
        Spatial(str(tmp_path), **SMALL).items()
    with pytest.raises(ConfigError, match=r"A.h5ad has no scale factor for image=lowres"):
        Spatial(str(tmp_path), **SMALL, image="lowres").items()


@pytest.mark.usefixtures("images")
def test_spots_outside_the_tissue_are_rejected_and_ignored(tmp_path: Path) -> None:
    counts = anndata.read_h5ad(tmp_path / "A.h5ad").X
    before = Spatial(str(tmp_path), **SMALL)
    extreme = counts.copy()
    extreme[::3] = 0
    extreme[::3, 7] = 10_000
    section(tmp_path, "A", 0, counts=extreme, table={"in_tissue": [0, 1, 1] * 4})
    source = Spatial(str(tmp_path), **SMALL)
    reasons = []
    for item in source.items()[:12]:
        try:
            source.read(item)
        except UnreadablePatch as error:
            reasons.append(str(error))
    assert reasons == ["outside the tissue: in_tissue is 0"] * 4
    section(tmp_path, "A", 0, counts=counts, table={"in_tissue": [0, 1, 1] * 4})
    assert genes(Spatial(str(tmp_path), **SMALL)) == genes(source)
    assert len(genes(before)) == 5


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("layer", [None, "raw"])
def test_counts_are_read_from_raw(tmp_path: Path, layer: str | None) -> None:
    plain = Spatial(str(tmp_path), **SMALL)
    for name in "ABC":
        data = anndata.read_h5ad(tmp_path / f"{name}.h5ad")
        data.raw = data.copy()
        data.X = np.log1p(data.X) - 0.5
        data[:, ::2].copy().write_h5ad(tmp_path / f"{name}.h5ad")  # as scanpy cuts genes
    source = Spatial(str(tmp_path), **SMALL, layer=layer)
    assert genes(source) == genes(plain)
    for item in source.items():
        np.testing.assert_array_equal(
            source.read(item)["expression"], plain.read(item)["expression"]
        )


def test_missing_value_words_are_not_classes_or_patients(tmp_path: Path) -> None:
    """R's NA and pandas' nan become such words in a text column."""
    for seed, name in enumerate("AB"):
        labels = ["NA", "nan", "0", "1"] * 3
        section(
            tmp_path, name, seed, table={"cluster": labels, "donor": [*"abcd"] * 2 + ["NA"] * 4}
        )
    source = Spatial(str(tmp_path), test="B", patch=16, genes=5)
    assert {item.label for item in source.items()} == {"unlabelled", "0", "1"}
    assert source.remarks()[1] == (
        "Column cluster holds NA, N/A or NaN in 12 of 24 rows, which is read as an empty cell."
    )
    with pytest.raises(DataError, match=r"A.h5ad has no donor for spot"):
        Spatial(str(tmp_path), test="B", patch=16, genes=5, group="donor").items()
