"""The nuclei modality: its palettes, and no new types after a resize."""

import numpy as np
import pytest
import torch

from morefromless.data.colours import COLOURS
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.data.store import Store
from morefromless.encoders import build_encoder, check_encoder
from morefromless.errors import ConfigError, DataError
from morefromless.modalities.nuclei import Nuclei as Modality
from morefromless.pairs import Pair, build_modality


def masks(side: int = 12, count: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(0)
    coded = []
    for _ in range(count):
        instances = rng.integers(0, 300, (side, side)).astype(np.int32)  # includes ids of two bytes
        types = {int(k): int(rng.integers(0, 6)) for k in np.unique(instances) if k}
        coded.append(Nuclei.typed(instances, types, PANNUKE).encode())
    return torch.from_numpy(np.stack(coded))


@pytest.mark.parametrize("size", [12, 24, 30, 7])
@pytest.mark.parametrize("palette", ["levels", "raw", "one-hot", "colour"])
def test_pixels_encode_types_by_palette(palette: str, size: int) -> None:
    stored = masks()
    rendered = build_modality(f"nuclei:{palette}").render(stored, size)
    rows = [int((k + 0.5) * 12 / size) for k in range(size)]
    for b in range(3):
        for i, y in enumerate(rows):
            for j, x in enumerate(rows):
                kind = int(stored[b, y, x, 0])
                expected = {
                    "levels": [kind * 51 / 255] * 3,
                    "raw": [kind / 255] * 3,
                    "one-hot": [float(k == kind) for k in range(6)],
                    "colour": [value / 255 for value in COLOURS[kind]],
                }[palette]
                assert rendered[b, :, i, j].tolist() == pytest.approx(expected, abs=1e-6)


def test_five_types_spread_over_the_whole_range() -> None:
    rendered = Modality("levels", types=5).render(
        torch.tensor([[[[4, 0, 1]]]], dtype=torch.uint8), 1
    )
    assert rendered.flatten().tolist() == [1, 1, 1]


@pytest.mark.parametrize("palette", ["levels", "one-hot"])
def test_views_add_no_value_to_a_mask(palette: str, tissue: Store) -> None:
    pair = Pair({"primary": f"nuclei:{palette}", "privileged": "full"}, "table-s1", 32)
    rows = np.arange(40)
    images = pair.render({n: torch.from_numpy(tissue.array(n)[rows]) for n in pair.arrays})
    for step in range(5):
        views = pair.augment(images, seed=0, step=step)
        assert set(views["primary"].unique().tolist()) <= set(images["primary"].unique().tolist())
        assert not torch.equal(views["primary"], images["primary"])
        if palette == "one-hot":
            assert torch.equal(views["primary"].sum(1), torch.ones(40, 32, 32))


def test_masks_have_the_geometry_of_images() -> None:
    """The same draws rotate an image and a mask equally, tested with one array as both."""
    from morefromless.views.table_s1 import TableS1

    preset = TableS1(noise=0, solarize=0, jitter=0)
    smooth = torch.nn.functional.interpolate(
        torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), 64, mode="bilinear"
    )
    image = preset.augment(smooth, torch.Generator().manual_seed(1))
    mask = preset.augment_mask(smooth, torch.Generator().manual_seed(1))
    assert (image - mask).abs().max() < 0.05  # at most half a pixel of a smooth image
    assert set(mask.unique().tolist()) <= set(smooth.unique().tolist())


def test_authors_preset_changes_mask_values_and_plain_does_not(tissue: Store) -> None:
    rows = np.arange(20)
    for views, is_unchanged in (("authors", False), ("plain", True)):
        pair = Pair({"primary": "nuclei:raw", "twin": "nuclei:raw"}, views, 32)
        images = pair.render({NUCLEI_ARRAY: torch.from_numpy(tissue.array(NUCLEI_ARRAY)[rows])})
        drawn = pair.augment(images, seed=0, step=0)["primary"]
        mask_values = set(images["primary"].unique().tolist())
        assert (set(drawn.unique().tolist()) <= mask_values) is is_unchanged
    one_hot = Pair({"primary": "nuclei:one-hot", "twin": "nuclei:one-hot"}, "authors", 32)
    images = one_hot.render({NUCLEI_ARRAY: torch.from_numpy(tissue.array(NUCLEI_ARRAY)[rows])})
    with pytest.raises(ConfigError, match="this mask has 6 channels"):
        one_hot.augment(images, seed=0, step=0)


def test_scheme_with_more_types_is_refused(tissue: Store) -> None:
    with pytest.raises(ConfigError, match="use nuclei:levels,types=6"):
        build_modality("nuclei:types=5").check(tissue)
    build_modality("nuclei:types=6").check(tissue)
    bare = Store(tissue.path, tissue.meta, tissue.table, {"he": tissue.array("he")})
    with pytest.raises(DataError, match="has no array 'nuclei'"):
        build_modality("nuclei").check(bare)


@pytest.mark.parametrize("spec", ["nuclei:grey", "nuclei:types=1", "nuclei:types=300"])
def test_invalid_parameters_are_refused(spec: str) -> None:
    with pytest.raises(ConfigError):
        build_modality(spec)
    with pytest.raises(ConfigError, match="use levels, raw, one-hot, colour"):
        Modality("grey")  # type: ignore[arg-type]


def test_encoders_accept_one_hot_masks() -> None:
    assert check_encoder("test_resnet", (6, 32, 32)) == build_encoder("test_resnet").width
