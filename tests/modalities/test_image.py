"""Channel ranges, supported views, and invalid specifications."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.identity import file_name
from morefromless.ingest import ingest, open_source
from morefromless.modalities.image import Image, image_spec
from morefromless.pairs import Pair, build_modality
from morefromless.training.feed import Feed
from morefromless.views.table_s1 import TableS1

PATCHES = 24


def pairs(folder: Path) -> Path:
    """H&E of 16 px with a 16-bit image of five channels and an 8-bit grey image."""
    rng = np.random.default_rng(0)
    level = np.array([100, 1000, 3000, 6000, 20000])
    np.save(folder / "he.npy", rng.integers(0, 256, (PATCHES, 16, 16, 3), dtype=np.uint8))
    deep = (rng.random((PATCHES, 16, 16, 5)) * level).astype(np.uint16)
    np.save(folder / "if.npy", deep)
    np.save(folder / "grey.npy", rng.integers(0, 256, (PATCHES, 16, 16, 1), dtype=np.uint8))
    table = pd.DataFrame({"id": [f"p{k}" for k in range(PATCHES)], "label": ["a", "b"] * 12})
    table["split"] = ["train"] * 16 + ["test"] * 8
    for name in ("he", "if", "grey"):
        table[name] = [f"{name}.npy#{k}" for k in range(PATCHES)]
    table.to_csv(folder / "pairs.csv", index=False)
    return folder / "pairs.csv"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("multiplex")
    source = open_source(f"manifest:{pairs(folder)},channels=DAPI+CD3+CD8+CD20+CK")
    report = ingest(source, folder / "store", progress=False, workers=1)
    note = next(note for note in report.notes if note.startswith("if has"))
    assert note.startswith(
        "if has the channels DAPI, CD3, CD8, CD20, CK; use it as modality image:if,channels=5,low="
    )
    return report.store


def test_ranges_are_percentiles_of_the_training_patches(store: Store) -> None:
    training = store.arrays["if"][store.indices("train")].reshape(-1, 5)
    for k, (low, high) in enumerate(store.meta.arrays["if"].ranges):
        exact = np.percentile(training[:, k], [0.1, 99.9])
        assert abs(low - exact[0]) <= 1
        assert abs(high - exact[1]) <= 1
    assert store.channels("if") == ("DAPI", "CD3", "CD8", "CD20", "CK")
    assert store.channels("grey") == ("channel 1",)


def test_16_bit_channels_stay_unconverted_on_the_device(store: Store) -> None:
    pair = Pair({"primary": image_spec(store, "if")}, "plain", 16)
    rows, device = store.indices("train"), torch.device("cpu")
    stored, streamed = (Feed(store, rows, pair, device, s) for s in ("arrays", "nothing"))
    assert stored.resident["if"].dtype == torch.uint16
    images = [feed.images(feed.__getitems__([5, 0, 9])) for feed in (stored, streamed)]
    assert torch.equal(images[0]["primary"], images[1]["primary"])


def test_channels_are_scaled_from_their_range(store: Store) -> None:
    modality = build_modality(image_spec(store, "if"))
    modality.check(store)
    stored = store.arrays["if"][:4]
    rendered = modality.render(torch.from_numpy(np.asarray(stored)), 16)
    low, high = np.array(store.meta.arrays["if"].ranges).T
    expected = np.clip((stored - low) / (high - low), 0, 1).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(rendered.numpy(), expected, atol=1e-5)
    narrow = Image("if", channels=5, low=(500,) * 5, high=(600,) * 5)
    outside = narrow.render(torch.from_numpy(np.asarray(stored)), 8)  # clipped before the resize
    clipped = np.clip((stored - 500.0) / 100, 0, 1).reshape(4, 8, 2, 8, 2, 5)
    assert outside.mean() == pytest.approx(clipped.mean(), abs=0.01)
    assert modality.to_rgb(rendered).shape == (4, 3, 16, 16)
    assert modality.to_rgb(torch.ones(1, 5, 2, 2)).max() == 1
    assert build_modality(modality.spec) == modality
    assert modality.legend(store) == "if: blue DAPI, green CD3, red CD8, yellow CD20, magenta CK."  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("image:if", "has 5 channels; give image:if,channels=5,low="),
        ("image:if,channels=5", "has 16 bits; give image:if,channels=5,low="),
        ("full:if", "is not 8-bit RGB; use image:if,channels=5"),
        ("downsample:4,array=grey", "is not 8-bit RGB; use image:grey,channels=1"),
    ],
)
def test_unsuitable_modality_error_suggests_another(store: Store, spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_modality(spec).check(store)


def test_invalid_ranges_are_refused() -> None:
    with pytest.raises(ConfigError, match="5 channels, 5 low and 1 high"):
        Image("if", channels=5, high=(3.0,))
    with pytest.raises(ConfigError, match="a low value that is not below its high value"):
        Image("if", low=(3.0,), high=(3.0,))


def test_views_move_channels_together_and_jitter_them_separately(store: Store) -> None:
    spec = image_spec(store, "if")
    pair = Pair({"primary": "full", "privileged": spec}, "table-s1", 16)
    pair.check(store)
    plain = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)).expand(
        2, 5, 16, 16
    )
    views = TableS1(jitter=0).augment_channels(plain, torch.Generator().manual_seed(1))
    assert (views == views[:, :1]).all()
    assert not views.equal(plain)
    flat = TableS1(flip=0, crop=1, rotation=0)
    jittered = flat.augment_channels(plain * 0.5, torch.Generator().manual_seed(1))
    for k in range(1, 5):
        assert not torch.allclose(jittered[:, 0], jittered[:, k], atol=0.01)


def test_file_names_of_many_channels_are_short_and_differ() -> None:
    specs = [
        "image:if,channels=60,high=" + "/".join(["4000"] * 59 + [value]) for value in ("1", "2")
    ]
    names = [file_name(spec) for spec in specs]
    assert names[0] != names[1]
    assert max(map(len, names)) <= 100
    assert file_name("downsample:7") == "downsample-7"
