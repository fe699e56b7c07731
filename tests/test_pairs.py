"""Pairs: the same patch in every branch, and views that depend on seed, step and branch."""

import numpy as np
import pytest
import torch

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.pairs import Pair, derived_seed


def _images(pair: Pair, tissue: Store) -> dict[str, torch.Tensor]:
    rows = np.arange(6)
    return pair.render({name: torch.from_numpy(tissue.array(name)[rows]) for name in pair.arrays})


def test_branches_render_the_same_patches(tissue: Store) -> None:
    pair = Pair({"primary": "downsample:4", "privileged": "full"}, "plain", 32)
    images = _images(pair, tissue)
    # At 4 x 4 px, only means over 8 x 8 px blocks of the full patch remain.
    blocks = torch.nn.functional.avg_pool2d(images["privileged"], 8)
    reduced = torch.nn.functional.interpolate(blocks, 32, mode="bilinear")
    torch.testing.assert_close(images["primary"], reduced)


def test_views_depend_on_seed_step_and_branch(tissue: Store) -> None:
    pair = Pair({"primary": "full", "twin": "full"}, "table-s1", 32)
    images = _images(pair, tissue)
    assert images["primary"] is images["twin"]  # a symmetric pair is rendered once ...
    first = pair.augment(images, seed=0, step=5)
    repeated = pair.augment(images, seed=0, step=5)
    assert torch.equal(first["primary"], repeated["primary"])
    assert not torch.equal(first["primary"], first["twin"])  # ... and augmented twice
    assert not torch.equal(first["primary"], pair.augment(images, seed=0, step=6)["primary"])
    assert not torch.equal(first["primary"], pair.augment(images, seed=1, step=5)["primary"])


@pytest.mark.parametrize("views", ["table-s1", "stain", "authors"])
def test_same_geometry_applies_to_all_branches(tissue: Store, views: str) -> None:
    options = "jitter=0,solarize=0,noise=0" if views != "stain" else "spread=0,shift=0"
    names = {"primary": "full", "twin": "full"}
    pair = Pair(names, f"{views}:{options}", 32, same_geometry=True)
    images = _images(pair, tissue)
    drawn = pair.augment(images, seed=0, step=5)
    assert torch.equal(drawn["primary"], drawn["twin"])
    assert not torch.equal(drawn["primary"], images["primary"])
    assert not torch.equal(drawn["primary"], pair.augment(images, seed=0, step=6)["primary"])
    separate = Pair(names, f"{views}:{options}", 32).augment(images, seed=0, step=5)
    assert not torch.equal(separate["primary"], separate["twin"])
    coloured = Pair(names, views, 32, same_geometry=True).augment(images, seed=0, step=5)
    assert not torch.equal(coloured["primary"], coloured["twin"])  # each branch has its own colours


@pytest.mark.parametrize("views", ["table-s1", "stain", "authors"])
def test_channels_and_masks_have_the_geometry_of_the_image(views: str) -> None:
    options = "jitter=0,solarize=0,noise=0" if views != "stain" else "spread=0,shift=0"
    names = {"primary": "full", "privileged": "image:if,channels=3", "third": "nuclei"}
    pair = Pair(names, f"{views}:{options}", 16, same_geometry=True)
    # Blocks of equal values, so that the nearest pixel and interpolation agree.
    image = torch.rand(4, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    image = torch.cat([image.expand(-1, -1, 16, 8), 1 - image.expand(-1, -1, 16, 8)], -1)
    drawn = pair.augment(dict.fromkeys(names, image), seed=0, step=5)
    assert not torch.equal(drawn["primary"], image)
    torch.testing.assert_close(drawn["privileged"], drawn["primary"])
    differs = (drawn["third"] - drawn["primary"]).abs().amax(1) > 0.01
    assert differs.float().mean() < 0.2  # along the edge between the halves


def test_same_geometry_needs_views_that_support_it() -> None:
    with pytest.raises(ConfigError, match=r"--same-geometry needs views .*choose table-s1"):
        Pair({"primary": "full"}, "tests.outside.additions:Mirror", 16, same_geometry=True)


def test_shared_inputs_count_once_and_are_not_upsampled(
    tissue: Store,
) -> None:
    names = {"primary": "downsample:4", "privileged": "full", "twin": "full"}
    Pair(names, "plain", 16, {"privileged": 32}).check(tissue)
    with pytest.raises(ConfigError, match="would be 33 px"):
        Pair(names, "plain", 16, {"privileged": 33}).check(tissue)
    assert Pair(names, "plain", 16).input_bytes == 4 * 3 * (2 * 16**2)
    assert Pair(names, "plain", 16, {"privileged": 32}).input_bytes == 4 * 3 * (2 * 16**2 + 32**2)


def test_derived_seeds_do_not_collide() -> None:
    seeds = {derived_seed(a, b, c) for a in range(10) for b in range(100) for c in range(3)}
    assert len(seeds) == 3000
    assert all(0 <= seed < 2**63 for seed in seeds)
